// Whom a ROUTER socket talks to.

/// The name that a ROUTER socket has given to one connection.
///
/// It lasts as long as the connection: a peer that comes back has another one.
package struct PeerID: Sendable, Hashable, CustomStringConvertible {
  package let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The bytes in hexadecimal: `006b8b4567`.
  package var description: String {
    bytes.map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}
