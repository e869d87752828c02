// What the tests of the quantizer share: weights as models have them, decoded bytes, short windows of text.

import Compute
import Foundation
import Gemma
import Quantization
import TestSupport
import Testing

/// Rows of weights of some kind.
struct SampleRows: CustomStringConvertible {
  var description: String
  var columns: Int
  var values: [Float]  // [rows, columns]

  /// Returns rows of all kinds that trained models have.
  static func usual(_ random: inout SeededRandom, rows: Int, columns: Int) -> [SampleRows] {
    let count = rows * columns
    let normal = random.normal(count)
    return [
      SampleRows(description: "normal", columns: columns, values: normal.map { $0 * 0.02 }),
      SampleRows(
        description: "uniform",
        columns: columns,
        values: random.floats(count, in: -0.3...0.3)
      ),
      SampleRows(
        description: "with outliers",
        columns: columns,
        values: random.normal(count).map { $0 * $0 * $0 }
      ),
      SampleRows(
        description: "off centre",
        columns: columns,
        values: random.normal(count).map { $0 * 0.1 + 0.4 }
      ),
      SampleRows(
        description: "mostly zero",
        columns: columns,
        values: normal.map { abs($0) < 1.5 ? 0 : $0 }
      ),
    ]
  }

  /// Rows at the edges of what can be encoded.
  static func edges(columns: Int) -> [SampleRows] {
    func rows(_ description: String, _ value: (Int) -> Float) -> SampleRows {
      SampleRows(description: description, columns: columns, values: (0..<columns).map(value))
    }
    return [
      rows("zero") { _ in 0 }, rows("negative zero") { _ in -0.0 }, rows("one") { _ in 1 },
      rows("minus a third") { _ in -1 / 3 }, rows("a step") { $0 < 40 ? 0 : 0.7 },
      rows("one value") { $0 == 77 ? -3 : 0 }, rows("a ramp") { Float($0) * 0.01 },
      rows("signs in turn") { $0.isMultiple(of: 2) ? 0.5 : -0.5 },
      rows("subnormal") { Float($0 % 7 - 3) * 700 * .leastNonzeroMagnitude },
      rows("below f16") { Float($0 % 11 - 5) * 1e-9 },
      rows("huge") { Float($0 % 5 - 2) * 1e30 },
      rows("the largest") { $0.isMultiple(of: 3) ? .greatestFiniteMagnitude : -1 },
      rows("beyond f16") { Float($0 % 9 - 4) * 20_000 },
      rows("of all sizes") {
        Float(sign: $0.isMultiple(of: 2) ? .plus : .minus, exponent: $0 % 60 - 30, significand: 1)
      },
    ]
  }
}

extension SeededRandom {
  /// Returns numbers of the standard normal distribution (Box and Muller, 1958).
  mutating func normal(_ count: Int) -> [Float] {
    (0..<count).map { _ in
      let radius = (-2 * log(Float.random(in: .leastNormalMagnitude..<1, using: &self)))
        .squareRoot()
      return radius * cos(Float.random(in: 0..<(2 * .pi), using: &self))
    }
  }

  /// Returns importance such as text gives: a few columns weigh much, some nothing.
  mutating func importance(_ columns: Int) -> [Float] {
    normal(columns).map { abs($0) < 0.05 ? 0 : $0 * $0 * $0 * $0 }
  }
}

/// Returns `Σ importance · (value - decoded)²`.
func squaredError(_ rows: SampleRows, _ decoded: [Float], _ importance: [Float]?) -> Double {
  var sum = 0.0
  for index in rows.values.indices {
    let difference = Double(rows.values[index]) - Double(decoded[index])
    sum += difference * difference * Double(importance?[index % rows.columns] ?? 1)
  }
  return sum
}

/// Returns what `RowEncoder` makes of rows.
func encoded(
  _ rows: SampleRows,
  _ type: TensorType,
  importance: [Float]? = nil,
  threads: Int = 1
) throws -> RowEncoder.Encoded {
  try RowEncoder(type, columns: rows.columns, importance: importance, threads: threads)
    .encode(rows.values, of: "\(rows)")
}

/// Returns the values of encoded rows.
func decoded(_ bytes: [UInt8], _ type: TensorType, columns: Int) -> [Float] {
  RowEncoder(type, columns: columns, importance: nil, threads: 1).decode(bytes)
}
