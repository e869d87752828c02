// The element types a KV cache may have.

/// The precision in which keys and values are stored.
package enum CacheType: String, Sendable, Hashable, CaseIterable {
  case f32
  /// Half the bytes of f32.
  case f16
  /// Blocks of 32 int8 with an f16 scale: 34 bytes, about half of f16.
  case q8_0
}
