// Makes rules: every front end builds its grammar with these few calls.

/// Collects nodes and rules; equal nodes are one.
struct GrammarBuilder {
  private var nodes: [Node] = []
  private var known: [Node: Int32] = [:]
  private var bodies: [Int32] = []
  private var names: [Int32: String] = [:]
  /// What has been made before: sets of characters and shared rules.
  var characterNodes: [CharacterKey: Int32] = [:]
  var sharedRules: [SharedRule: Int32] = [:]
  /// Nodes that something must satisfy, and what they come from.
  private var required: [(node: Int32, path: String)] = []
  /// How values are written.
  var notation = ValueNotation.json

  /// - Throws: `GrammarError.limit` if there are too many.
  mutating func add(_ node: Node) throws(GrammarError) -> Int32 {
    if let index = known[node] { return index }
    guard nodes.count < GrammarLimits.nodes else {
      throw GrammarError(.limit, "it needs more than \(GrammarLimits.nodes) nodes")
    }
    let index = Int32(nodes.count)
    nodes.append(node)
    known[node] = index
    return index
  }

  mutating func literal(_ bytes: some Sequence<UInt8>) throws(GrammarError) -> Int32 {
    let bytes = Array(bytes)
    return try add(bytes.isEmpty ? .sequence([]) : .literal(bytes))
  }

  mutating func literal(_ text: String) throws(GrammarError) -> Int32 { try literal(text.utf8) }

  mutating func sequence(_ children: [Int32]) throws(GrammarError) -> Int32 {
    children.count == 1 ? children[0] : try add(.sequence(children))
  }

  mutating func alternatives(_ children: [Int32]) throws(GrammarError) -> Int32 {
    children.count == 1 ? children[0] : try add(.alternatives(children))
  }

  /// The same several times; `max` is nil for any number.
  mutating func repeated(_ child: Int32, min: Int, max: Int?) throws(GrammarError) -> Int32 {
    guard min <= GrammarLimits.count else {
      throw GrammarError(.limit, "a count of \(min), at most \(GrammarLimits.count)")
    }
    let most = max.flatMap { $0 > GrammarLimits.count ? nil : $0 }
    if let most, most < min { return try never() }
    if most == 0 { return try empty() }
    if min == 1, most == 1 { return child }
    return try add(.repeated(child, min: Int32(min), max: most.map(Int32.init)))
  }

  mutating func optional(_ child: Int32) throws(GrammarError) -> Int32 {
    try repeated(child, min: 0, max: 1)
  }

  mutating func empty() throws(GrammarError) -> Int32 { try add(.sequence([])) }
  mutating func never() throws(GrammarError) -> Int32 { try add(.alternatives([])) }

  /// Makes a rule without a body, so that others can call it.
  mutating func declare(_ name: String? = nil) throws(GrammarError) -> Int32 {
    guard bodies.count < GrammarLimits.rules else {
      throw GrammarError(.limit, "it needs more than \(GrammarLimits.rules) rules")
    }
    let rule = Int32(bodies.count)
    bodies.append(try never())
    if let name { names[rule] = name }
    return rule
  }

  mutating func define(_ rule: Int32, _ body: Int32) { bodies[Int(rule)] = body }

  /// Has the grammar refused, with this place, if nothing satisfies a node.
  mutating func require(_ node: Int32, at path: String) { required.append((node, path)) }

  mutating func call(_ rule: Int32) throws(GrammarError) -> Int32 { try add(.call(rule)) }

  /// One of several texts, as a tree of their common beginnings: a state then has as many ways on
  /// as there are next bytes, not as there are texts.
  mutating func oneOf(_ texts: [[UInt8]]) throws(GrammarError) -> Int32 {
    let sorted = Set(texts).sorted { $0.lexicographicallyPrecedes($1) }
    guard !sorted.isEmpty else { return try never() }
    return try tree(sorted[...], from: 0)
  }

  /// - Precondition: The texts are sorted, distinct and agree in the bytes before `start`.
  private mutating func tree(
    _ texts: ArraySlice<[UInt8]>,
    from start: Int
  ) throws(GrammarError) -> Int32 {
    // Sorted texts agree as far as the first and the last do.
    let first = texts[texts.startIndex]
    let last = texts[texts.endIndex - 1]
    var end = start
    while end < first.count, end < last.count, first[end] == last[end] { end += 1 }
    if texts.count == 1 { return try literal(first[start...]) }
    var branches: [Int32] = []
    var rest = texts
    if first.count == end {
      branches.append(try empty())
      rest = rest.dropFirst()
    }
    while let head = rest.first {
      let group = rest.prefix { $0[end] == head[end] }
      branches.append(try tree(group, from: end))
      rest = rest.dropFirst(group.count)
    }
    let fork = try alternatives(branches)
    return end == start ? fork : try sequence([literal(first[start..<end]), fork])
  }

  /// - Throws: As `RuleCheck.table` says.
  func finish(start: Int32) throws(GrammarError) -> RuleTable {
    try RuleCheck.table(
      nodes: nodes,
      bodies: bodies,
      start: start,
      required: required,
      names: names
    )
  }
}
