// CURVE keys: 32 bytes each, written as 40 characters of Z85 (rfc.zeromq.org/spec/32).
// Security.swift says what a key allows, KeyDirectory.swift stores keys.

internal import CZeroMQ
internal import Glibc

/// The half of a key pair that everybody may know.
package struct PublicKey: Sendable, Hashable, CustomStringConvertible {
  /// The key in Z85.
  package let description: String

  /// Reads a key in Z85.
  ///
  /// - Throws: `WireError` with code `key` that says what is wrong without quoting the text: a
  ///   secret key that is given by mistake looks just like a public one.
  package init(_ text: String) throws(WireError) {
    try Z85.check(text)
    description = text
  }

  /// Reads a key of 32 bytes, as it is on the wire; nil for any other length.
  init?(bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    var text = [CChar](repeating: 0, count: Limits.keyBytes + 1)
    guard unsafe zmq_z85_encode(&text, bytes, bytes.count) != nil else { return nil }
    description = Z85.string(text)
  }
}

/// The half of a key pair that never leaves its machine; its description and mirror hide it.
package struct SecretKey: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
  let z85: String

  package init(_ text: String) throws(WireError) {
    try Z85.check(text)
    z85 = text
  }

  package var description: String { "(secret key)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// The identity of a machine.
package struct KeyPair: Sendable, Hashable {
  package let publicKey: PublicKey
  let secretKey: SecretKey

  /// Makes a new pair.
  ///
  /// Z85 has characters that a command line takes for an option or a comment. Only pairs whose
  /// public key begins with a letter or digit are accepted, so that it can be typed as an argument.
  ///
  /// - Throws: `WireError` with code `key` if libzmq was built without CURVE.
  package static func make() throws(WireError) -> KeyPair {
    // 62 of 85 characters are accepted, so 64 draws all fail once in 10^36.
    for _ in 0..<64 {
      var publicText = [CChar](repeating: 0, count: Limits.keyBytes + 1)
      var secretText = publicText
      guard unsafe zmq_curve_keypair(&publicText, &secretText) == 0 else {
        throw WireError(.key, "zmq_curve_keypair failed: \(ZeroMQ.reason(errno))")
      }
      let text = Z85.string(publicText)
      guard let first = text.first, first.isLetter || first.isNumber else { continue }
      return KeyPair(
        publicKey: try PublicKey(text),
        secretKey: try SecretKey(Z85.string(secretText))
      )
    }
    throw WireError(.key, "the system's random numbers do not vary")
  }

  /// Returns the pair that a secret key belongs to.
  ///
  /// - Throws: `WireError` with code `key` if libzmq was built without CURVE.
  package init(secretKey: SecretKey) throws(WireError) {
    var text = [CChar](repeating: 0, count: Limits.keyBytes + 1)
    guard unsafe secretKey.z85.withCString({ unsafe zmq_curve_public(&text, $0) }) == 0 else {
      throw WireError(.key, "zmq_curve_public failed: \(ZeroMQ.reason(errno))")
    }
    self.init(publicKey: try PublicKey(Z85.string(text)), secretKey: secretKey)
  }

  private init(publicKey: PublicKey, secretKey: SecretKey) {
    self.publicKey = publicKey
    self.secretKey = secretKey
  }
}

/// The text form of keys.
private enum Z85 {
  /// Throws unless the text is 32 bytes in Z85.
  static func check(_ text: String) throws(WireError) {
    let count = text.utf8.count
    guard count == Limits.keyBytes else {
      throw WireError(
        .key,
        "a key has \(Limits.keyBytes) characters, this one \(count); quote it with ' on a command line"
      )
    }
    var bytes = [UInt8](repeating: 0, count: 32)
    // zmq_z85_decode also returns NULL for five characters that stand for more than 32 bits.
    let isPrintable = text.utf8.allSatisfy { (33...126).contains($0) }
    guard isPrintable, unsafe text.withCString({ unsafe zmq_z85_decode(&bytes, $0) }) != nil else {
      throw WireError(
        .key,
        "these \(Limits.keyBytes) characters are not a key: a key is written in Z85, as `trestle keys` shows it"
      )
    }
  }

  /// Returns the text before the final NUL.
  static func string(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
