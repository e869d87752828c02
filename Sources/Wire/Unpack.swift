// From protobuf-c's structs to Swift's values: every field is checked here, and nowhere assumed.
//
// protobuf-c accepts much: an empty frame, any number in an enum, fields it does not know, bytes that
// are no UTF-8. Each of these is refused with the field's name.

internal import Content
internal import Glibc
internal import WireMessages

/// Reads the fields of unpacked messages.
enum Unpack {
  /// Refuses a message with fields that this version does not know: within one version of the
  /// protocol both sides know all fields, so it is corrupt.
  static func known(_ base: ProtobufCMessage, _ message: String) throws(WireError) {
    guard unsafe base.n_unknown_fields == 0 else {
      let tag = unsafe base.unknown_fields.map { unsafe "\($0.pointee.tag)" } ?? "?"
      throw WireError(
        .malformed,
        "field \(tag) is unknown to protocol \(protocolVersion)",
        context: message
      )
    }
  }

  static func required<C>(
    _ pointer: UnsafeMutablePointer<C>?,
    _ field: String
  ) throws(WireError)
    -> C
  {
    guard let pointer = unsafe pointer else {
      throw WireError(.malformed, "is missing", context: field)
    }
    return unsafe pointer.pointee
  }

  /// Returns a part that may be absent.
  static func optional<C, Value>(
    _ pointer: UnsafeMutablePointer<C>?,
    _ unpack: (C) throws(WireError) -> Value
  ) throws(WireError) -> Value? {
    guard let pointer = unsafe pointer else { return nil }
    return try unsafe unpack(pointer.pointee)
  }

  static func integer(_ value: UInt32, _ field: String, limit: Int) throws(WireError) -> Int {
    guard value <= limit else {
      throw WireError(.malformed, "\(value) is outside 0...\(limit)", context: field)
    }
    return Int(value)
  }

  static func size(_ value: UInt64, _ field: String, limit: UInt64) throws(WireError) -> UInt64 {
    guard value <= limit else {
      throw WireError(.malformed, "\(value) is outside 0...\(limit)", context: field)
    }
    return value
  }

  /// Returns a half-open range of two fields, each within the limit.
  static func range(
    _ first: UInt32,
    _ firstField: String,
    _ end: UInt32,
    _ endField: String,
    limit: Int
  ) throws(WireError) -> Range<Int> {
    let first = try integer(first, firstField, limit: limit)
    let end = try integer(end, endField, limit: limit)
    guard first <= end else {
      throw WireError(.malformed, "\(first)..<\(end) ends before it begins", context: endField)
    }
    return first..<end
  }

  /// Checks a choice that says everything by being there: it is sent as true.
  static func mark(_ value: protobuf_c_boolean, _ field: String) throws(WireError) {
    guard value != 0 else { throw WireError(.malformed, "is set to false", context: field) }
  }

  static func token(_ value: Int32, _ field: String) throws(WireError) -> Int32 {
    guard value >= 0 else {
      throw WireError(.malformed, "token \(value) is negative", context: field)
    }
    return value
  }

  static func finite<Number: BinaryFloatingPoint>(
    _ value: Number,
    _ field: String
  ) throws(WireError) -> Number {
    guard value.isFinite else {
      throw WireError(.malformed, "\(value) is not a number to work with", context: field)
    }
    return value
  }

  static func enumeration<Value: RawRepresentable<UInt32>>(
    _ value: UInt32,
    _ field: String
  ) throws(WireError) -> Value {
    guard let result = Value(rawValue: value) else {
      throw WireError(
        .malformed,
        "\(value) is unknown to protocol \(protocolVersion)",
        context: field
      )
    }
    return result
  }

  /// Reads a ZeroMQ identity: 1 to 255 bytes, the first of which is not 0 (zmq_setsockopt(3),
  /// ZMQ_ROUTING_ID).
  static func identity(
    _ data: ProtobufCBinaryData,
    _ field: String
  ) throws(WireError) -> PeerID {
    guard let start = unsafe data.data, unsafe (1...255).contains(data.len), unsafe start[0] != 0
    else { throw WireError(.malformed, "not a ZeroMQ identity", context: field) }
    return unsafe PeerID(Array(UnsafeBufferPointer(start: start, count: data.len)))
  }

  static func bytes(
    _ data: ProtobufCBinaryData,
    _ field: String,
    limit: Int
  ) throws(WireError) -> [UInt8] {
    guard unsafe data.len <= limit else {
      throw unsafe WireError(
        .oversized,
        "\(data.len) bytes, at most \(limit) are read",
        context: field
      )
    }
    return unsafe Array(
      UnsafeBufferPointer(start: data.data, count: data.data == nil ? 0 : data.len)
    )
  }

  static func digest(_ data: ProtobufCBinaryData, _ field: String) throws(WireError) -> Digest {
    let bytes = try unsafe bytes(data, field, limit: Digest.byteCount)
    guard let digest = Digest(bytes: bytes) else {
      throw WireError(
        .malformed,
        "a digest of \(bytes.count) bytes, not \(Digest.byteCount)",
        context: field
      )
    }
    return digest
  }

  static func digests(
    _ count: Int,
    _ elements: UnsafeMutablePointer<ProtobufCBinaryData>?,
    _ field: String,
    limit: Int
  ) throws(WireError) -> [Digest] {
    var result: [Digest] = []
    let elements = try unsafe numbers(count, elements, field, limit: limit)
    for index in unsafe 0..<elements.count {
      result.append(try unsafe digest(elements[index], field))
    }
    return result
  }

