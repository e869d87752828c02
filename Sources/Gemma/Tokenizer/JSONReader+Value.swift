// Reads small parts of a tokenizer's files as values, where their shape varies.

extension JSONValue {
  /// Returns a member of an object; nil if it is absent or null, or if this is not an object.
  subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self, let value = members[name], !value.isNull else {
      return nil
    }
    return value
  }

  var isNull: Bool { if case .null = self { true } else { false } }

  var string: String? { if case .string(let value) = self { value } else { nil } }
  var integer: Int? { if case .integer(let value) = self { value } else { nil } }
  var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
}

extension JSONReader {
  /// The most values that `readValue` holds; Gemma's largest part has some 50,000.
  ///
  /// A file made of millions of empty arrays would otherwise take twenty times its size in memory.
  static let valueLimit = 1 << 20

  /// Reads a value of any kind; among members with the same name the last one wins.
  mutating func readValue() throws(GemmaError) -> JSONValue {
    var budget = JSONReader.valueLimit
    return try readValue(depth: 0, budget: &budget)
  }

  private mutating func readValue(depth: Int, budget: inout Int) throws(GemmaError) -> JSONValue {
    guard depth < JSONReader.depthLimit else {
      throw fault("nesting deeper than \(JSONReader.depthLimit)")
    }
    budget -= 1
    guard budget > 0 else { throw fault("more than \(JSONReader.valueLimit) values") }
    switch try peek() {
    case UInt8(ascii: "{"):
      var members: [String: JSONValue] = [:]
      try readObject { reader throws(GemmaError) in
        let name = reader.text
        members[name] = try reader.readValue(depth: depth + 1, budget: &budget)
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSONValue] = []
      try readArray { reader, _ throws(GemmaError) in
        elements.append(try reader.readValue(depth: depth + 1, budget: &budget))
      }
      return .array(elements)
    case UInt8(ascii: "\""):
      try readString()
      return .string(text)
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool(try readBool())
    case UInt8(ascii: "n"):
      try skipValue()
      return .null
    default:
      let start = offset
      if let value = try? readInteger() { return .integer(value) }
      offset = start
      return .double(try readNumber())
    }
  }

  /// Opens a JSON file.
  init(file path: String) throws(GemmaError) {
    // Gemma's tokenizer.json has 33 MB, and the tables made from a file take a few times its size.
    let limit = 1 << 28
    let file = try MappedFile.open(path)
    guard file.size <= limit else {
      throw GemmaError(.file, "has \(file.size) bytes, at most \(limit) are read", context: path)
    }
    self.init(try file.read(offset: 0, count: file.size), path: path)
  }
}
