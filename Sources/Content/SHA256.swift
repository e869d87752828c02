// SHA-256, where a format asks for it; what Trestle names by itself is named by `Digest`.

internal import CSodium

/// Returns the SHA-256 of some bytes (FIPS 180-4), 32 bytes.
package func sha256(_ data: [UInt8]) -> [UInt8] {
  var sum = SHA256()
  sum.update(data)
  return sum.finish()
}

/// SHA-256 of bytes that come in pieces (FIPS 180-4).
package struct SHA256: Sendable {
  private var state = crypto_hash_sha256_state()

  // None of these functions can fail.
  package init() { unsafe _ = crypto_hash_sha256_init(&state) }

  /// Adds bytes.
  package mutating func update(_ bytes: [UInt8]) {
    unsafe _ = crypto_hash_sha256_update(&state, bytes, UInt64(bytes.count))
  }

  /// Returns the digest of all bytes, 32 bytes.
  package consuming func finish() -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: Int(crypto_hash_sha256_BYTES)) { buffer, count in
      guard let base = buffer.baseAddress else { preconditionFailure("no memory for a digest") }
      unsafe _ = crypto_hash_sha256_final(&state, base)
      count = Int(crypto_hash_sha256_BYTES)
    }
  }
}
