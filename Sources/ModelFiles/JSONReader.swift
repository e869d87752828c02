// A streaming (pull) reader of JSON (RFC 8259), for tokenizer.json: its 262,144 tokens and 500,000
// merges go straight into tables, in file order, and duplicates are detected. Small JSON files (the
// model's config) are read elsewhere.

/// Reads one JSON document, value by value.
///
/// Every fault throws `ModelFilesError.format` with the byte it lies at. Nothing is kept but the last
/// string, so memory is that of the document.
package struct JSONReader {
  private let bytes: [UInt8]
  private let path: String
  /// The next byte to read; a caller may note it at a value, skip the value and come back.
  package var offset = 0
  /// The last string or member name read, as UTF-8.
  package private(set) var string: [UInt8] = []

  /// Deeper nesting is refused, so that a hostile file gets an error and does not overflow the
  /// stack.
  static let depthLimit = 64

  /// Reads bytes that are in memory; `path` names them in errors.
  package init(_ bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// The last string or member name read.
  package var text: String { String(decoding: string, as: UTF8.self) }

  /// Reads an object; `member` is called with the name in `string` and must read the value.
  package mutating func readObject(
    _ member: (inout JSONReader) throws(ModelFilesError) -> Void
  ) throws(ModelFilesError) {
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
  package mutating func readArray(
    _ element: (inout JSONReader, Int) throws(ModelFilesError) -> Void
  ) throws(ModelFilesError) {
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
  package mutating func readString() throws(ModelFilesError) {
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
  package mutating func readInteger() throws(ModelFilesError) -> Int {
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
  package mutating func readBool() throws(ModelFilesError) -> Bool {
    if takeWord("true") { return true }
    if takeWord("false") { return false }
    throw fault("neither true nor false where one is expected")
  }

  /// Reads null if it is next.
  package mutating func readNull() -> Bool { takeWord("null") }

  /// The first byte of the next value: `{`, `[`, `"` or the first of a number or word.
  package mutating func peek() throws(ModelFilesError) -> UInt8 {
    skipSpace()
    guard offset < bytes.count else { throw fault("the end of the file in a value") }
    return bytes[offset]
  }

  /// Reads a value of any kind and forgets it.
  package mutating func skipValue(depth: Int = 0) throws(ModelFilesError) {
    guard depth < JSONReader.depthLimit else {
      throw fault("nesting deeper than \(JSONReader.depthLimit)")
    }
    switch try peek() {
    case UInt8(ascii: "{"):
      try readObject { reader throws(ModelFilesError) in try reader.skipValue(depth: depth + 1) }
    case UInt8(ascii: "["):
      try readArray { reader, _ throws(ModelFilesError) in try reader.skipValue(depth: depth + 1) }
    case UInt8(ascii: "\""): try readString()
    case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try readBool()
    case UInt8(ascii: "n"):
      guard readNull() else { throw fault("an unknown word") }
    default: _ = try readNumber()
    }
  }

  /// Reads a number of any kind.
  package mutating func readNumber() throws(ModelFilesError) -> Double {
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
    let text = bytes[start..<offset]
    guard JSONReader.isNumber(text), let value = Double(String(decoding: text, as: UTF8.self))
    else {
      offset = start
      throw fault("no value where one is expected")
    }
    return value
  }

  /// Whether bytes are a number as RFC 8259 has it: no plus sign, no zero in front, digits around a point.
  private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
    var rest = text
    func takeDigits() -> Int {
      let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
      rest = rest.dropFirst(digits)
      return digits
    }
    func take(_ bytes: String) -> Bool {
      guard let first = rest.first, bytes.utf8.contains(first) else { return false }
      rest = rest.dropFirst()
      return true
    }
    _ = take("-")
    let startsWithZero = rest.first == UInt8(ascii: "0")
    let digits = takeDigits()
    guard digits == 1 || digits > 1 && !startsWithZero else { return false }
    if take("."), takeDigits() == 0 { return false }
    if take("eE") {
      _ = take("+-")
      if takeDigits() == 0 { return false }
    }
    return rest.isEmpty
  }

  /// Throws unless only white space is left.
  package mutating func readEnd() throws(ModelFilesError) {
    skipSpace()
    guard offset == bytes.count else { throw fault("bytes behind the end of the document") }
  }

  /// An error at the present byte.
  func fault(_ what: String) -> ModelFilesError {
    ModelFilesError(.format, "\(what), at byte \(offset) of the JSON", context: path)
  }

  private mutating func readEscape() throws(ModelFilesError) {
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

  private mutating func readHex() throws(ModelFilesError) -> UInt32 {
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

  private mutating func expect(_ byte: UInt8, _ what: String) throws(ModelFilesError) {
    guard take(byte) else { throw fault("something else where \(what) is expected") }
  }
}
