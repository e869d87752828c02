// Arrays: items by place, and counts.

/// What arrays may be.
private struct ArrayPlan {
  /// For each of the first places the subschemas about it.
  var prefix: [[Int]] = []
  /// Those about all later places.
  var rest: [Int] = []
  var min = 0
  var max: Int?
}

extension SchemaCompiler {
  /// The most places that are described one by one.
  private static let prefixLimit = 1_000

  mutating func arraysAreEmpty(_ flat: [Int]) throws(GrammarError) -> Bool {
    let plan = try arrayPlan(flat)
    if let max = plan.max, max < plan.min { return true }
    for ids in plan.prefix.prefix(plan.min) where try isProvablyEmpty(all: ids) { return true }
    guard plan.min > plan.prefix.count else { return false }
    return try isProvablyEmpty(all: plan.rest)
  }

  /// The node of arrays.
  mutating func array(
    _ flat: [Int],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let plan = try arrayPlan(flat)
    if let max = plan.max, max < plan.min { return try builder.never() }
    let most = plan.max ?? .max
    let places = Swift.min(plan.prefix.count, most)
    // Behind the first places: any further ones, each with a comma.
    let item = try value(plan.rest, &builder)
    var tail = try builder.repeated(
      builder.sequence([builder.comma(), item]),
      min: max(0, plan.min - max(places, 1)),
      max: plan.max.map { max(0, $0 - max(places, 1)) }
    )
    if places == 0 {
      var content = try builder.sequence([item, tail])
      if most == 0 { content = try builder.empty() }
      if plan.min == 0 { content = try builder.optional(content) }
      return try builder.sequence([builder.literal("["), content, builder.literal("]")])
    }
    // From the last place to the first, each is there if the one behind it is.
    for place in (0..<places).reversed() {
      let one = try value(plan.prefix[place], &builder)
      let start = place == 0 ? try builder.empty() : try builder.comma()
      let content = try builder.sequence([start, one, tail])
      let rule = try builder.declare()
      builder.define(rule, place < plan.min ? content : try builder.optional(content))
      tail = try builder.call(rule)
    }
    return try builder.sequence([builder.literal("["), tail, builder.literal("]")])
  }

  private mutating func arrayPlan(_ flat: [Int]) throws(GrammarError) -> ArrayPlan {
    var plan = ArrayPlan()
    plan.min = try count(flat, "minItems", max) ?? 0
    plan.max = try count(flat, "maxItems", min)
    var parts: [(prefix: [Int], rest: Int?)] = []
    for id in flat { parts.append(try places(id)) }
    let longest = parts.map(\.prefix.count).max() ?? 0
    for place in 0..<longest {
      plan.prefix.append(
        parts.compactMap { place < $0.prefix.count ? $0.prefix[place] : $0.rest }
      )
    }
    plan.rest = parts.compactMap(\.rest)
    return plan
  }

  /// The subschemas of the first places, and that of the later ones, of one schema.
  private mutating func places(_ id: Int) throws(GrammarError) -> (prefix: [Int], rest: Int?) {
    var prefix: [Int] = []
    var keyword = "prefixItems"
    var later = "items"
    // Before draft 2020-12 the list was called `items`.
    if case .array? = document[id, "items"] {
      keyword = "items"
      later = "additionalItems"
    }
    if let value = document[id, keyword] {
      let path = document.path(id, keyword)
      guard case .array(let items) = value else {
        throw GrammarError(.malformed, "'\(keyword)' is a list of schemas", at: path)
      }
      guard items.count <= Self.prefixLimit else {
        throw GrammarError(.limit, "\(items.count) places, at most \(Self.prefixLimit)", at: path)
      }
      for (index, item) in items.enumerated() {
        prefix.append(try document.schema(item, at: "\(path)/\(index)"))
      }
    }
    guard let rest = document[id, later] else { return (prefix, nil) }
    return (prefix, try document.schema(rest, at: document.path(id, later)))
  }
}
