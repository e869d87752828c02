// The header frame: a message in the Envelope of proto/trestle.proto, and back.
//
// Outside bytes pass four gates: a size limit, the protocol version, protobuf-c within a memory
// budget, and the checks of `Unpack` on every field.

internal import WireMessages

extension Message {
  /// Returns the header frame.
  ///
  /// - Throws: `WireError` if a value is outside what the protocol carries, naming the field.
  package func encoded() throws(WireError) -> [UInt8] {
    let packer = Packer()
    let envelope = unsafe packer.make(trestle__envelope__init)
    unsafe envelope.pointee.version = protocolVersion
    unsafe pack(into: envelope, packer)
    if let failure = packer.failure { throw failure }
    let size = unsafe trestle__envelope__get_packed_size(envelope)
    guard size <= Limits.headerBytes else {
      throw WireError(
        .oversized,
        "the header would have \(size) bytes, at most \(Limits.headerBytes) are sent",
        context: name
      )
    }
    return unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = unsafe trestle__envelope__pack(envelope, buffer.baseAddress)
    }
  }

  /// Reads a header frame.
  ///
  /// - Parameters:
  ///   - header: The frame's bytes.
  ///   - budget: How many bytes the unpacking may allocate.
  /// - Throws: `WireError` that says what is wrong; never traps, whatever the bytes.
  package init(
    decoding header: UnsafeRawBufferPointer,
    budget: Int = Limits.unpackedBytes
  ) throws(WireError) {
    guard unsafe !header.isEmpty else { throw WireError(.truncated, "the header frame is empty") }
    guard header.count <= Limits.headerBytes else {
      throw WireError(
        .oversized,
        "the header has \(header.count) bytes, at most \(Limits.headerBytes) are read"
      )
    }
    try unsafe Message.checkVersion(header)
    var remaining = budget
    let result = unsafe withUnsafeMutablePointer(to: &remaining) {
      remaining -> Result<Message, WireError> in
      var allocator = unsafe budgetAllocator(remaining)
      guard
        let envelope = unsafe trestle__envelope__unpack(
          &allocator,
          header.count,
          header.bindMemory(to: UInt8.self).baseAddress
        )
      else {
        return .failure(
          WireError(
            .malformed,
            "the header's \(header.count) bytes are not a message within the limits"
          )
        )
      }
      defer { unsafe trestle__envelope__free_unpacked(envelope, &allocator) }
      do throws(WireError) {
        return .success(try unsafe Message(unpacking: envelope.pointee))
      } catch {
        var error = error
        error.request = unsafe envelope.pointee.request
        return .failure(error)
      }
    }
    self = try result.get()
  }

  /// Reads a header frame, as above.
  package init(decoding header: [UInt8]) throws(WireError) {
    // A closure that throws a typed error is not rethrown by withUnsafeBytes; a result is.
    let result = unsafe header.withUnsafeBytes { bytes -> Result<Message, WireError> in
      do throws(WireError) {
        return .success(try unsafe Message(decoding: bytes))
      } catch {
        return .failure(error)
      }
    }
    self = try result.get()
  }

  /// Checks the version before the rest is parsed: the rest may be of another protocol.
  ///
  /// Field 1 of the Envelope stands first in every version: the byte 0x08 (field 1, varint) and the
  /// number in groups of seven bits, lowest first.
  private static func checkVersion(_ header: UnsafeRawBufferPointer) throws(WireError) {
    var version: UInt64?
    if unsafe header[0] == 0x08 {
      var value: UInt64 = 0
      for index in 1..<min(header.count, 6) {
        let byte = unsafe header[index]
        value |= UInt64(byte & 0x7f) << UInt64(7 * (index - 1))
        if byte < 0x80 {
          version = value
          break
        }
      }
    }
    guard let version else {
      throw WireError(.malformed, "the header does not begin with a protocol version")
    }
    guard version == protocolVersion else {
      throw WireError(
        .version,
        "the peer speaks protocol \(version), this program \(protocolVersion); run the same version of trestle on both sides"
      )
    }
  }
}
