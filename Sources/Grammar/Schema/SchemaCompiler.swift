// JSON Schema as rules.
//
// A value is described by a set of subschemas that must all hold: where a schema refers to others
// by `$ref` or `allOf` the set grows; at `anyOf` and `oneOf` it becomes several, of which one must
// hold. What is left of each subschema are its own keywords, and those of all subschemas of a set
// are joined: ranges are cut, types are intersected, properties get the set of all schemas that are
// about them. So `allOf` needs no special cases, and a rule is a set of subschemas, made once:
// recursion is a call.

/// Compiles one document.
struct SchemaCompiler {
  var document: SchemaDocument
  let isStrict: Bool
  /// For each subschema the sets that it stands for.
  private var alternativesOf: [Int: [[Int]]] = [:]
  /// Subschemas that are being taken apart: one that is met again without a value between says
  /// nothing.
  private var active: [Int] = []
  private var rules: [[Int]: Int32] = [:]
  /// Rules that have no body yet.
  private var waiting: [(rule: Int32, set: [Int])] = []
  /// How many proofs that something is empty are inside each other.
  private var proofDepth = 0
  /// Machines of patterns, which are often the same.
  var machines: [PatternKey: CharacterMachine] = [:]

  struct PatternKey: Hashable {
    var text: String
    var isAnchored: Bool
  }

  private static let proofDepthLimit = 6

  private(set) var closesObjects = false

  /// The node of a document's values.
  ///
  /// `isObject` says that only objects are wanted, whatever else the document allows, and `closesObjects` that
  /// objects that declare their properties have no others, unless the document says so.
  static func build(
    _ root: JSONValue,
    strict: Bool,
    isObject: Bool = false,
    closesObjects: Bool = false,
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    var compiler = SchemaCompiler(root, isStrict: strict)
    compiler.closesObjects = closesObjects
    var ids = [try compiler.document.rootSchema()]
    if isObject {
      let object = JSONValue.object([JSONValue.Member(name: "type", value: .string("object"))])
      ids.append(try compiler.document.schema(object, at: "object"))
    }
    let start = try compiler.value(ids, &builder)
    // Bodies are made one by one, so that deep schemas need no deep stack here.
    while let (rule, set) = compiler.waiting.popLast() {
      var branches: [Int32] = []
      for flat in try compiler.alternatives(of: set) {
        branches.append(try compiler.flat(flat, &builder))
      }
      builder.define(rule, try builder.alternatives(branches))
    }
    return start
  }

  private init(_ root: JSONValue, isStrict: Bool) {
    document = SchemaDocument(root, isStrict: isStrict)
    self.isStrict = isStrict
  }

  /// The node of values that all of these subschemas describe.
  mutating func value(_ ids: [Int], _ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    let set = Set(ids).sorted()
    if let rule = rules[set] { return try builder.call(rule) }
    let rule = try builder.declare()
    rules[set] = rule
    waiting.append((rule, set))
    return try builder.call(rule)
  }

  /// The sets of subschemas, of which only their own keywords count, one of which must hold.
  mutating func alternatives(of ids: [Int]) throws(GrammarError) -> [[Int]] {
    var result: [[Int]] = [[]]
    for id in ids { result = try product(result, alternatives(of: id), at: document.path(id)) }
    return result
  }

  private mutating func alternatives(of id: Int) throws(GrammarError) -> [[Int]] {
    if let known = alternativesOf[id] { return known }
    guard !active.contains(id), active.count < GrammarLimits.sourceDepth else {
      throw GrammarError(
        .unsupported,
        "it refers to itself without a value between",
        at: document.path(id)
      )
    }
    active.append(id)
    defer { active.removeLast() }
    let result = try makeAlternatives(of: id)
    alternativesOf[id] = result
    return result
  }

  private mutating func makeAlternatives(of id: Int) throws(GrammarError) -> [[Int]] {
    if case .bool(let isTrue) = document.value(id) { return isTrue ? [[]] : [] }
    var result = [[id]]
    if let reference = document[id, "$ref"] {
      let path = document.path(id, "$ref")
      guard case .string(let text) = reference else {
        throw GrammarError(.malformed, "'$ref' is a string", at: path)
      }
      let target = try document.resolve(text, at: path)
      result = try product(result, alternatives(of: target), at: path)
    }
    for branch in try branches(id, "allOf") {
      result = try product(result, alternatives(of: branch), at: document.path(id, "allOf"))
    }
    if document[id, "anyOf"] != nil {
      var all: [[Int]] = []
      for branch in try branches(id, "anyOf") { all += try alternatives(of: branch) }
      result = try product(result, all, at: document.path(id, "anyOf"))
    }
    if document[id, "oneOf"] != nil { result = try oneOf(id, result) }
    return result
  }

  /// The subschemas in a keyword's list.
  private mutating func branches(_ id: Int, _ keyword: String) throws(GrammarError) -> [Int] {
    guard let value = document[id, keyword] else { return [] }
    let path = document.path(id, keyword)
    guard case .array(let items) = value, !items.isEmpty else {
      throw GrammarError(.malformed, "'\(keyword)' is a list of schemas", at: path)
    }
    var result: [Int] = []
    for (index, item) in items.enumerated() {
      result.append(try document.schema(item, at: "\(path)/\(index)"))
    }
    return result
  }

