// The identity of a peer of a ROUTER socket.

/// The name that a ROUTER socket has given to one connection.
///
/// It lasts as long as the connection: a peer that reconnects gets another one.
package struct PeerID: Sendable, Hashable, CustomStringConvertible {
  package let bytes: [UInt8]
  /// The key that the peer has proved, on an encrypted connection.
  ///
  /// The key is part of the identity: a later connection with the same name and another key is
  /// another peer.
  package let key: PublicKey?

  package init(_ bytes: [UInt8], key: PublicKey? = nil) {
    self.bytes = bytes
    self.key = key
  }

  /// The bytes in hexadecimal: `006b8b4567`.
  package var description: String {
    bytes.map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}
