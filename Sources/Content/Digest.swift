// What tells whether bytes are those that were meant: BLAKE2b (RFC 7693) of libsodium, which libzmq
// encrypts with anyhow. As fast as memory on any processor, and nobody can make two that are alike.

internal import CSodium

/// A BLAKE2b digest of 256 bits.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
  package static let byteCount = 32

  package let bytes: [UInt8]

  /// Takes a digest that was stored or sent; nil if it has another length.
  package init?(bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    self.bytes = bytes
  }

  /// Computes the digest of some bytes.
  package init(of data: [UInt8]) {
    self = unsafe data.withUnsafeBytes { unsafe Digest(of: $0) }
  }

  /// Computes the digest of a list: of the digests one behind the other.
  package init(ofList digests: some Sequence<Digest>) {
    self.init(of: digests.flatMap(\.bytes))
  }

  /// Computes the digest of some memory.
  package init(of data: UnsafeRawBufferPointer) {
    precondition(Self.isReady, "sodium_init failed")
    bytes = unsafe [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, count in
      // Fails only for lengths that it does not know.
      guard let base = buffer.baseAddress else { preconditionFailure("no memory for a digest") }
      let status = unsafe crypto_generichash(
        base,
        Self.byteCount,
        data.bindMemory(to: UInt8.self).baseAddress,
        UInt64(data.count),
        nil,
        0
      )
      precondition(status == 0, "crypto_generichash failed with \(status)")
      count = Self.byteCount
    }
  }

  /// In hexadecimal.
  package var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  // "sodium_init() initializes the library and should be called before any other function provided by
  // Sodium." (libsodium's documentation, Usage)
  private static let isReady = sodium_init() >= 0
}
