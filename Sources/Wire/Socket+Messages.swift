// Sends and receives messages: one header frame, followed by the tensors.
//
//   ROUTER only   always          any number
//   ┌──────────┬────────────────┬──────────────┬─ …
//   │ identity │ header         │ payload 0    │
//   │ ≤ 255 B  │ Envelope       │ f32, little- │
//   │          │ ≤ headerBytes  │ endian       │
//   └──────────┴────────────────┴──────────────┴─ …

internal import CZeroMQ
internal import Glibc

#if !_endian(little)
#error("payload frames are little-endian and copied as they are")
#endif

/// The outcome of a send.
package enum SendOutcome: Sendable, Hashable {
  /// ZeroMQ has accepted the message. It may still be lost with the connection, so whatever must
  /// arrive needs a reply.
  case sent
  /// The queue is full, or a DEALER that queues only when connected has no connection. Nothing was
  /// sent.
  case full
  /// A ROUTER has no connection to the peer. Nothing was sent.
  case unreachable
}

/// A message that has arrived.
package struct Received: Sendable {
  /// Who sent it; nil on a DEALER, which has one peer.
  package var peer: PeerID?
  /// The message with its tensors, or the error that it caused.
  package var content: Result<(message: Message, payloads: [[Float]]), WireError>
}

extension Socket {
  /// Sends a message without blocking; a message that cannot be accepted now is not sent.
  ///
  /// - Parameters:
  ///   - message: The header.
  ///   - payloads: The tensors, each in a frame of its own.
  ///   - peer: For a ROUTER, and only for it.
  /// - Returns: Whether ZeroMQ has accepted the message.
  /// - Throws: `WireError` if the message is outside the limits, or the socket is closed.
  package func send(
    _ message: Message,
    payloads: [[Float]] = [],
    to peer: PeerID? = nil
  ) throws(WireError) -> SendOutcome {
    precondition((role == .router) == (peer != nil), "a ROUTER, and only it, sends to a peer")
    let handle = try unsafe handle()
    let header = try message.encoded()
    try checkPayloads(payloads, of: message)
    var frames = unsafe FrameSender(handle: handle)
    if let peer {
      unsafe peer.bytes.withUnsafeBytes { unsafe frames.send($0, isLast: false) }
    }
    unsafe header.withUnsafeBytes { unsafe frames.send($0, isLast: payloads.isEmpty) }
    for (index, payload) in payloads.enumerated() {
      unsafe payload.withUnsafeBytes {
        unsafe frames.send($0, isLast: index == payloads.count - 1)
      }
    }
    switch frames.failure {
    case 0: return .sent
    case EAGAIN: return .full
    case EHOSTUNREACH: return .unreachable
    case let code:
      errno = code
      throw ZeroMQ.error("zmq_send", context: place)
    }
  }

  private func checkPayloads(_ payloads: [[Float]], of message: Message) throws(WireError) {
    guard payloads.count <= Limits.payloads else {
      throw WireError(
        .oversized,
        "\(payloads.count) payloads, at most \(Limits.payloads) are sent",
        context: message.name
      )
    }
    var total = 0
    for (index, payload) in payloads.enumerated() {
      let size = payload.count * 4
      total += size
      guard size <= Limits.payloadBytes, total <= Limits.totalPayloadBytes else {
        throw WireError(
          .oversized,
          "payload \(index) has \(size) bytes, \(total) with those before; at most \(Limits.payloadBytes) and \(Limits.totalPayloadBytes) are sent",
          context: message.name
        )
      }
    }
  }

  /// Receives the next message, valid or not; nil if none has arrived.
  ///
  /// - Throws: `WireError` if the socket is closed. A bad message is not thrown but returned.
  package func receive() throws(WireError) -> Received? {
    let frame = Frame()
    guard try receive(frame) else { return nil }
    var peer: PeerID?
    if role == .router {
      let name = unsafe Array(frame.bytes)
      guard frame.hasMore, try receive(frame) else {
        return Received(
          peer: PeerID(name, key: provesKeys ? frame.userID : nil),
          content: .failure(WireError(.truncated, "a message without a header"))
        )
      }
      peer = PeerID(name, key: provesKeys ? frame.userID : nil)
    }
    // The ROUTER makes the identity frame itself, so that frame does not name the connection.
    if isEncrypted { noteDelivery(frame) }
    var message: Message?
    var failure: WireError?
    do throws(WireError) { message = try unsafe Message(decoding: frame.bytes) } catch {
      failure = error
    }
    var payloads: [[Float]] = []
    var reader = PayloadReader()
    // ZeroMQ delivers only complete messages, so the other frames are here.
    while frame.hasMore, try receive(frame) {
      guard failure == nil else { continue }
      do throws(WireError) { payloads.append(try reader.read(frame)) } catch { failure = error }
    }
    guard let message, failure == nil else {
      var error = failure ?? WireError(.malformed, "no message")
      if let message, error.context.isEmpty { error.context = message.name }
      return Received(peer: peer, content: .failure(error))
    }
    return Received(peer: peer, content: .success((message, payloads)))
  }

