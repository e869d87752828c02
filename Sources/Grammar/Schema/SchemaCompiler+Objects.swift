// Objects: declared properties in their order, others behind them.

/// What objects may be.
private struct ObjectPlan {
  struct Property {
    var name: String
    /// The subschemas about its value.
    var ids: [Int]
    var isRequired: Bool
  }

  /// Properties that are not declared.
  struct Kind {
    /// Their names; nil for all.
    var names: CharacterMachine?
    var ids: [Int]
  }

  var declared: [Property] = []
  var others: [Kind] = []
  var min = 0
  var max: Int?
}

extension SchemaCompiler {
  /// The most properties of one object; each may be followed by any that comes later.
  private static let propertyLimit = 1_000
  /// The most states of an object whose properties are counted.
  private static let countedLimit = 20_000

  mutating func objectsAreEmpty(_ flat: [Int]) throws(GrammarError) -> Bool {
    let plan = try objectPlan(flat)
    if let max = plan.max, max < plan.min || plan.declared.count(where: \.isRequired) > max {
      return true
    }
    for property in plan.declared where property.isRequired {
      if try isProvablyEmpty(all: property.ids) { return true }
    }
    return false
  }

  /// The node of objects.
  mutating func object(
    _ flat: [Int],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let plan = try objectPlan(flat)
    if plan.min > plan.declared.count + 1, !plan.others.isEmpty {
      throw GrammarError(
        .unsupported,
        "'minProperties' of \(plan.min) with \(plan.declared.count) declared properties: others may come twice",
        at: flat.first { document[$0, "minProperties"] != nil }.map {
          document.path($0, "minProperties")
        } ?? ""
      )
    }
    var members: [Int32] = []
    for property in plan.declared {
      members.append(
        try builder.sequence([
          builder.literal(builder.writtenName(property.name)), builder.colon(),
          value(property.ids, &builder),
        ])
      )
    }
    var others: [Int32] = []
    for kind in plan.others {
      let name =
        if let machine = kind.names {
          try builder.name(of: machine, at: flat.first.map { document.path($0) } ?? "")
        } else {
          try builder.anyName()
        }
      others.append(try builder.sequence([name, builder.colon(), value(kind.ids, &builder)]))
    }
    let other = try builder.alternatives(others)
    let content =
      plan.min == 0 && plan.max == nil
      ? try uncounted(plan, members, other, &builder)
      : try counted(plan, members, other, &builder)
    return try builder.sequence([builder.literal("{"), content, builder.literal("}")])
  }

  /// What stands between the braces.
  private func uncounted(
    _ plan: ObjectPlan,
    _ members: [Int32],
    _ other: Int32,
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let comma = try builder.comma()
    // `later`: from this property on, one was there already. `first`: none was.
    var later = try builder.repeated(builder.sequence([comma, other]), min: 0, max: nil)
    var first = try builder.optional(builder.sequence([other, later]))
    for (property, member) in zip(plan.declared, members).reversed() {
      let withComma = try builder.sequence([comma, member, later])
      let without = try builder.sequence([member, later])
      let laterRule = try builder.declare()
      let firstRule = try builder.declare()
      builder.define(
        laterRule,
        property.isRequired ? withComma : try builder.alternatives([withComma, later])
      )
      builder.define(
        firstRule,
        property.isRequired ? without : try builder.alternatives([without, first])
      )
      later = try builder.call(laterRule)
      first = try builder.call(firstRule)
    }
    return first
  }

