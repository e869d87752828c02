// From Swift's values to protobuf-c's structs. One Packer makes the structs of one message; they live
// as long as it does.

internal import Content
internal import WireMessages

/// Memory for the C structs of one message, and the checks on what goes into them.
///
/// The first value that is outside its limits is kept in `failure`; packing then goes on with a
/// harmless value, and whoever made the packer throws the failure instead of sending.
// @safe: structs are handed out as pointers, which their users mark; all die with the packer.
@safe final class Packer {
  private(set) var failure: WireError?
  /// Chunks that structs are cut from; the last one is in use.
  private var chunks: [UnsafeMutableRawBufferPointer] = unsafe []
  private var used = 0

  // 4 KiB holds a decode step of a dozen rows; each further chunk is twice as large.
  private static let firstChunkBytes = 4096
  private static let alignment = 16

  deinit {
    for index in unsafe 0..<chunks.count { unsafe chunks[index].deallocate() }
  }

  /// Returns a struct in its initial state.
  func make<C>(_ initialize: (UnsafeMutablePointer<C>) -> Void) -> UnsafeMutablePointer<C> {
    let pointer = unsafe allocate(C.self, count: 1)
    unsafe initialize(pointer)
    return unsafe pointer
  }

  private func allocate<C>(_ type: C.Type, count: Int) -> UnsafeMutablePointer<C> {
    let size = max(1, MemoryLayout<C>.stride * count)
    let start = (used + Self.alignment - 1) / Self.alignment * Self.alignment
    if let chunk = unsafe chunks.last, start + size <= chunk.count,
      let base = chunk.baseAddress
    {
      used = start + size
      return unsafe (base + start).bindMemory(to: C.self, capacity: count)
    }
    let wanted = unsafe chunks.last.map { $0.count * 2 } ?? Self.firstChunkBytes
    let chunk = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(wanted, size),
      alignment: Self.alignment
    )
    unsafe chunks.append(chunk)
    used = size
    guard let base = chunk.baseAddress else { preconditionFailure("an empty chunk") }
    return unsafe base.bindMemory(to: C.self, capacity: count)
  }

  private func copy<C>(_ elements: [C]) -> UnsafeMutablePointer<C>? {
    guard !elements.isEmpty else { return nil }
    let pointer = unsafe allocate(C.self, count: elements.count)
    unsafe elements.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      unsafe pointer.initialize(from: base, count: source.count)
    }
    return unsafe pointer
  }

  private func fail(_ code: WireError.Code, _ message: String, _ field: String) {
    if failure == nil { failure = WireError(code, message, context: field) }
  }
}

// MARK: Fields

extension Packer {
  func integer(_ value: Int, _ field: String, limit: Int) -> UInt32 {
    guard value >= 0, value <= limit, let number = UInt32(exactly: value) else {
      fail(.malformed, "\(value) is outside 0...\(limit)", field)
      return 0
    }
    return number
  }

  func size(_ value: UInt64, _ field: String, limit: UInt64) -> UInt64 {
    guard value <= limit else {
      fail(.malformed, "\(value) is outside 0...\(limit)", field)
      return 0
    }
    return value
  }

  func token(_ value: Int32, _ field: String) -> Int32 {
    guard value >= 0 else {
      fail(.malformed, "token \(value) is negative", field)
      return 0
    }
    return value
  }

  func finite<Number: BinaryFloatingPoint>(_ value: Number, _ field: String) -> Number {
    guard value.isFinite else {
      fail(.malformed, "\(value) is not a number to work with", field)
      return 0
    }
    return value
  }

  func text(_ value: String, _ field: String, limit: Int) -> ProtobufCBinaryData {
    let bytes = Array(value.utf8)
    guard bytes.count <= limit else {
      fail(.oversized, "a text of \(bytes.count) bytes, at most \(limit) are sent", field)
      return unsafe ProtobufCBinaryData(len: 0, data: nil)
    }
    return unsafe ProtobufCBinaryData(len: bytes.count, data: copy(bytes))
  }

  func bytes(_ value: [UInt8], _ field: String, limit: Int) -> ProtobufCBinaryData {
    guard value.count <= limit else {
      fail(.oversized, "\(value.count) bytes, at most \(limit) are sent", field)
      return unsafe ProtobufCBinaryData(len: 0, data: nil)
    }
    return unsafe ProtobufCBinaryData(len: value.count, data: copy(value))
  }

