// Files of words of 32 bits, little-endian.

/// A reader of words that knows where it is.
struct WordReader {
  private(set) var rest: ArraySlice<UInt32>
  let name: String

  init(_ words: some Sequence<UInt32>, _ name: String) {
    rest = Array(words)[...]
    self.name = name
  }

  /// - Throws: `NPUError.bytes` if their number is no multiple of four.
  static func words(of bytes: [UInt8]) throws(NPUError) -> [UInt32] {
    guard bytes.count.isMultiple(of: 4) else {
      throw NPUError(.bytes, "\(bytes.count) bytes are no whole number of words")
    }
    return stride(from: 0, to: bytes.count, by: 4).map { place in
      (0..<4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[place + $1]) }
    }
  }

  /// The place of the next word.
  var place: Int { rest.startIndex }
  var isEmpty: Bool { rest.isEmpty }

  func error(_ what: String) -> NPUError { NPUError(.bytes, what, at: "\(name), word \(place)") }

  mutating func next() throws(NPUError) -> UInt32 {
    guard let word = rest.popFirst() else { throw error("it ends too soon") }
    return word
  }

  mutating func next(_ count: Int) throws(NPUError) -> [UInt32] {
    guard count >= 0, count <= rest.count else {
      throw error("\(count) words are wanted, \(rest.count) are there")
    }
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }

  mutating func expect(_ wanted: UInt32, _ what: String) throws(NPUError) {
    let word = try next()
    guard word == wanted else {
      throw error("\(what) is \(word.hexadecimal), not \(wanted.hexadecimal)")
    }
  }
}

extension [UInt32] {
  /// The bytes, in the order of memory.
  package var littleEndianBytes: [UInt8] {
    flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32($0 * 8)) } }
  }

  /// The checksum that structures of a PDI end with.
  var checksum: UInt32 { ~reduce(0, &+) }
}