  static func text(
    _ data: ProtobufCBinaryData,
    _ field: String,
    limit: Int
  ) throws(WireError)
    -> String
  {
    guard unsafe data.len <= limit else {
      throw unsafe WireError(
        .oversized,
        "a text of \(data.len) bytes, at most \(limit) are read",
        context: field
      )
    }
    let bytes = unsafe UnsafeBufferPointer(start: data.data, count: data.data == nil ? 0 : data.len)
    guard let text = unsafe String(validating: bytes, as: UTF8.self) else {
      throw WireError(.malformed, "a text that is not UTF-8", context: field)
    }
    return text
  }
}

// MARK: Keys

extension Unpack {
  /// Returns a public key; nil for an empty text.
  static func key(
    _ data: ProtobufCBinaryData,
    _ field: String
  ) throws(WireError) -> PublicKey? {
    let text = try unsafe text(data, field, limit: Limits.keyBytes)
    return text.isEmpty ? nil : try publicKey(text, field)
  }

  static func keys(
    _ count: Int,
    _ elements: UnsafeMutablePointer<ProtobufCBinaryData>?,
    _ field: String,
    limit: Int
  ) throws(WireError) -> [PublicKey] {
    var result: [PublicKey] = []
    for text in try unsafe texts(count, elements, field, count: limit, limit: Limits.keyBytes) {
      result.append(try publicKey(text, field))
    }
    return result
  }

  private static func publicKey(_ text: String, _ field: String) throws(WireError) -> PublicKey {
    do throws(WireError) { return try PublicKey(text) } catch {
      throw WireError(.malformed, error.message, context: field)
    }
  }
}

// MARK: Lists

extension Unpack {
  static func numbers<C>(
    _ count: Int,
    _ elements: UnsafeMutablePointer<C>?,
    _ field: String,
    limit: Int
  ) throws(WireError) -> [C] {
    guard count <= limit else {
      throw WireError(.oversized, "\(count) elements, at most \(limit) are read", context: field)
    }
    guard let elements = unsafe elements else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: elements, count: count))
  }

  static func integers(
    _ count: Int,
    _ elements: UnsafeMutablePointer<UInt32>?,
    _ field: String,
    count most: Int,
    limit: Int
  ) throws(WireError) -> [Int] {
    var result: [Int] = []
    for value in try unsafe numbers(count, elements, field, limit: most) {
      result.append(try integer(value, field, limit: limit))
    }
    return result
  }

  static func tokens(
    _ count: Int,
    _ elements: UnsafeMutablePointer<Int32>?,
    _ field: String,
    limit: Int
  ) throws(WireError) -> [Int32] {
    let values = try unsafe numbers(count, elements, field, limit: limit)
    if let negative = values.first(where: { $0 < 0 }) { _ = try token(negative, field) }
    return values
  }

  /// Tokens in a message of their own, where a list cannot stand.
  static func tokenList(
    _ pointer: UnsafeMutablePointer<Trestle__TokenList>?,
    _ field: String
  ) throws(WireError) -> [Int32] {
    let list = try unsafe required(pointer, field)
    try unsafe known(list.base, "TokenList")
    return try unsafe tokens(list.n_tokens, list.tokens, field, limit: Limits.tokens)
  }

  /// Messages in a message of their own, where a list cannot stand.
  static func messageList(
    _ pointer: UnsafeMutablePointer<Trestle__MessageList>?,
    _ field: String
  ) throws(WireError) -> [PromptMessage] {
    let c = try unsafe required(pointer, field)
    try unsafe known(c.base, "MessageList")
    return try unsafe list(
      c.n_messages,
      c.messages,
      field,
      limit: Limits.messages,
      PromptMessage.init(unpacking:)
    )
  }

  static func texts(
    _ count: Int,
    _ elements: UnsafeMutablePointer<ProtobufCBinaryData>?,
    _ field: String,
    count most: Int,
    limit: Int
  ) throws(WireError) -> [String] {
    var result: [String] = []
    let texts = try unsafe numbers(count, elements, field, limit: most)
    for index in unsafe 0..<texts.count {
      result.append(try unsafe text(texts[index], field, limit: limit))
    }
    return result
  }

  /// Returns a list of messages, each read by `unpack`; a fault is named with its index.
  static func list<Element, C>(
    _ count: Int,
    _ elements: UnsafeMutablePointer<UnsafeMutablePointer<C>?>?,
    _ field: String,
    limit: Int,
    _ unpack: (C) throws(WireError) -> Element
  ) throws(WireError) -> [Element] {
    var result: [Element] = []
    let pointers = try unsafe numbers(count, elements, field, limit: limit)
    unsafe result.reserveCapacity(pointers.count)
    for index in unsafe 0..<pointers.count {
      do throws(WireError) {
        result.append(try unsafe unpack(required(pointers[index], field)))
      } catch {
        var error = error
        error.context = "\(field)[\(index)]: \(error.context)"
        throw error
      }
    }
    return result
  }
}

/// Returns an allocator for protobuf-c that hands out at most `remaining` bytes in all.
///
/// What is given back meanwhile counts all the same: the budget bounds work as well as memory, also
/// for a body that is sent again and again.
///
/// - Parameter remaining: The budget in bytes, which must outlive the allocator.
/// - Returns: The allocator; it gives NULL when the budget is spent.
func budgetAllocator(_ remaining: UnsafeMutablePointer<Int>) -> ProtobufCAllocator {
  unsafe ProtobufCAllocator(
    alloc: { data, size in
      guard let remaining = unsafe data?.assumingMemoryBound(to: Int.self),
        unsafe size <= remaining.pointee
      else { return nil }
      unsafe remaining.pointee -= size
      return unsafe malloc(size)
    },
    free: { _, pointer in unsafe free(pointer) },
    allocator_data: remaining
  )
}
