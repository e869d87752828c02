// JSON as the API reads and writes it: members in order, as schemas need them, numbers as written, every
// fault with its place.

internal import ModelFiles

/// A JSON value.
package enum JSON: Sendable, Hashable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  /// Members in their order; no name twice.
  case object([Member])

  package struct Member: Sendable, Hashable {
    package var name: String
    package var value: JSON

    package init(_ name: String, _ value: JSON) {
      self.name = name
      self.value = value
    }
  }

  /// The member of an object with this name; nil for other values.
  package subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// What the value is, for an error.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let text): "\"\(text.prefix(80))\""
    case .array(let values): "an array of \(values.count)"
    case .object: "an object"
    }
  }
}

// MARK: Reading

extension JSON {
  /// Deeper nesting is refused, so that a hostile body cannot overflow the stack.
  static let depthLimit = 64

  /// Reads one document.
  ///
  /// - Parameters:
  ///   - bytes: The document.
  ///   - name: What it is, for errors.
  ///   - allowsRepeats: Whether the last member of a name counts, where several have it; else they are refused.
  /// - Throws: `APIError` 400 that names the byte at fault.
  package init(
    parsing bytes: [UInt8],
    as name: String = "the body",
    allowsRepeats: Bool = false
  ) throws(APIError) {
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw APIError.invalid("\(name) is not UTF-8")
    }
    var reader = JSONReader(bytes, path: name)
    do throws(ModelFilesError) {
      self = try Self.read(&reader, depth: 0, allowsRepeats)
      try reader.readEnd()
    } catch {
      throw APIError.invalid("\(name) is not valid JSON: \(error.message)")
    }
  }

  private static func read(
    _ reader: inout JSONReader,
    depth: Int,
    _ allowsRepeats: Bool
  ) throws(ModelFilesError) -> JSON {
    guard depth < depthLimit else {
      throw ModelFilesError(.format, "more than \(depthLimit) levels of nesting")
    }
    switch try reader.peek() {
    case UInt8(ascii: "{"):
      var members: [Member] = []
      var names: Set<String> = []
      try reader.readObject { (reader) throws(ModelFilesError) in
        let name = reader.text
        if !names.insert(name).inserted {
          guard allowsRepeats else {
            throw ModelFilesError(.format, "\"\(name)\" stands twice in an object")
          }
          members.removeAll { $0.name == name }
        }
        members.append(Member(name, try read(&reader, depth: depth + 1, allowsRepeats)))
      }
      return .object(members)
    case UInt8(ascii: "["):
      var values: [JSON] = []
      try reader.readArray { (reader, _) throws(ModelFilesError) in
        values.append(try read(&reader, depth: depth + 1, allowsRepeats))
      }
      return .array(values)
    case UInt8(ascii: "\""):
      try reader.readString()
      return .string(reader.text)
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool(try reader.readBool())
    case UInt8(ascii: "n"):
      guard reader.readNull() else { throw ModelFilesError(.format, "a word that is no value") }
      return .null
    default:
      let start = reader.offset
      let value = try reader.readNumber()
      let end = reader.offset
      guard value.isFinite else { throw ModelFilesError(.format, "a number that is too large") }
      guard value == value.rounded(), abs(value) < 1e19 else { return .number(value) }
      // An integer keeps all its digits, which a seed needs.
      reader.offset = start
      let digits = try? reader.readInteger()
      if let digits, reader.offset == end { return .integer(digits) }
      reader.offset = end
      // 16.0 and 1.6e1 are integers, too, as far as a double has them all.
      return abs(value) < 0x1p53 ? .integer(Int(value)) : .number(value)
    }
  }
}

// MARK: Writing

extension JSON {
  /// The document, without white space.
  package var text: String {
    var out: [UInt8] = []
    write(to: &out)
    return String(decoding: out, as: UTF8.self)
  }

  private func write(to out: inout [UInt8]) {
    switch self {
    case .null: out += Array("null".utf8)
    case .bool(let value): out += Array((value ? "true" : "false").utf8)
    case .integer(let value): out += Array(String(value).utf8)
    case .number(let value): out += Array(Self.text(of: value).utf8)
    case .string(let text): Self.write(text, to: &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        value.write(to: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let members):
      out.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        Self.write(member.name, to: &out)
        out.append(UInt8(ascii: ":"))
        member.value.write(to: &out)
      }
      out.append(UInt8(ascii: "}"))
    }
  }

  /// JSON has no infinity and no NaN; clients of log probabilities read -9999 as impossible.
  private static func text(of value: Double) -> String {
    guard value.isFinite else { return value > 0 ? "9999.0" : "-9999.0" }
    return "\(value)"
  }

  private static func write(_ text: String, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): out += [UInt8(ascii: "\\"), byte]
      case UInt8(ascii: "\\"): out += [byte, byte]
      case 0x0A: out += Array("\\n".utf8)
      case 0x0D: out += Array("\\r".utf8)
      case 0x09: out += Array("\\t".utf8)
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        out += Array("\\u00\(digits.count < 2 ? "0" : "")\(digits)".utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}

// MARK: Literals

// Not by `nil`, which would be taken for null where an optional is meant.
extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int) { self = .integer(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: JSON...) { self = .array(elements) }
  package init(dictionaryLiteral elements: (String, JSON)...) {
    self = .object(elements.map { Member($0.0, $0.1) })
  }

  /// The value of an optional; null without one.
  init(_ text: String?) { self = text.map(JSON.string) ?? .null }
}
