// A streaming (pull) reader of JSON (RFC 8259), for tokenizer.json: its 262,144 tokens and 500,000
// merges go straight into tables, in file order, and duplicates are detected. Small JSON files (the
// model's config) are read elsewhere.

/// Reads one JSON document, value by value.
///
/// Every error is a `GemmaError.format` that names the byte offset. Only the last string is kept,
/// so the memory is that of the document.
struct JSONReader {
  private let bytes: [UInt8]
  private let path: String
  /// The offset of the next byte; a caller may note it at a value, skip the value and return later.
  var offset = 0
  /// The last string or member name read, as UTF-8.
  private(set) var string: [UInt8] = []

  /// Deeper nesting is refused, so that a hostile file gets an error and does not overflow the
  /// stack.
  static let depthLimit = 64

  init(_ bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// The last string or member name read.
  var text: String { String(decoding: string, as: UTF8.self) }

  /// Reads an object; `member` is called with the name in `string` and must read the value.
  mutating func readObject(
    _ member: (inout JSONReader) throws(GemmaError) -> Void
  ) throws(GemmaError) {
    try expect(UInt8(ascii: "{"), "an object")
    if take(UInt8(ascii: "}")) { return }
    repeat {
      try readString()
      try expect(UInt8(ascii: ":"), "':'")
      try member(&self)
    } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "}"), "',' or '}'")
  }

  /// Reads an array; `element` is called with each index and must read the value.
  mutating func readArray(
    _ element: (inout JSONReader, Int) throws(GemmaError) -> Void
  ) throws(GemmaError) {
    try expect(UInt8(ascii: "["), "an array")
    if take(UInt8(ascii: "]")) { return }
    var index = 0
    repeat {
      try element(&self, index)
      index += 1
    } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "]"), "',' or ']'")
  }

  /// Reads a string into `string`.
  mutating func readString() throws(GemmaError) {
    try expect(UInt8(ascii: "\""), "a string")
    string.removeAll(keepingCapacity: true)
    let start = offset
    while offset < bytes.count {
      let run = offset
      while offset < bytes.count, JSONReader.isPlain(bytes[offset]) { offset += 1 }
      string.append(contentsOf: bytes[run..<offset])
      guard offset < bytes.count else { break }
      offset += 1
      switch bytes[offset - 1] {
      case UInt8(ascii: "\""): return
      case UInt8(ascii: "\\"): try readEscape()
      default:
        offset -= 1
        throw fault("a control character in a string")
      }
    }
    offset = start
    throw fault("a string that does not end")
  }

  /// Reads an integer.
  mutating func readInteger() throws(GemmaError) -> Int {
    skipSpace()
    let start = offset
    let negative = offset < bytes.count && bytes[offset] == UInt8(ascii: "-")
    if negative { offset += 1 }
    var value = 0
    let digits = offset
    while offset < bytes.count, let digit = JSONReader.digit(bytes[offset]), digit < 10 {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(negative ? -digit : digit)
      guard !overflow, !carry else {
        offset = start
        throw fault("an absurdly large integer")
      }
      value = sum
      offset += 1
    }
    let next = offset < bytes.count ? bytes[offset] : 0
    let fraction =
      next == UInt8(ascii: ".") || next == UInt8(ascii: "e") || next == UInt8(ascii: "E")
    guard offset > digits, !fraction else {
      offset = start
      throw fault("no integer where one is expected")
    }
    return value
  }

  /// Reads true or false.
  mutating func readBool() throws(GemmaError) -> Bool {
    if takeWord("true") { return true }
    if takeWord("false") { return false }
    throw fault("neither true nor false where one is expected")
  }

  /// Reads null if it is next.
  mutating func readNull() -> Bool { takeWord("null") }

  /// Returns the first byte of the next value: `{`, `[`, `"`, or the first byte of a number or
  /// word.
  mutating func peek() throws(GemmaError) -> UInt8 {
    skipSpace()
    guard offset < bytes.count else { throw fault("the end of the file in a value") }
    return bytes[offset]
  }

  /// Reads a value of any kind and discards it.
  mutating func skipValue(depth: Int = 0) throws(GemmaError) {
    guard depth < JSONReader.depthLimit else {
      throw fault("nesting deeper than \(JSONReader.depthLimit)")
    }
    switch try peek() {
    case UInt8(ascii: "{"):
      try readObject { reader throws(GemmaError) in try reader.skipValue(depth: depth + 1) }
    case UInt8(ascii: "["):
      try readArray { reader, _ throws(GemmaError) in try reader.skipValue(depth: depth + 1) }
    case UInt8(ascii: "\""): try readString()
    case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try readBool()
    case UInt8(ascii: "n"):
      guard readNull() else { throw fault("an unknown word") }
    default: _ = try readNumber()
    }
  }

  /// Reads a number of any kind.
  mutating func readNumber() throws(GemmaError) -> Double {
    skipSpace()
    let start = offset
    while offset < bytes.count {
      switch bytes[offset] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"),
        UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
        offset += 1
        continue
      default: break
      }
      break
    }
    guard let value = Double(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      offset = start
      throw fault("no value where one is expected")
    }
    return value
  }

  /// Throws unless only white space follows.
  mutating func readEnd() throws(GemmaError) {
    skipSpace()
    guard offset == bytes.count else { throw fault("bytes behind the end of the document") }
  }

  /// Returns an error at the current byte.
  func fault(_ what: String) -> GemmaError {
    GemmaError(.format, "\(what), at byte \(offset) of the JSON", context: path)
  }

  private mutating func readEscape() throws(GemmaError) {
    guard offset < bytes.count else { throw fault("a string that does not end") }
    let byte = bytes[offset]
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): string.append(byte)
    case UInt8(ascii: "b"): string.append(0x08)
    case UInt8(ascii: "f"): string.append(0x0C)
    case UInt8(ascii: "n"): string.append(0x0A)
    case UInt8(ascii: "r"): string.append(0x0D)
    case UInt8(ascii: "t"): string.append(0x09)
    case UInt8(ascii: "u"):
      var code = try readHex()
      if (0xD800..<0xDC00).contains(code), bytes.dropFirst(offset).starts(with: [0x5C, 0x75]) {
        offset += 2
        let low = try readHex()
        guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw fault("half a surrogate pair") }
      string.append(contentsOf: String(Character(scalar)).utf8)
    default: throw fault("an unknown escape")
    }
  }

  private mutating func readHex() throws(GemmaError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard offset < bytes.count, let digit = JSONReader.digit(bytes[offset]) else {
        throw fault("no hexadecimal digit where one is expected")
      }
      code = code << 4 | UInt32(digit)
      offset += 1
    }
    return code
  }

  // Whether a byte of a string stands for itself.
  private static func isPlain(_ byte: UInt8) -> Bool {
    byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
  }

  private static func digit(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 0x30
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte) - 0x61 + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte) - 0x41 + 10
    default: nil
    }
  }

  private mutating func skipSpace() {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x0A, 0x0D, 0x09: offset += 1
      default: return
      }
    }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard offset < bytes.count, bytes[offset] == byte else { return false }
    offset += 1
    return true
  }

  private mutating func takeWord(_ word: StaticString) -> Bool {
    skipSpace()
    let length = word.utf8CodeUnitCount
    let matches = word.withUTF8Buffer { buffer in
      unsafe bytes.dropFirst(offset).prefix(length).elementsEqual(buffer)
    }
    if matches { offset += length }
    return matches
  }

  private mutating func expect(_ byte: UInt8, _ what: String) throws(GemmaError) {
    guard take(byte) else { throw fault("something else where \(what) is expected") }
  }
}
