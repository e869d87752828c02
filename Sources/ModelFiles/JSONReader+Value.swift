// Small parts of a JSON file as values, where their shape varies.

extension JSONValue {
  /// A member of an object; nil if absent, null, or if this is not an object.
  package subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self, let value = members[name], !value.isNull else {
      return nil
    }
    return value
  }

  /// Whether it is null.
  package var isNull: Bool { if case .null = self { true } else { false } }

  /// The text, if it is one.
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The integer, if it is one.
  package var integer: Int? { if case .integer(let value) = self { value } else { nil } }
  /// The truth value, if it is one.
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The elements, if it is an array.
  package var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
}

extension JSONReader {
  /// The most values that `readValue` holds; Gemma's largest part has some 50,000.
  ///
  /// A file made of millions of empty arrays would otherwise take twenty times its size in memory.
  static let valueLimit = 1 << 20

  /// Reads a value of any kind; of members with the same name the last counts.
  package mutating func readValue() throws(ModelFilesError) -> JSONValue {
    var budget = JSONReader.valueLimit
    return try readValue(depth: 0, budget: &budget)
  }

  private mutating func readValue(
    depth: Int,
    budget: inout Int
  ) throws(ModelFilesError) -> JSONValue {
    guard depth < JSONReader.depthLimit else {
      throw fault("nesting deeper than \(JSONReader.depthLimit)")
    }
    budget -= 1
    guard budget > 0 else { throw fault("more than \(JSONReader.valueLimit) values") }
    switch try peek() {
    case UInt8(ascii: "{"):
      var members: [String: JSONValue] = [:]
      try readObject { reader throws(ModelFilesError) in
        let name = reader.text
        members[name] = try reader.readValue(depth: depth + 1, budget: &budget)
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSONValue] = []
      try readArray { reader, _ throws(ModelFilesError) in
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
  package init(file path: String) throws(ModelFilesError) {
    // Gemma's tokenizer.json has 33 MB; the tables made of a file are a few times its size.
    let limit = 1 << 28
    let file = try MappedFile.open(path)
    guard file.size <= limit else {
      throw ModelFilesError(
        .file,
        "has \(file.size) bytes, at most \(limit) are read",
        context: path
      )
    }
    self.init(try file.read(offset: 0, count: file.size), path: path)
  }
}
