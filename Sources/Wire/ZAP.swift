// The ZeroMQ Authentication Protocol (rfc.zeromq.org/spec/27): libzmq's question about a peer whose
// CURVE handshake has proved that it holds its secret key, and the reply. Only values live here;
// the thread that answers is the Authenticator.
//
//   request   "1.0" | request id | domain | address | routing id | "CURVE" | public key, 32 bytes
//   reply     "1.0" | request id | status code | status text | user id | metadata

/// Questions and answers about peers.
enum ZAP {
  /// The in-process name at which libzmq asks, within a context.
  static let name = "zeromq.zap.01"
  /// The domain of our sockets; setting it makes libzmq ask.
  static let domain = "trestle"
  static let requestFrames = 7
  /// The limit of a frame: libzmq's request id is "1", the domain is ours, the address is numeric.
  static let frameBytes = 255

  struct Request: Hashable {
    var id: [UInt8]
    /// The peer's address, as the system reports it.
    var address: String
    var key: PublicKey
  }

  enum Verdict: Hashable {
    case allowed(PublicKey)
    /// libzmq closes the connection without an error message, and the peer retries. It may be known
    /// by then, because the file of allowed keys is read again, and a coordinator tells its workers
    /// of each other.
    case unknown
    /// The question is malformed.
    case malformed(String)
  }

  /// Reads a request.
  ///
  /// - Throws: `WireError` with code `malformed` that names the frame.
  static func request(_ frames: [[UInt8]]) throws(WireError) -> Request {
    guard frames.count == requestFrames else {
      let count = frames.count > requestFrames ? "more than \(requestFrames)" : "\(frames.count)"
      throw WireError(.malformed, "\(count) frames, \(requestFrames) are read", context: "ZAP")
    }
    for (index, frame) in frames.enumerated() where frame.count > frameBytes {
      throw WireError(.malformed, "frame \(index) has \(frame.count) bytes", context: "ZAP")
    }
    guard frames[0] == Array("1.0".utf8) else {
      throw WireError(.malformed, "version \(text(frames[0]))", context: "ZAP")
    }
    guard frames[2] == Array(domain.utf8) else {
      throw WireError(.malformed, "domain \(text(frames[2]))", context: "ZAP")
    }
    guard frames[5] == Array("CURVE".utf8) else {
      throw WireError(.malformed, "mechanism \(text(frames[5]))", context: "ZAP")
    }
    guard let key = PublicKey(bytes: frames[6]) else {
      throw WireError(.malformed, "a key of \(frames[6].count) bytes", context: "ZAP")
    }
    return Request(id: frames[1], address: String(decoding: frames[3], as: UTF8.self), key: key)
  }

  /// Returns the reply to a request, valid or not.
  static func reply(to frames: [[UInt8]], _ verdict: Verdict) -> [[UInt8]] {
    let (status, reason, user) =
      switch verdict {
      case .allowed(let key): ("200", "OK", key.description)
      case .unknown: ("300", "unknown key", "")
      case .malformed(let reason): ("500", reason, "")
      }
    let id = frames.count > 1 && frames[1].count <= frameBytes ? frames[1] : []
    let texts = [status, String(reason.prefix(frameBytes)), user].map { Array($0.utf8) }
    return [Array("1.0".utf8), id] + texts + [[]]
  }

  private static func text(_ frame: [UInt8]) -> String {
    "\"\(String(decoding: frame.prefix(32), as: UTF8.self))\""
  }
}
