// A cursor over the header of a model file. Every read is checked against the bytes left, so a
// claimed length or count never makes us read or allocate what is not there.

/// Reads little-endian values from a mapped file, front to back.
struct ByteReader {
  let region: MappedRegion
  let path: String
  private(set) var offset: Int

  init(_ region: MappedRegion, offset: Int = 0, path: String) {
    self.region = region
    self.offset = offset
    self.path = path
  }

  /// Bytes that have not been read.
  var left: Int { unsafe region.bytes.count - offset }

  /// Returns the next integer; `what` names it in the error.
  mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ what: @autoclosure () -> String,
    as: T.Type = T.self
  ) throws(ModelFilesError) -> T {
    try need(MemoryLayout<T>.size, what())
    let value = unsafe region.bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
    offset += MemoryLayout<T>.size
    return T(littleEndian: value)
  }

  /// Returns a length or count that the format stores in 64 bits.
  ///
  /// A value above `limit`, the largest that can be right, is refused; one above what `left` allows is
  /// a sign of a file cut short.
  mutating func count(
    _ what: @autoclosure () -> String,
    limit: Int,
    left most: Int = .max
  ) throws(ModelFilesError) -> Int {
    let start = offset
    let value: UInt64 = try integer(what())
    let possible = max(0, min(limit, most))
    guard value <= UInt64(possible) else {
      let cause = most < .max && most <= limit ? "; \(cutShort)" : ""
      throw ModelFilesError(
        .format,
        "\(what()) is \(value), at most \(possible) is possible here\(cause)",
        context: "\(path), byte \(start)"
      )
    }
    return Int(value)
  }

  /// Returns where the next length-prefixed string lies, and steps over it.
  mutating func string(
    _ what: @autoclosure () -> String,
    limit: Int = .max
  ) throws(ModelFilesError) -> Range<Int> {
    let length = try count("length of \(what())", limit: limit, left: max(0, left - 8))
    defer { offset += length }
    return offset..<(offset + length)
  }

  /// Steps over bytes.
  mutating func skip(_ count: Int, _ what: @autoclosure () -> String) throws(ModelFilesError) {
    try need(count, what())
    offset += count
  }

  /// Returns the text of a range; bytes that are not UTF-8 become U+FFFD.
  func text(_ range: Range<Int>) -> String {
    unsafe String(decoding: region.bytes[range], as: UTF8.self)
  }

  private func need(_ count: Int, _ what: @autoclosure () -> String) throws(ModelFilesError) {
    guard count <= left else {
      throw ModelFilesError(
        .format,
        "truncated: \(what()) needs \(count) bytes, \(left) are left; \(cutShort)",
        context: "\(path), byte \(offset)"
      )
    }
  }
}
