// How good encoded rows are: not worse than plainly rounded ones, better where importance says so, and exact where
// the values are a type's own already.

import Compute
import Quantization
import TestSupport
import Testing

@Suite struct `Encoder's quality` {
  private static let seed: UInt64 = 20_261_131
  private static let columns = 512
  private static let blockTypes = TensorType.allCases.filter(\.isQuantised)

  private func samples(_ random: inout SeededRandom, rows: Int = 8) -> [SampleRows] {
    SampleRows.usual(&random, rows: rows, columns: Self.columns)
  }

  @Test(.seeded(default: seed), arguments: blockTypes)
  func `the error is at most that of rounding to nearest`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let plain = try #require(PlainEncoder(type))
    for sample in samples(&random) {
      let error = try encoded(sample, type).error.squaredError
      let bound = squaredError(sample, plain.decoded(sample.values), nil)
      #expect(error <= bound, "\(sample)")
    }
  }

  @Test(.seeded(default: seed), arguments: blockTypes)
  func `with importance the weighted error is not larger than without`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let importance = random.importance(Self.columns)
    for sample in samples(&random) {
      let with = try encoded(sample, type, importance: importance).error.squaredError
      let blind = try encoded(sample, type)
      let without = squaredError(
        sample,
        decoded(blind.bytes, type, columns: Self.columns),
        importance
      )
      #expect(with <= without, "\(sample)")
    }
  }

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `only the ratios of importance matter, and all zeros are as all ones`(
    _ type: TensorType
  ) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let importance = random.importance(Self.columns)
    let larger = importance.map { $0 * 1024 }
    let zeros = Array(repeating: Float(0), count: Self.columns)
    for sample in samples(&random, rows: 2) {
      let once = try encoded(sample, type, importance: importance)
      let scaled = try encoded(sample, type, importance: larger)
      #expect(scaled.bytes == once.bytes, "\(sample)")
      #expect(scaled.error.squaredError == once.error.squaredError * 1024, "\(sample)")
      let none = try encoded(sample, type, importance: zeros)
      #expect(none.bytes == (try encoded(sample, type).bytes), "\(sample)")
      #expect(none.error.squaredError == 0 && none.error.squares == 0, "\(sample)")
    }
  }

  /// Blocks of a scale and levels, both of which a type has.
  private func grid(_ type: TensorType, _ random: inout SeededRandom) -> SampleRows {
    let levels: ClosedRange<Int> =
      switch type {
      case .q4_0: -8...7
      case .q5_0: -16...15
      default: -127...127
      }
    var values: [Float] = []
    for block in 0..<64 {
      let scale = halfToFloat(floatToHalf(Float.random(in: 0.001...0.1, using: &random)))
      // The level that is the largest is there, with either sign.
      values.append(Float(levels.lowerBound) * (block.isMultiple(of: 2) ? scale : -scale))
      for _ in 1..<32 {
        values.append(
          Float(Int.random(in: levels, using: &random)) * (block.isMultiple(of: 2) ? scale : -scale)
        )
      }
    }
    return SampleRows(description: "grid", columns: Self.columns, values: values)
  }

  @Test(.seeded(default: seed), arguments: [TensorType.q4_0, .q5_0, .q8_0])
  func `values on a grid are encoded without error`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 4) {
      let rows = grid(type, &random)
      let result = try encoded(rows, type)
      #expect(result.error.squaredError == 0)
      #expect(decoded(result.bytes, type, columns: Self.columns) == rows.values)
    }
  }

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `what a type has decoded loses little when it is encoded again`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    for sample in samples(&random) {
      let first = try encoded(sample, type)
      let values = decoded(first.bytes, type, columns: Self.columns)
      let again = try encoded(
        SampleRows(description: "\(sample)", columns: Self.columns, values: values),
        type
      )
      // A search that starts elsewhere may settle on other scales; they must be nearly as good.
      #expect(again.error.squaredError <= first.error.squaredError / 3, "\(sample)")
      if !type.isQuantised { #expect(again.bytes == first.bytes, "\(sample)") }
    }
  }
}