  /// What stands between the braces, where properties are counted: a rule for each property and
  /// count.
  private func counted(
    _ plan: ObjectPlan,
    _ members: [Int32],
    _ other: Int32,
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let comma = try builder.comma()
    let declaredCount = plan.declared.count
    if let max = plan.max, max < plan.min { return try builder.never() }
    guard declaredCount * declaredCount <= Self.countedLimit else {
      throw GrammarError(.limit, "\(declaredCount) properties are too many to be counted")
    }
    // rows[c]: from the present property on, c were there already.
    var row: [Int32] = []
    for count in 0...declaredCount {
      let left = plan.max.map { max(0, $0 - count) }
      let need = max(0, plan.min - count)
      if let most = plan.max, count > most {
        row.append(try builder.never())
      } else if need > 1 {
        // Nothing keeps two names that are not declared from being one.
        row.append(try builder.never())
      } else if count > 0 {
        row.append(try builder.repeated(builder.sequence([comma, other]), min: need, max: left))
      } else if left == 0 {
        row.append(try builder.empty())
      } else {
        let more = try builder.repeated(
          builder.sequence([comma, other]),
          min: max(0, need - 1),
          max: left.map { $0 - 1 }
        )
        let some = try builder.sequence([other, more])
        row.append(need == 0 ? try builder.optional(some) : some)
      }
    }
    for (index, (property, member)) in zip(plan.declared, members).enumerated().reversed() {
      var next: [Int32] = []
      for count in 0...index {
        let with = try builder.sequence(
          count == 0 ? [member, row[1]] : [comma, member, row[count + 1]]
        )
        let rule = try builder.declare()
        builder.define(
          rule,
          property.isRequired ? with : try builder.alternatives([with, row[count]])
        )
        next.append(try builder.call(rule))
      }
      row = next
    }
    return row[0]
  }

  private mutating func objectPlan(_ flat: [Int]) throws(GrammarError) -> ObjectPlan {
    var plan = ObjectPlan()
    plan.min = try count(flat, "minProperties", max) ?? 0
    plan.max = try count(flat, "maxProperties", min)
    let parts = try objectParts(flat)
    var required: Set<String> = []
    var names: [String] = []
    var known: Set<String> = []
    for part in parts {
      for name in part.order where known.insert(name).inserted { names.append(name) }
      required.formUnion(part.required)
    }
    for part in parts {
      for name in part.required where known.insert(name).inserted { names.append(name) }
    }
    guard names.count <= Self.propertyLimit else {
      throw GrammarError(.limit, "\(names.count) properties, at most \(Self.propertyLimit)")
    }
    let isDeclared = Set(parts.flatMap(\.order))
    let nameRules = try nameMachine(flat)
    for name in names {
      var ids: [Int] = []
      for part in parts { ids += part.schemas(of: name) }
      let isOther = ids.isEmpty && !isDeclared.contains(name)
      if isOther, isClosed(parts) {
        ids = [try falseSchema()]
      }
      if let nameRules, !nameRules.accepts(name) { ids = [try falseSchema()] }
      plan.declared.append(
        ObjectPlan.Property(name: name, ids: ids, isRequired: required.contains(name))
      )
    }
    plan.others = try otherKinds(parts, names, nameRules)
    return plan
  }

  private mutating func falseSchema() throws(GrammarError) -> Int {
    try document.schema(.bool(false), at: "false")
  }

  /// The names that `propertyNames` allows; nil for all.
  private mutating func nameMachine(_ flat: [Int]) throws(GrammarError) -> CharacterMachine? {
    var ids: [Int] = []
    for id in flat {
      guard let value = document[id, "propertyNames"] else { continue }
      ids.append(try document.schema(value, at: document.path(id, "propertyNames")))
    }
    guard let first = ids.first else { return nil }
    let path = document.path(first)
    let sets = try alternatives(of: ids)
    guard sets.count == 1 else {
      guard !sets.isEmpty else { return CharacterMachine(trimming: []) }
      throw GrammarError(.unsupported, "alternatives of names", at: path)
    }
    if let values = try enumeration(sets[0]) {
      let texts = values.compactMap { value in
        if case .string(let text) = value { text } else { nil as String? }
      }
      return try CharacterMachine.texts(texts, at: path)
    }
    guard try types(sets[0]).contains(.string) else { return CharacterMachine(trimming: []) }
    let plan = try stringPlan(sets[0])
    if let machine = plan.machine { return machine }
    return try CharacterMachine.length(min: plan.min, max: plan.max, at: path)
  }

