// The element types a KV cache may have.

/// The precision in which keys and values are stored.
package enum CacheType: String, Sendable, Hashable, CaseIterable {
  case f32
  /// Half the bytes of f32.
  case f16
  /// Blocks of 32 int8 with an f16 scale: 34 bytes, about half of f16.
  case q8_0

  /// Returns the bytes of so many values: keys, or values, of one position.
  package func byteCount(of values: Int) -> Int {
    switch self {
    case .f32: values * 4
    case .f16: values * 2
    case .q8_0: (values + 31) / 32 * 34
    }
  }
}

extension Program {
  /// The type of caches that goes with the weights: f16 beside quantised projections, whose rounding is
  /// far larger; f32 where they are exact.
  package var cacheType: CacheType {
    let isQuantised = ops.contains { op in
      if case .projectQueries(let op) = op { op.weight.type.isQuantised } else { false }
    }
    return isQuantised ? .f16 : .f32
  }
}

extension DeviceDescription {
  /// Returns how the device keeps keys and values where `natural` goes with the weights: like that, if it
  /// can.
  package func cacheType(beside natural: CacheType) -> CacheType {
    cacheTypes.contains(natural) ? natural : cacheTypes.first ?? natural
  }
}
