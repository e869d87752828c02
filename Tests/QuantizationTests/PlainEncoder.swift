// Rounding to nearest with scales by the extreme values, as the reference functions of ggml do without any
// search (quantize_row_q4_0_ref and others of ggml/src/ggml-quants.c): what every search must be as good as.

import Compute

/// A plain encoder of the types with blocks, which tells what comes back from its bytes.
struct PlainEncoder {
  private let blockLength: Int
  private let length: Int
  private let lowest: Float
  private let highest: Float
  /// The highest codes of the scales that sub-blocks have; nil if a block has only one, an f16.
  private let codes: ClosedRange<Float>?
  private let hasMinimum: Bool
  private let isTable: Bool

  /// kvalues_iq4nl of ggml-common.h.
  private static let table: [Float] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]

  /// Nil for types without blocks.
  init?(_ type: TensorType) {
    guard type.isQuantised else { return nil }
    blockLength = type.blockLength
    isTable = type == .iq4_nl || type == .iq4_xs
    hasMinimum = [.q4_1, .q5_1, .q2_K, .q4_K, .q5_K].contains(type)
    length = blockLength == 32 || ![.q2_K, .q3_K, .q6_K].contains(type) ? 32 : 16
    switch type {
    case .q4_0: (lowest, highest, codes) = (-8, 7, nil)
    case .q4_1: (lowest, highest, codes) = (0, 15, nil)
    case .q5_0: (lowest, highest, codes) = (-16, 15, nil)
    case .q5_1: (lowest, highest, codes) = (0, 31, nil)
    case .q8_0: (lowest, highest, codes) = (-127, 127, nil)
    case .q2_K: (lowest, highest, codes) = (0, 3, 0...15)
    case .q3_K: (lowest, highest, codes) = (-4, 3, -32...31)
    case .q4_K: (lowest, highest, codes) = (0, 15, 0...63)
    case .q5_K: (lowest, highest, codes) = (0, 31, 0...63)
    case .q6_K: (lowest, highest, codes) = (-32, 31, -128...127)
    case .iq4_nl: (lowest, highest, codes) = (-127, 113, nil)
    case .iq4_xs: (lowest, highest, codes) = (-127, 113, -32...31)
    case .f32, .f16, .bf16: return nil
    }
  }

  /// Returns what is decoded in the place of values.
  func decoded(_ values: [Float]) -> [Float] {
    stride(from: 0, to: values.count, by: blockLength).flatMap { first in
      decodedBlock(values[first..<(first + blockLength)])
    }
  }

  private func decodedBlock(_ block: ArraySlice<Float>) -> [Float] {
    let subBlocks = stride(from: block.startIndex, to: block.endIndex, by: length).map { first in
      block[first..<(first + length)]
    }
    let minima = stored(subBlocks.map { hasMinimum ? -minimum($0) : 0 })
    let scales = stored(subBlocks.map(scale))
    return zip(subBlocks, zip(scales, minima)).flatMap { values, pair in
      values.map { value in
        pair.0 == 0 ? -pair.1 : pair.0 * level((value + pair.1) / pair.0) - pair.1
      }
    }
  }

  private func minimum(_ values: ArraySlice<Float>) -> Float {
    let lowest = values.min() ?? 0
    return codes == nil ? lowest : min(0, lowest)
  }

  private func scale(_ values: ArraySlice<Float>) -> Float {
    guard !hasMinimum else { return ((values.max() ?? 0) - minimum(values)) / highest }
    return (values.max { abs($0) < abs($1) } ?? 0) / lowest
  }

  /// Returns scales as the block has them: as f16, or as an integer code times an f16.
  private func stored(_ scales: [Float]) -> [Float] {
    guard let codes else { return scales.map { halfToFloat(floatToHalf($0)) } }
    let extreme = scales.max { abs($0) < abs($1) } ?? 0
    let unit = halfToFloat(
      floatToHalf(extreme / (hasMinimum ? codes.upperBound : codes.lowerBound))
    )
    return scales.map { scale in
      unit == 0 ? 0 : unit * min(max((scale / unit).rounded(), codes.lowerBound), codes.upperBound)
    }
  }

  private func level(_ ratio: Float) -> Float {
    guard isTable else { return min(max(ratio.rounded(), lowest), highest) }
    return Self.table.min { abs($0 - ratio) < abs($1 - ratio) } ?? 0
  }
}
