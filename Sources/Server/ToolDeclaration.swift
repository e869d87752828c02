// Tools as the templates of Gemma 4 know them: of a JSON Schema they show types, descriptions, enums, items,
// properties and what is required, and no references and alternatives. So these are resolved before.

internal import ModelFiles

/// Makes what a template shows of a tool.
struct ToolDeclaration {
  /// The schema of the parameters, in which references are looked up.
  private let root: JSON
  /// How many more schemas are shown: references can multiply without end.
  private var budget = 1_000

  private static let depthLimit = 16

  /// Returns a tool in OpenAI's form, with parameters that a template shows as a whole.
  static func declared(_ tool: JSON) -> JSONValue {
    guard case .object(let members) = tool["function"] ?? .null else { return JSONValue(tool) }
    var function: [String: JSONValue] = ["description": .string("")]
    for member in members where member.value != .null {
      function[member.name] = JSONValue(member.value)
    }
    if let parameters = tool["function"]?["parameters"], parameters != .null {
      var declaration = ToolDeclaration(root: parameters)
      function["parameters"] = .object(declaration.shown(parameters, depth: 0))
    }
    return .object(["type": .string("function"), "function": .object(function)])
  }

  private init(root: JSON) { self.root = root }

  private mutating func shown(_ schema: JSON, depth: Int) -> [String: JSONValue] {
    budget -= 1
    guard budget > 0, depth < Self.depthLimit else { return ["type": .string("object")] }
    let schema = resolved(schema)
    var shown: [String: JSONValue] = [:]
    var description = schema["description"]?.string ?? ""
    var types = Self.types(schema["type"])
    var isNullable = schema["nullable"] == .bool(true) || types.contains("null")
    types.removeAll { $0 == "null" }
    let alternatives = (schema["anyOf"] ?? schema["oneOf"])?.elements.map { resolved($0) } ?? []
    let kinds = alternatives.filter { $0["type"] != "null" }
    isNullable = isNullable || kinds.count < alternatives.count
    if let first = kinds.first {
      shown = self.shown(first, depth: depth + 1)
      if kinds.count > 1 {
        let others = kinds.map(\.text).joined(separator: " or ")
        description += (description.isEmpty ? "" : " ") + "One of: \(others)"
      }
    }
    var values = schema["enum"]?.elements ?? schema["const"].map { [$0] } ?? []
    isNullable = isNullable || values.contains(.null)
    values.removeAll { $0 == .null }
    if !values.isEmpty { shown["enum"] = .array(values.map { JSONValue($0) }) }
    if case .object(let properties)? = schema["properties"] {
      shown["properties"] = .object(
        Dictionary(
          properties.map { ($0.name, .object(self.shown($0.value, depth: depth + 1))) },
          uniquingKeysWith: { $1 }
        )
      )
    }
    if let required = schema["required"] { shown["required"] = JSONValue(required) }
    if let items = schema["items"] { shown["items"] = .object(self.shown(items, depth: depth + 1)) }
    if isNullable { shown["nullable"] = .bool(true) }
    if !description.isEmpty { shown["description"] = .string(description) }
    if !types.isEmpty {
      shown["type"] = .string(types.joined(separator: " or "))
    } else if shown["type"] == nil {
      shown["type"] = .string(Self.type(of: schema, values))
    }
    return shown
  }

  /// Follows references within the schema, and joins what must all hold.
  private func resolved(_ schema: JSON) -> JSON {
    var members: [JSON.Member] = []
    func add(_ schema: JSON, depth: Int) {
      guard case .object(let own) = schema, depth < Self.depthLimit else { return }
      for member in own {
        guard let place = members.firstIndex(where: { $0.name == member.name }) else {
          members.append(member)
          continue
        }
        members[place].value = Self.joined(member.name, members[place].value, member.value)
      }
      if case .string(let path)? = schema["$ref"], let target = target(path) {
        add(target, depth: depth + 1)
      }
      for part in schema["allOf"]?.elements ?? [] { add(part, depth: depth + 1) }
    }
    add(schema, depth: 0)
    return .object(members)
  }

  /// What two parts of a schema say together; of most keywords the first counts.
  private static func joined(_ keyword: String, _ first: JSON, _ second: JSON) -> JSON {
    switch (keyword, first, second) {
    case ("properties", .object(let own), .object(let more)):
      let names = Set(own.map(\.name))
      return .object(own + more.filter { !names.contains($0.name) })
    case ("required", .array(let own), .array(let more)): return .array(own + more)
    default: return first
    }
  }

  /// The schema at a JSON pointer (RFC 6901).
  private func target(_ path: String) -> JSON? {
    guard path.hasPrefix("#") else { return nil }
    var target: JSON? = root
    for name in path.dropFirst().split(separator: "/") {
      let name = name.replacing("~1", with: "/").replacing("~0", with: "~")
      target = target?[String(name)]
    }
    return target
  }

  private static func types(_ value: JSON?) -> [String] {
    switch value {
    case .string(let name)?: [name]
    case .array(let names)?: names.compactMap(\.string)
    default: []
    }
  }

  /// The type of what a schema describes without saying it; empty if it may be anything.
  private static func type(of schema: JSON, _ values: [JSON]) -> String {
    if schema["properties"] != nil { return "object" }
    if schema["items"] != nil { return "array" }
    switch values.first {
    case .string?: return "string"
    case .integer?: return "integer"
    case .number?: return "number"
    case .bool?: return "boolean"
    case .array?, .object?, .null?, nil: return ""
    }
  }
}

extension JSON {
  fileprivate var string: String? { if case .string(let text) = self { text } else { nil } }
  fileprivate var elements: [JSON] { if case .array(let values) = self { values } else { [] } }
}
