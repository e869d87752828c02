// A peer that has keys and sends arbitrary frames.

import CZeroMQ
import Testing
import Wire

/// A DEALER that uses none of the project's code.
@safe final class CurvePeer {
  private let context: UnsafeMutableRawPointer?
  private let socket: UnsafeMutableRawPointer?

  /// Connects.
  ///
  /// - Parameters:
  ///   - endpoint: The endpoint to connect to.
  ///   - secret: The secret key to use; nil to connect without encryption.
  ///   - server: The public key that the server must have.
  /// - Throws: If ZeroMQ refuses them.
  init(_ endpoint: String, secret: String?, server: String) throws {
    unsafe context = unsafe zmq_ctx_new()
    unsafe socket = unsafe zmq_socket(context, ZMQ_DEALER)
    var linger: CInt = 0
    unsafe zmq_setsockopt(socket, ZMQ_LINGER, &linger, MemoryLayout<CInt>.size)
    if let secret {
      let own = try KeyPair(secretKey: SecretKey(secret)).publicKey.description
      for (option, key) in [
        (ZMQ_CURVE_SERVERKEY, server), (ZMQ_CURVE_PUBLICKEY, own), (ZMQ_CURVE_SECRETKEY, secret),
      ] {
        try #require(unsafe zmq_setsockopt(socket, option, key, key.utf8.count) == 0)
      }
    }
    try #require(unsafe zmq_connect(socket, endpoint) == 0)
  }

  deinit {
    unsafe zmq_close(socket)
    unsafe zmq_ctx_term(context)
  }

  func send(_ frames: [[UInt8]]) {
    for (index, frame) in frames.enumerated() {
      let flags = index == frames.count - 1 ? ZMQ_DONTWAIT : ZMQ_DONTWAIT | ZMQ_SNDMORE
      _ = unsafe zmq_send(socket, frame, frame.count, flags)
    }
  }

  /// Returns the first frame of the next message; nil after a timeout.
  func receive(within milliseconds: CInt) -> [UInt8]? {
    var limit = milliseconds
    unsafe zmq_setsockopt(socket, ZMQ_RCVTIMEO, &limit, MemoryLayout<CInt>.size)
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = unsafe zmq_recv(socket, &bytes, bytes.count, 0)
    return count < 0 ? nil : Array(bytes.prefix(Int(count)))
  }
}

extension Device {
  /// What a worker tells of its device that is refused for another reason.
  static let unknown = Device(
    kind: "cpu",
    name: "cpu",
    isEmulated: false,
    memoryBytes: 0,
    isHostMemory: true,
    isMemoryShared: true,
    hostThreads: 1,
    ops: [],
    weightTypes: [],
    cacheTypes: [],
    preferredRows: 1,
    rateHint: 1
  )
}
