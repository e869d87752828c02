// A parser of JSON (RFC 8259) for schemas, which must keep the order of members and the digits of
// numbers; Foundation keeps neither.

/// Parses one JSON document.
struct JSONParser {
  private let bytes: [UInt8]
  private var offset = 0

  /// - Throws: `GrammarError` with the byte where it is no JSON, where a member comes twice, or
  ///   where it nests too deep or is too long.
  static func parse(_ text: String) throws(GrammarError) -> JSONValue {
    var parser = JSONParser(bytes: Array(text.utf8))
    guard parser.bytes.count <= GrammarLimits.sourceBytes else {
      throw GrammarError(
        .limit,
        "\(parser.bytes.count) bytes of JSON, at most \(GrammarLimits.sourceBytes)"
      )
    }
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.offset == parser.bytes.count else {
      throw parser.fault("bytes behind the document")
    }
    return value
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private func fault(_ what: String) -> GrammarError {
    GrammarError(.malformed, "\(what), at byte \(offset) of the JSON")
  }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      offset += 1
    }
  }

  private mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    offset += 1
    return true
  }

  private mutating func value(depth: Int) throws(GrammarError) -> JSONValue {
    guard depth <= GrammarLimits.sourceDepth else {
      throw GrammarError(
        .limit,
        "JSON nested deeper than \(GrammarLimits.sourceDepth), at byte \(offset)"
      )
    }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return .number(try number())
    }
  }

  private mutating func word(_ text: String, _ value: JSONValue) throws(GrammarError) -> JSONValue {
    guard bytes[offset...].starts(with: text.utf8) else { throw fault("an unknown word") }
    offset += text.utf8.count
    return value
  }

  private mutating func object(depth: Int) throws(GrammarError) -> JSONValue {
    offset += 1
    var members: [JSONValue.Member] = []
    var names: Set<String> = []
    skipSpace()
    if take("}") { return .object([]) }
    repeat {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw fault("no name of a member") }
      let name = try string()
      guard names.insert(name).inserted else { throw fault("a second member \"\(name)\"") }
      skipSpace()
      guard take(":") else { throw fault("no ':'") }
      members.append(JSONValue.Member(name: name, value: try value(depth: depth + 1)))
      skipSpace()
    } while take(",")
    guard take("}") else { throw fault("no ',' or '}'") }
    return .object(members)
  }

  private mutating func array(depth: Int) throws(GrammarError) -> JSONValue {
    offset += 1
    var values: [JSONValue] = []
    skipSpace()
    if take("]") { return .array([]) }
    repeat {
      values.append(try value(depth: depth + 1))
      skipSpace()
    } while take(",")
    guard take("]") else { throw fault("no ',' or ']'") }
    return .array(values)
  }

  private mutating func number() throws(GrammarError) -> String {
    let start = offset
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    return String(decoding: bytes[start..<offset], as: UTF8.self)
  }

  private mutating func digits() throws(GrammarError) {
    let start = offset
    while let byte = next, (0x30...0x39).contains(byte) { offset += 1 }
    guard offset > start else { throw fault("no value") }
  }

  private mutating func string() throws(GrammarError) -> String {
    offset += 1
    var text: [UInt8] = []
    while let byte = next {
      offset += 1
      switch byte {
      case UInt8(ascii: "\""):
        // The source is a String, so its bytes are UTF-8 already.
        return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"): try escape(into: &text)
      case 0..<0x20: throw fault("a control character in a string")
      default: text.append(byte)
      }
    }
    throw fault("a string that does not end")
  }

  private mutating func escape(into text: inout [UInt8]) throws(GrammarError) {
    guard let byte = next else { throw fault("a string that does not end") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
        let low = try hexadecimal()
        guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw fault("half a surrogate pair") }
      text.append(contentsOf: Array(String(scalar).utf8))
    default: throw fault("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws(GrammarError) -> UInt32 {
    guard offset + 4 <= bytes.count else { throw fault("a string that does not end") }
    let digits = String(decoding: bytes[offset..<offset + 4], as: UTF8.self)
    guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
      let code = UInt32(digits, radix: 16)
    else { throw fault("no four hexadecimal digits") }
    offset += 4
    return code
  }
}