  /// Tells the guard which connection a message came through, because the guard cannot see where a
  /// message ends on an encrypted connection.
  private func noteDelivery(_ frame: Frame) {
    // "Returns the file descriptor of the socket the message was read from." (zmq_msg_get(3))
    let descriptor = unsafe zmq_msg_get(frame.pointer, ZMQ_SRCFD)
    if descriptor >= 0 { SocketGuard.delivered(by: descriptor) }
  }

  /// Receives one frame; returns false if none waits.
  func receive(_ frame: Frame) throws(WireError) -> Bool {
    let handle = try unsafe handle()
    while unsafe zmq_msg_recv(frame.pointer, handle, ZMQ_DONTWAIT) < 0 {
      switch errno {
      case EINTR: continue
      case EAGAIN: return false
      default: throw ZeroMQ.error("zmq_msg_recv", context: place)
      }
    }
    return true
  }
}

/// Sends the frames of one message.
///
/// ZeroMQ accepts or refuses a message with its first frame. If the connection dies between frames,
/// ZeroMQ drops what was sent and discards further frames up to the last one. So the remaining
/// frames are sent anyway, and the next message begins cleanly.
@safe private struct FrameSender {
  let handle: UnsafeMutableRawPointer
  /// The errno of the first frame that failed; 0 if none failed.
  private(set) var failure: CInt = 0
  private var isRefused = false
  private var isFirst = true

  init(handle: UnsafeMutableRawPointer) { unsafe self.handle = unsafe handle }

  mutating func send(_ bytes: UnsafeRawBufferPointer, isLast: Bool) {
    defer { isFirst = false }
    guard !isRefused else { return }
    let flags = isLast ? ZMQ_DONTWAIT : ZMQ_DONTWAIT | ZMQ_SNDMORE
    while unsafe zmq_send(handle, bytes.baseAddress, bytes.count, flags) < 0 {
      if errno == EINTR { continue }
      if failure == 0 { failure = errno }
      isRefused = isFirst
      return
    }
  }
}

/// A received frame in ZeroMQ's memory, which lasts until the next frame is received into it.
@safe final class Frame {
  let pointer: UnsafeMutablePointer<zmq_msg_t>

  init() {
    unsafe pointer = .allocate(capacity: 1)
    // zmq_msg_init(3) never fails.
    _ = unsafe zmq_msg_init(pointer)
  }

  deinit {
    unsafe zmq_msg_close(pointer)
    unsafe pointer.deallocate()
  }

  var bytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: zmq_msg_data(pointer), count: zmq_msg_size(pointer))
  }

  var hasMore: Bool { unsafe zmq_msg_more(pointer) != 0 }

  /// The key with which the Authenticator let the frame's connection in.
  ///
  /// "User-Id: the user ID of the peer, as defined by the ZAP handler" (zmq_msg_gets(3)). Without a
  /// CURVE server the peer can claim any value here.
  var userID: PublicKey? {
    guard let text = unsafe zmq_msg_gets(pointer, "User-Id") else { return nil }
    return try? PublicKey(unsafe String(cString: text))
  }
}

/// Converts payload frames into numbers, within the limits.
private struct PayloadReader {
  private var count = 0
  private var total = 0

  mutating func read(_ frame: Frame) throws(WireError) -> [Float] {
    let bytes = unsafe frame.bytes
    let size = bytes.count
    guard count < Limits.payloads else {
      throw WireError(.oversized, "more than \(Limits.payloads) payloads")
    }
    guard size % 4 == 0 else {
      throw WireError(
        .truncated,
        "payload \(count) has \(size) bytes, which is not a whole number of f32"
      )
    }
    total += size
    guard size <= Limits.payloadBytes, total <= Limits.totalPayloadBytes else {
      throw WireError(
        .oversized,
        "payload \(count) has \(size) bytes, \(total) with those before; at most \(Limits.payloadBytes) and \(Limits.totalPayloadBytes) are read"
      )
    }
    count += 1
    // The frame need not be aligned for f32, so it is copied as bytes.
    return unsafe [Float](unsafeUninitializedCapacity: size / 4) { buffer, initialized in
      unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
      initialized = size / 4
    }
  }
}
