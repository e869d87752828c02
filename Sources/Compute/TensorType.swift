// The element types of weights in model files. This is the only table of them in Swift.
// Dequantize.swift decodes their blocks; kernels/README.md lists what else a new type needs.

/// An element type of stored weights.
///
/// Quantised types store `blockLength` consecutive elements of a row in `blockByteCount` bytes.
/// Names and layouts are ggml's: ggml/src/ggml-common.h in ggml-org/llama.cpp.
package enum TensorType: String, Sendable, Hashable, CaseIterable {
  case f32, f16, bf16
  case q4_0, q4_1, q5_0, q5_1, q8_0
  case q2_K, q3_K, q4_K, q5_K, q6_K
  case iq4_nl, iq4_xs

  /// A type's number in GGUF files (`ggml_type` in ggml/include/ggml.h), and its block.
  private typealias Row = (number: UInt32, blockLength: Int, blockByteCount: Int)

  private var row: Row {
    switch self {
    case .f32: (0, 1, 4)
    case .f16: (1, 1, 2)
    case .bf16: (30, 1, 2)
    case .q4_0: (2, 32, 18)  // f16 scale, 32 nibbles
    case .q4_1: (3, 32, 20)  // f16 scale, f16 minimum, 32 nibbles
    case .q5_0: (6, 32, 22)  // f16 scale, 32 high bits, 32 nibbles
    case .q5_1: (7, 32, 24)  // f16 scale, f16 minimum, 32 high bits, 32 nibbles
    case .q8_0: (8, 32, 34)  // f16 scale, 32 int8
    case .q2_K: (10, 256, 84)  // 16 bytes of a scale and a minimum each, 256 pairs, f16 of both
    case .q3_K: (11, 256, 110)  // 256 high bits, 256 pairs, 12 bytes of 6-bit scales, f16 scale
    case .q4_K: (12, 256, 144)  // f16 of scales and minima, 12 bytes of both, 256 nibbles
    case .q5_K: (13, 256, 176)  // as q4_K, and 256 high bits
    case .q6_K: (14, 256, 210)  // 256 nibbles, 256 high pairs, 16 int8 scales, f16 scale
    case .iq4_nl: (20, 32, 18)  // f16 scale, 32 nibbles that index a table
    case .iq4_xs: (23, 256, 136)  // f16 scale, 6 bytes of 6-bit scales, 256 nibbles for a table
    }
  }

  /// The number of the type in GGUF files, which kernels use, too.
  package var number: UInt32 { row.number }

  /// Elements in one block; a row's length must be a multiple of it.
  package var blockLength: Int { row.blockLength }

  /// Bytes in one block.
  package var blockByteCount: Int { row.blockByteCount }

  /// Whether elements are stored in blocks with a shared scale.
  package var isQuantised: Bool { blockLength > 1 }

  /// Returns the bytes of a row of `columns` elements; nil if that is not a whole number of blocks.
  package func byteCount(columns: Int) -> Int? {
    guard columns >= 0, columns.isMultiple(of: blockLength) else { return nil }
    let (bytes, overflow) = (columns / blockLength).multipliedReportingOverflow(by: blockByteCount)
    return overflow ? nil : bytes
  }
}