  /// Of two lists of sets the unions of each with each.
  private func product(
    _ a: [[Int]],
    _ b: [[Int]],
    at path: String
  ) throws(GrammarError) -> [[Int]] {
    let limit = min(a.count, b.count) > 1 ? GrammarLimits.combinations : GrammarLimits.alternatives
    guard a.count * b.count <= limit else {
      throw GrammarError(
        .limit,
        "\(a.count * b.count) combinations of alternatives, at most \(limit)",
        at: path
      )
    }
    var seen: Set<[Int]> = []
    var result: [[Int]] = []
    for left in a {
      for right in b {
        let set = Set(left + right).sorted()
        if seen.insert(set).inserted { result.append(set) }
      }
    }
    return result
  }

  /// Exactly one may hold: that is any of them if no two can hold at once, and is refused
  /// otherwise.
  private mutating func oneOf(_ id: Int, _ base: [[Int]]) throws(GrammarError) -> [[Int]] {
    let path = document.path(id, "oneOf")
    var all: [[[Int]]] = []
    for branch in try branches(id, "oneOf") {
      all.append(try product(base, alternatives(of: branch), at: path))
    }
    for (index, branch) in all.enumerated() {
      for (earlier, other) in all[..<index].enumerated() {
        for left in other {
          for right in branch {
            guard try isProvablyEmpty(Set(left + right).sorted()) else {
              throw GrammarError(
                .unsupported,
                "of 'oneOf' the alternatives \(earlier) and \(index) may hold at once (see 'anyOf')",
                at: path
              )
            }
          }
        }
      }
    }
    guard all.joined().count <= GrammarLimits.alternatives else {
      throw GrammarError(.limit, "more than \(GrammarLimits.alternatives) alternatives", at: path)
    }
    return Array(all.joined())
  }

  /// Whether nothing satisfies all of these subschemas, as far as that is easy to see.
  mutating func isProvablyEmpty(all ids: [Int]) throws(GrammarError) -> Bool {
    guard proofDepth < Self.proofDepthLimit else { return false }
    let sets: [[Int]]
    do {
      sets = try alternatives(of: ids)
    } catch {
      // A schema that is being taken apart: this proof would go in a circle.
      return false
    }
    for set in sets where try !isProvablyEmpty(set) { return false }
    return true
  }

  private mutating func isProvablyEmpty(_ flat: [Int]) throws(GrammarError) -> Bool {
    proofDepth += 1
    defer { proofDepth -= 1 }
    if let values = try enumeration(flat) { return values.isEmpty }
    let types = try types(flat)
    if types.contains(.null) || types.contains(.boolean) { return false }
    if !types.isDisjoint(with: .number), try !numbersAreEmpty(flat, types) { return false }
    if types.contains(.string), try !stringsAreEmpty(flat) { return false }
    if types.contains(.array), try !arraysAreEmpty(flat) { return false }
    if types.contains(.object), try !objectsAreEmpty(flat) { return false }
    return true
  }

  /// The node of values that these subschemas' own keywords describe.
  private mutating func flat(
    _ flat: [Int],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    if let values = try enumeration(flat) { return try constants(values, &builder) }
    let types = try types(flat)
    if types == .any, flat.allSatisfy({ isUnconstrained($0) }) { return try builder.anyValue() }
    var branches: [Int32] = []
    if types.contains(.object) { branches.append(try object(flat, &builder)) }
    if types.contains(.array) { branches.append(try array(flat, &builder)) }
    if types.contains(.string) { branches.append(try string(flat, &builder)) }
    if !types.isDisjoint(with: .number) { branches.append(try number(flat, types, &builder)) }
    if types.contains(.boolean) {
      branches += [try builder.literal("true"), try builder.literal("false")]
    }
    if types.contains(.null) { branches.append(try builder.literal("null")) }
    return try builder.alternatives(branches)
  }

  private func isUnconstrained(_ id: Int) -> Bool {
    guard !isStrict, case .object(let members) = document.value(id) else { return false }
    let joined: Set = ["$ref", "allOf", "anyOf", "oneOf"]
    return members.allSatisfy {
      !SchemaKeywords.supported.contains($0.name) || joined.contains($0.name)
    }
  }

  private func constants(
    _ values: [JSONValue],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    var texts: [[UInt8]] = []
    var others: [Int32] = []
    for value in values {
      switch value {
      case .array, .object: others.append(try builder.constant(value))
      case .string(let text): texts.append(try builder.written(text))
      case .number(let text): texts.append(Array(text.utf8))
      case .bool(let bool): texts.append(Array((bool ? "true" : "false").utf8))
      case .null: texts.append(Array("null".utf8))
      }
    }
    if !texts.isEmpty { others.append(try builder.oneOf(texts)) }
    return try builder.alternatives(others)
  }
}