  /// The kinds of properties that are not declared: one for each set of patterns that a name may
  /// match.
  private mutating func otherKinds(
    _ parts: [ObjectPart],
    _ names: [String],
    _ nameRules: CharacterMachine?
  ) throws(GrammarError) -> [ObjectPlan.Kind] {
    let patterns = parts.flatMap(\.patterns)
    let texts = Set(patterns.map(\.text)).sorted()
    guard texts.count <= GrammarLimits.propertyPatterns else {
      throw GrammarError(
        .limit,
        "\(texts.count) patterns of names, at most \(GrammarLimits.propertyPatterns)",
        at: patterns[0].path
      )
    }
    let path = patterns.first?.path ?? "properties"
    var base = nameRules
    if !names.isEmpty {
      let others = try CharacterMachine.texts(names, at: path).complement
      base = try base?.intersection(others, at: path) ?? others
    }
    var result: [ObjectPlan.Kind] = []
    for choice in 0..<(1 << texts.count) {
      var machine = base
      for (index, text) in texts.enumerated() {
        let place = patterns.first { $0.text == text }?.path ?? path
        var one = try pattern(text, at: place)
        if choice & 1 << index == 0 { one = one.complement }
        machine = try machine?.intersection(one, at: place) ?? one
      }
      if let machine, machine.isEmpty { continue }
      let matched = Set(texts.indices.filter { choice & 1 << $0 != 0 }.map { texts[$0] })
      var ids: [Int] = []
      for part in parts { ids += part.schemas(matching: matched) }
      if isClosed(parts), matched.isEmpty { continue }
      if ids.contains(where: { document.value($0) == .bool(false) }) { continue }
      result.append(ObjectPlan.Kind(names: machine, ids: ids))
    }
    return result
  }

  /// Whether an object has only the properties that are declared, though no part of it says so.
  private func isClosed(_ parts: [ObjectPart]) -> Bool {
    guard !parts.contains(where: { $0.additional != nil }) else { return false }
    return isStrict || closesObjects && parts.contains(where: \.declaresProperties)
  }

  private mutating func objectParts(_ flat: [Int]) throws(GrammarError) -> [ObjectPart] {
    var parts: [ObjectPart] = []
    for id in flat {
      var part = ObjectPart()
      part.declaresProperties = document[id, "properties"] != nil
      for (name, schema) in try schemas(id, "properties") {
        part.order.append(name)
        part.properties[name] = schema
      }
      for (text, schema) in try schemas(id, "patternProperties") {
        let path = document.path(id, "patternProperties") + "/" + SchemaDocument.escaped(text)
        part.patterns.append(
          ObjectPart.NamePattern(
            text: text,
            machine: try pattern(text, at: path),
            id: schema,
            path: path
          )
        )
      }
      if let value = document[id, "additionalProperties"] {
        part.additional = try document.schema(value, at: document.path(id, "additionalProperties"))
      }
      part.required = try requiredNames(id)
      parts.append(part)
    }
    return parts
  }

  private func requiredNames(_ id: Int) throws(GrammarError) -> [String] {
    guard let value = document[id, "required"] else { return [] }
    let path = document.path(id, "required")
    guard case .array(let items) = value else {
      throw GrammarError(.malformed, "'required' is a list of names", at: path)
    }
    var names: [String] = []
    for item in items {
      guard case .string(let name) = item else {
        throw GrammarError(.malformed, "'required' is a list of names", at: path)
      }
      names.append(name)
    }
    return names
  }

  private mutating func schemas(
    _ id: Int,
    _ keyword: String
  ) throws(GrammarError) -> [(String, Int)] {
    guard let value = document[id, keyword] else { return [] }
    let path = document.path(id, keyword)
    guard case .object(let members) = value else {
      throw GrammarError(.malformed, "'\(keyword)' is an object of schemas", at: path)
    }
    var result: [(String, Int)] = []
    for member in members {
      let place = "\(path)/\(SchemaDocument.escaped(member.name))"
      result.append((member.name, try document.schema(member.value, at: place)))
    }
    return result
  }
}

/// What one subschema says about properties.
private struct ObjectPart {
  struct NamePattern {
    var text: String
    var machine: CharacterMachine
    var id: Int
    var path: String
  }

  /// Whether `properties` is there, be it without any.
  var declaresProperties = false
  /// Names in `properties`, in their order.
  var order: [String] = []
  var properties: [String: Int] = [:]
  var patterns: [NamePattern] = []
  var additional: Int?
  var required: [String] = []

  /// What it says about the value of a property.
  func schemas(of name: String) -> [Int] {
    var ids = patterns.filter { $0.machine.accepts(name) }.map(\.id)
    if let own = properties[name] { ids.append(own) }
    if ids.isEmpty, let additional { ids.append(additional) }
    return ids
  }

  /// What it says about the value of a property that is not declared and matches these patterns.
  func schemas(matching texts: Set<String>) -> [Int] {
    let ids = patterns.filter { texts.contains($0.text) }.map(\.id)
    if ids.isEmpty, let additional { return [additional] }
    return ids
  }
}