  func digest(_ value: Digest) -> ProtobufCBinaryData {
    unsafe ProtobufCBinaryData(len: value.bytes.count, data: copy(value.bytes))
  }

  func identity(_ value: PeerID) -> ProtobufCBinaryData {
    unsafe ProtobufCBinaryData(len: value.bytes.count, data: copy(value.bytes))
  }

  /// A public key; nothing for nil.
  func key(_ value: PublicKey?) -> ProtobufCBinaryData {
    let bytes = Array((value?.description ?? "").utf8)
    return unsafe ProtobufCBinaryData(len: bytes.count, data: copy(bytes))
  }

  /// A text for people: one that is too long is cut after a whole character rather than refused,
  /// since it often tells of another fault.
  func prose(_ value: String) -> ProtobufCBinaryData {
    var bytes = Array(value.utf8.prefix(Limits.proseBytes))
    if value.utf8.count > bytes.count {
      // Drop the bytes 10xxxxxx of the character that was cut through, and its first byte.
      while let last = bytes.last, last & 0xc0 == 0x80 { bytes.removeLast() }
      if let last = bytes.last, last >= 0xc0 { bytes.removeLast() }
    }
    return unsafe ProtobufCBinaryData(len: bytes.count, data: copy(bytes))
  }
}

// MARK: Lists

extension Packer {
  /// Returns a list's count and elements; an empty one if there are more than the limit.
  func numbers<C>(_ values: [C], _ field: String, limit: Int) -> (Int, UnsafeMutablePointer<C>?) {
    guard values.count <= limit else {
      fail(.oversized, "\(values.count) elements, at most \(limit) are sent", field)
      return (0, nil)
    }
    return unsafe (values.count, copy(values))
  }

  func integers(
    _ values: [Int],
    _ field: String,
    count: Int,
    limit: Int
  ) -> (Int, UnsafeMutablePointer<UInt32>?) {
    unsafe numbers(values.map { integer($0, field, limit: limit) }, field, limit: count)
  }

  func tokens(
    _ values: [Int32],
    _ field: String,
    limit: Int
  ) -> (Int, UnsafeMutablePointer<Int32>?) {
    if let negative = values.first(where: { $0 < 0 }) { _ = token(negative, field) }
    return unsafe numbers(values, field, limit: limit)
  }

  /// Tokens in a message of their own, where a list cannot stand.
  func tokenList(_ values: [Int32], _ field: String) -> UnsafeMutablePointer<Trestle__TokenList> {
    let c = unsafe make(trestle__token_list__init)
    unsafe (c.pointee.n_tokens, c.pointee.tokens) = tokens(values, field, limit: Limits.tokens)
    return unsafe c
  }

  /// Messages in a message of their own, where a list cannot stand.
  func messageList(
    _ values: [PromptMessage],
    _ field: String
  ) -> UnsafeMutablePointer<Trestle__MessageList> {
    let c = unsafe make(trestle__message_list__init)
    unsafe (c.pointee.n_messages, c.pointee.messages) = list(
      values,
      field,
      limit: Limits.messages
    ) { unsafe $0.packed(self) }
    return unsafe c
  }

  func texts(
    _ values: [String],
    _ field: String,
    count: Int,
    limit: Int
  ) -> (Int, UnsafeMutablePointer<ProtobufCBinaryData>?) {
    unsafe numbers(values.map { unsafe text($0, field, limit: limit) }, field, limit: count)
  }

  func keys(
    _ values: [PublicKey],
    _ field: String,
    limit: Int
  ) -> (Int, UnsafeMutablePointer<ProtobufCBinaryData>?) {
    unsafe numbers(values.map { unsafe key($0) }, field, limit: limit)
  }

  func digests(
    _ values: [Digest],
    _ field: String,
    limit: Int
  ) -> (Int, UnsafeMutablePointer<ProtobufCBinaryData>?) {
    unsafe numbers(values.map { unsafe digest($0) }, field, limit: limit)
  }

  /// Returns a list of messages, each made by `pack`.
  func list<Element, C>(
    _ values: [Element],
    _ field: String,
    limit: Int,
    _ pack: (Element) -> UnsafeMutablePointer<C>
  ) -> (Int, UnsafeMutablePointer<UnsafeMutablePointer<C>?>?) {
    guard values.count <= limit else {
      fail(.oversized, "\(values.count) elements, at most \(limit) are sent", field)
      return (0, nil)
    }
    return unsafe (values.count, copy(values.map { unsafe Optional(pack($0)) }))
  }
}
