// What all kinds of values have: types, constants, and readers of keywords.

/// Kinds of values; an integer is a number without a fraction.
struct SchemaTypes: OptionSet, Hashable {
  let rawValue: UInt8

  static let null = SchemaTypes(rawValue: 1)
  static let boolean = SchemaTypes(rawValue: 2)
  static let integer = SchemaTypes(rawValue: 4)
  static let fraction = SchemaTypes(rawValue: 8)
  static let string = SchemaTypes(rawValue: 16)
  static let array = SchemaTypes(rawValue: 32)
  static let object = SchemaTypes(rawValue: 64)
  static let number: SchemaTypes = [.integer, .fraction]
  static let any = SchemaTypes(rawValue: 127)

  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// That of a name in a schema; nil for an unknown one.
  init?(_ name: String) {
    switch name {
    case "null": self = .null
    case "boolean": self = .boolean
    case "integer": self = .integer
    case "number": self = .number
    case "string": self = .string
    case "array": self = .array
    case "object": self = .object
    default: return nil
    }
  }
}

extension SchemaCompiler {
  /// The kinds that all subschemas allow.
  func types(_ flat: [Int]) throws(GrammarError) -> SchemaTypes {
    var result = SchemaTypes.any
    for id in flat {
      guard let value = document[id, "type"] else { continue }
      let names: [JSONValue] = if case .array(let items) = value { items } else { [value] }
      var own: SchemaTypes = []
      for name in names {
        guard case .string(let text) = name, let type = SchemaTypes(text) else {
          throw GrammarError(.malformed, "an unknown type", at: document.path(id, "type"))
        }
        own.formUnion(type)
      }
      result.formIntersection(own)
    }
    return result
  }

  /// The values of `enum` and `const` that all subschemas allow; nil if none has these.
  mutating func enumeration(_ flat: [Int]) throws(GrammarError) -> [JSONValue]? {
    var lists: [(values: [JSONValue], path: String)] = []
    for id in flat {
      if let value = document[id, "const"] { lists.append(([value], document.path(id, "const"))) }
      if let value = document[id, "enum"] {
        guard case .array(let items) = value else {
          throw GrammarError(.malformed, "'enum' is a list", at: document.path(id, "enum"))
        }
        lists.append((items, document.path(id, "enum")))
      }
    }
    guard let first = lists.first else { return nil }
    var kept = first.values
    for list in lists.dropFirst() {
      let known = Set(list.values.map(\.canonical))
      kept = kept.filter { known.contains($0.canonical) }
    }
    // One machine and one range for all values.
    let filter = try ValueFilter(flat, path: first.path, &self)
    var result: [JSONValue] = []
    for value in kept where try filter.admits(value) { result.append(value) }
    return result
  }

  /// A count in a keyword of the subschemas: the strictest.
  func count(
    _ flat: [Int],
    _ keyword: String,
    _ strictest: (Int, Int) -> Int
  ) throws(GrammarError) -> Int? {
    var result: Int?
    for id in flat {
      guard let value = document[id, keyword] else { continue }
      let path = document.path(id, keyword)
      guard case .number(let text) = value, let decimal = ExactDecimal(text), decimal.isInteger,
        !decimal.isNegative
      else {
        throw GrammarError(.malformed, "'\(keyword)' is a whole number, not negative", at: path)
      }
      let count = min(decimal.wholeValue ?? .max, GrammarLimits.count + 1)
      result = result.map { strictest($0, count) } ?? count
    }
    return result
  }
}

extension JSONValue {
  /// Equal for values that are equal in JSON: numbers by value, members in any order.
  var canonical: JSONValue {
    switch self {
    case .null, .bool, .string: self
    case .number(let text): .number(ExactDecimal(text)?.text ?? text)
    case .array(let items): .array(items.map(\.canonical))
    case .object(let members):
      .object(
        members.map { Member(name: $0.name, value: $0.value.canonical) }.sorted {
          $0.name < $1.name
        }
      )
    }
  }
}

/// Which values of an enum the keywords beside it allow.
private struct ValueFilter {
  private let types: SchemaTypes
  private let strings: StringPlan
  private let numbers: CharacterMachine?
  /// A keyword that is about the insides of arrays or of objects.
  private let inner: String?
  private let path: String

  init(_ flat: [Int], path: String, _ compiler: inout SchemaCompiler) throws(GrammarError) {
    self.path = path
    types = try compiler.types(flat)
    strings = try compiler.stringPlan(flat)
    let range = try compiler.numberRange(flat)
    numbers = range.isEverything ? nil : try range.machine(types: types)
    let keywords = [
      "properties", "patternProperties", "additionalProperties", "required", "minProperties",
      "maxProperties", "propertyNames", "items", "prefixItems", "additionalItems", "minItems",
      "maxItems",
    ]
    inner = keywords.first { keyword in flat.contains { compiler.document[$0, keyword] != nil } }
  }

  func admits(_ value: JSONValue) throws(GrammarError) -> Bool {
    switch value {
    case .null: return types.contains(.null)
    case .bool: return types.contains(.boolean)
    case .string(let text): return types.contains(.string) && strings.accepts(text)
    case .number(let text):
      guard let decimal = ExactDecimal(text) else {
        throw GrammarError(.limit, "the number \(text) has too many digits", at: path)
      }
      guard types.contains(decimal.isInteger ? .integer : .fraction) else { return false }
      return numbers?.accepts(decimal.text) ?? true
    case .array, .object:
      let type: SchemaTypes = value.kind == "array" ? .array : .object
      guard types.contains(type) else { return false }
      if let inner {
        throw GrammarError(.unsupported, "an \(value.kind) here beside '\(inner)'", at: path)
      }
      return true
    }
  }
}
