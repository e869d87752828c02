// SHA-256, where a format asks for it; what Trestle names by itself is named by `Digest`.

internal import CSodium

/// Returns the SHA-256 of some bytes (FIPS 180-4), 32 bytes.
package func sha256(_ data: [UInt8]) -> [UInt8] {
  unsafe [UInt8](unsafeUninitializedCapacity: Int(crypto_hash_sha256_BYTES)) { buffer, count in
    guard let base = buffer.baseAddress else { preconditionFailure("no memory for a digest") }
    // It cannot fail.
    _ = unsafe crypto_hash_sha256(base, data, UInt64(data.count))
    count = Int(crypto_hash_sha256_BYTES)
  }
}
