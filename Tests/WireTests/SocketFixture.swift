// Helpers of the socket tests: waiting with a deadline, and a peer that sends arbitrary frames.

import CZeroMQ
import Glibc
import Testing

@testable import Wire

/// A received message, in a form that `#expect` can compare.
struct Delivery: Equatable {
  var peer: PeerID?
  var message: Message
  var payloads: [[Float]]
}

/// Returns the next message within a minute, far more than any test needs.
func next(_ socket: Socket) throws -> Received {
  let deadline = ContinuousClock.now + .seconds(60)
  while ContinuousClock.now < deadline {
    if let received = try socket.receive() { return received }
    _ = try poll(sockets: [socket], timeout: .milliseconds(100))
  }
  throw WireError(.unreachable, "nothing arrived in a minute")
}

/// Returns the next message, which must be valid.
func nextGood(_ socket: Socket) throws -> Delivery {
  let received = try next(socket)
  let (message, payloads) = try received.content.get()
  return Delivery(peer: received.peer, message: message, payloads: payloads)
}

/// Returns why the next message is refused; nil if it is valid.
func nextRefusal(_ socket: Socket) throws -> WireError? {
  if case .failure(let error) = try next(socket).content { error } else { nil }
}

/// Repeats a body until it returns true, for at most a minute.
func eventually(_ body: () throws -> Bool) throws -> Bool {
  let deadline = ContinuousClock.now + .seconds(60)
  while ContinuousClock.now < deadline {
    if try body() { return true }
    usleep(2000)
  }
  return false
}

/// Returns a small message with a number that identifies it.
func ping(_ number: UInt64) -> Message { .cancel(Cancel(request: number)) }

/// Calls the body with a path in the form of the system's socket calls.
func withSocketAddress(
  _ path: String,
  _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
) -> CInt {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
  return unsafe withUnsafePointer(to: address) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
}

/// Leaves a socket behind as a killed process does: bound, and with no listener.
func leaveSocket(_ path: String) throws {
  let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  let status = unsafe withSocketAddress(path) { unsafe bind(descriptor, $0, $1) }
  try #require(status == 0)
}

/// A DEALER that uses none of the project's code and sends any frames.
@safe final class RawPeer {
  private let context: UnsafeMutableRawPointer?
  private let socket: UnsafeMutableRawPointer?

  /// - Parameters:
  ///   - endpoint: The endpoint to connect to.
  ///   - own: The keys to connect with; nil for an ipc endpoint.
  ///   - server: The public key that the server must have.
  /// - Throws: If ZeroMQ refuses them.
  init(_ endpoint: Endpoint, as own: KeyPair? = nil, to server: PublicKey? = nil) throws {
    unsafe context = unsafe zmq_ctx_new()
    unsafe socket = unsafe zmq_socket(context, ZMQ_DEALER)
    var linger: CInt = 0
    unsafe zmq_setsockopt(socket, ZMQ_LINGER, &linger, MemoryLayout<CInt>.size)
    if let own, let server {
      for (option, key) in [
        (ZMQ_CURVE_SERVERKEY, server.description),
        (ZMQ_CURVE_PUBLICKEY, own.publicKey.description),
        (ZMQ_CURVE_SECRETKEY, own.secretKey.z85),
      ] {
        try #require(unsafe zmq_setsockopt(socket, option, key, key.utf8.count) == 0)
      }
    }
    try #require(unsafe zmq_connect(socket, endpoint.description) == 0)
  }

  deinit {
    unsafe zmq_close(socket)
    unsafe zmq_ctx_term(context)
  }

  func send(_ frames: [[UInt8]]) {
    for (index, frame) in frames.enumerated() {
      let flags = index == frames.count - 1 ? 0 : ZMQ_SNDMORE
      _ = unsafe frame.withUnsafeBytes { unsafe zmq_send(socket, $0.baseAddress, $0.count, flags) }
    }
  }
}
