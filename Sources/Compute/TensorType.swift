// The element types a weight may have in a model file, with their block geometry.
// How a block is decoded stands in Dequantize.swift.

/// An element type of stored weights.
///
/// Quantised types store `blockLength` consecutive elements of a row in `blockByteCount` bytes.
/// Names and layouts are ggml's: ggml/src/ggml-common.h in ggml-org/llama.cpp.
package enum TensorType: String, Sendable, Hashable, CaseIterable {
  case f32, f16, bf16
  case q4_0, q4_1, q5_0, q5_1, q8_0
  case q2_K, q3_K, q4_K, q5_K, q6_K
  case iq4_nl, iq4_xs

  /// Elements in one block; a row's length must be a multiple of it.
  package var blockLength: Int {
    switch self {
    case .f32, .f16, .bf16: 1
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl: 32
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_xs: 256
    }
  }

  /// Bytes in one block.
  package var blockByteCount: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .q4_0: 18  // f16 scale, 32 nibbles
    case .q4_1: 20  // f16 scale, f16 minimum, 32 nibbles
    case .q5_0: 22  // f16 scale, 32 high bits, 32 nibbles
    case .q5_1: 24  // f16 scale, f16 minimum, 32 high bits, 32 nibbles
    case .q8_0: 34  // f16 scale, 32 int8
    case .q2_K: 84  // 16 bytes of a scale and a minimum each, 256 pairs, f16 scale and minimum
    case .q3_K: 110  // 256 high bits, 256 pairs, 12 bytes of 6-bit scales, f16 scale
    case .q4_K: 144  // f16 scale and minimum, 12 bytes of 6-bit scales and minima, 256 nibbles
    case .q5_K: 176  // as q4_K, and 256 high bits
    case .q6_K: 210  // 256 nibbles, 256 high pairs, 16 int8 scales, f16 scale
    case .iq4_nl: 18  // f16 scale, 32 nibbles that index a table
    case .iq4_xs: 136  // f16 scale, 6 bytes of 6-bit scales, 256 nibbles that index a table
    }
  }

  /// Whether elements are stored in blocks with a shared scale.
  package var isQuantised: Bool { blockLength > 1 }

  /// Returns the bytes of a row of `columns` elements, or nil if blocks do not divide it.
  package func byteCount(columns: Int) -> Int? {
    guard columns >= 0, columns.isMultiple(of: blockLength) else { return nil }
    let (bytes, overflow) = (columns / blockLength).multipliedReportingOverflow(by: blockByteCount)
    return overflow ? nil : bytes
  }
}
