// The intermediate form that every source becomes: rules over bytes, checked and pruned.

/// A piece of a grammar.
enum Node: Hashable, Sendable {
  /// These bytes; never empty.
  case literal([UInt8])
  /// One byte of a set.
  case bytes(ByteSet)
  /// One after another; nothing if empty.
  case sequence([Int32])
  /// One of them; nothing satisfies it if empty.
  case alternatives([Int32])
  /// The same several times; `max` is nil for any number.
  case repeated(Int32, min: Int32, max: Int32?)
  /// A rule, by its index.
  case call(Int32)
}

/// Rules over bytes.
///
/// Each node can be completed within `need[node]` frames of a stack; nodes that never can are gone.
/// No rule begins with itself.
struct RuleTable: Sendable {
  let nodes: [Node]
  /// The node of each rule.
  let bodies: [Int32]
  let start: Int32
  /// For each node: the frames of a stack above the one below it that its shortest completion
  /// takes.
  let need: [Int32]
}

/// Checks of rules as they were written.
struct RuleCheck {
  private static let never = Int32.max

  private var nodes: [Node]
  private let bodies: [Int32]
  private let names: [Int32: String]
  /// For each node the nodes whose properties follow from its own.
  private var parents: [[Int32]]
  private var need: [Int32]
  private var nullable: [Bool]

  /// Prunes what nothing satisfies, and checks the rest.
  ///
  /// `names` are those of rules, and `required` has further nodes with their places, for errors.
  /// - Throws: `GrammarError` if nothing satisfies the start or what is required, if a rule begins with itself, or if
  ///   the shortest answer nests too deep.
  static func table(
    nodes: [Node],
    bodies: [Int32],
    start: Int32,
    required: [(node: Int32, path: String)],
    names: [Int32: String]
  ) throws(GrammarError) -> RuleTable {
    var check = RuleCheck(nodes: nodes, bodies: bodies, names: names)
    check.propagate()
    for (node, path) in required where check.need[Int(node)] == never {
      throw GrammarError(.unsatisfiable, "nothing satisfies it", at: path)
    }
    guard check.need[Int(start)] != never else {
      throw GrammarError(.unsatisfiable, "nothing satisfies it")
    }
    guard check.need[Int(start)] < GrammarLimits.stackFrames / 2 else {
      throw GrammarError(.limit, "its shortest answer nests too deep")
    }
    check.prune()
    try check.refuseLeftRecursion()
    return RuleTable(nodes: check.nodes, bodies: bodies, start: start, need: check.need)
  }

  private init(nodes: [Node], bodies: [Int32], names: [Int32: String]) {
    self.nodes = nodes
    self.bodies = bodies
    self.names = names
    parents = Array(repeating: [], count: nodes.count)
    need = Array(repeating: RuleCheck.never, count: nodes.count)
    nullable = Array(repeating: false, count: nodes.count)
    for index in nodes.indices {
      for child in children(of: index) { parents[Int(child)].append(Int32(index)) }
    }
  }

  private func children(of index: Int) -> [Int32] {
    switch nodes[index] {
    case .literal, .bytes: []
    case .sequence(let children), .alternatives(let children): children
    case .repeated(let child, _, _): [child]
    case .call(let rule): [bodies[Int(rule)]]
    }
  }

  /// Finds the smallest needs and what can be empty: both only ever shrink or become true, so a
  /// list of nodes to look at again comes to an end.
  private mutating func propagate() {
    var work = Array(nodes.indices.reversed())
    while let index = work.popLast() {
      let newNeed = currentNeed(index)
      let newNullable = currentNullable(index)
      guard newNeed < need[index] || newNullable != nullable[index] else { continue }
      need[index] = newNeed
      nullable[index] = newNullable
      for parent in parents[index] { work.append(Int(parent)) }
    }
  }

  private func currentNeed(_ index: Int) -> Int32 {
    switch nodes[index] {
    case .literal, .bytes: return 1
    case .sequence(let children):
      var most: Int32 = 1
      for (place, child) in children.enumerated() {
        let one = need[Int(child)]
        guard one != RuleCheck.never else { return RuleCheck.never }
        most = max(most, one + (place + 1 < children.count ? 1 : 0))
      }
      return most
    case .alternatives(let children): return children.map { need[Int($0)] }.min() ?? RuleCheck.never
    case .repeated(let child, let min, _):
      if min == 0 { return 1 }
      let one = need[Int(child)]
      return one == RuleCheck.never ? one : one + 1
    case .call(let rule): return need[Int(bodies[Int(rule)])]
    }
  }

  private func currentNullable(_ index: Int) -> Bool {
    switch nodes[index] {
    case .literal, .bytes: false
    case .sequence(let children): children.allSatisfy { nullable[Int($0)] }
    case .alternatives(let children): children.contains { nullable[Int($0)] }
    case .repeated(let child, let min, _): min == 0 || nullable[Int(child)]
    case .call(let rule): nullable[Int(bodies[Int(rule)])]
    }
  }

  private mutating func prune() {
    for index in nodes.indices where need[index] != RuleCheck.never {
      switch nodes[index] {
      case .alternatives(let children):
        nodes[index] = .alternatives(children.filter { need[Int($0)] != RuleCheck.never })
      case .repeated(let child, let min, let max):
        if need[Int(child)] == RuleCheck.never {
          nodes[index] = .sequence([])
        } else if nullable[Int(child)], min > 0 {
          // It can be nothing as often as it must be.
          nodes[index] = .repeated(child, min: 0, max: max)
        }
      default: break
      }
    }
  }

  /// Looks for a way from a node to itself on which no byte is taken: a stack would grow for ever.
  private func refuseLeftRecursion() throws(GrammarError) {
    // 0: not seen, 1: on the way, 2: done.
    var marks = [UInt8](repeating: 0, count: nodes.count)
    for root in nodes.indices where marks[root] == 0 && need[root] != RuleCheck.never {
      var path: [(node: Int, next: [Int32])] = [(root, leftChildren(of: root))]
      marks[root] = 1
      while let last = path.indices.last {
        guard let child = path[last].next.popLast() else {
          marks[path[last].node] = 2
          path.removeLast()
          continue
        }
        switch marks[Int(child)] {
        case 0:
          marks[Int(child)] = 1
          path.append((Int(child), leftChildren(of: Int(child))))
        case 1: throw leftRecursion(path.map(\.node))
        default: break
        }
      }
    }
  }

  private func leftRecursion(_ path: [Int]) -> GrammarError {
    for index in path.reversed() {
      if case .call(let rule) = nodes[index], let name = names[rule] {
        return GrammarError(.unsupported, "rule \(name) begins with itself", at: name)
      }
    }
    return GrammarError(.unsupported, "a rule begins with itself")
  }

  private func leftChildren(of index: Int) -> [Int32] {
    let children = children(of: index).filter { need[Int($0)] != RuleCheck.never }
    guard case .sequence = nodes[index] else { return children }
    let solid = children.firstIndex { !nullable[Int($0)] }
    return solid.map { Array(children[...$0]) } ?? children
  }
}
