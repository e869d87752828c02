// From f32 to every type: the same bytes from every instruction set and any number of threads, and an error that is
// that of the bytes. EncoderQualityTests has how large it is.

import Compute
import Foundation
import QuantiseKernels
import Quantization
import TestSupport
import Testing

@Suite struct `Encoder` {
  private static let seed: UInt64 = 20_261_130
  /// Two blocks of the longest type.
  private static let columns = 512
  private static let instructionSets = [QUANTISE_SCALAR, QUANTISE_AVX2, QUANTISE_AVX512]

  private func samples(_ random: inout SeededRandom, rows: Int = 4) -> [SampleRows] {
    SampleRows.usual(&random, rows: rows, columns: Self.columns)
  }

  /// Encodes with one instruction set.
  private func encode(
    _ rows: SampleRows,
    _ type: TensorType,
    _ importance: [Float]?,
    with set: quantise_isa
  ) throws -> (bytes: [UInt8], error: Double) {
    let rowCount = rows.values.count / rows.columns
    let rowByteCount = try #require(type.byteCount(columns: rows.columns))
    var bytes = Array(repeating: UInt8(0xA5), count: rowCount * rowByteCount)
    let error = unsafe quantise_rows_with(
      set,
      Int32(type.number),
      rows.values,
      Int64(rowCount),
      Int64(rows.columns),
      importance,
      &bytes
    )
    return (bytes, error)
  }

  // MARK: The same from all

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `every instruction set writes the same bytes and tells the same error`(
    _ type: TensorType
  ) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let rows = samples(&random) + SampleRows.edges(columns: Self.columns)
    for importance in [nil, random.importance(Self.columns)] {
      for sample in rows {
        let expected = try encode(sample, type, importance, with: QUANTISE_SCALAR)
        for set in Self.instructionSets.dropFirst() where quantise_has(set) {
          let found = try encode(sample, type, importance, with: set)
          #expect(found.bytes == expected.bytes, "\(sample), set \(set.rawValue)")
          #expect(
            found.error.bitPattern == expected.error.bitPattern,
            "\(sample), set \(set.rawValue)"
          )
        }
      }
    }
  }

  @Test func `an instruction set that the machine lacks encodes nothing`() throws {
    #expect(quantise_has(QUANTISE_SCALAR))
    let rows = SampleRows(description: "zero", columns: 32, values: Array(repeating: 0, count: 32))
    for set in Self.instructionSets + [quantise_isa(rawValue: 9)] {
      let result = try encode(rows, .q8_0, nil, with: set)
      #expect(result.error.isNaN == !quantise_has(set))
      #expect(result.bytes.allSatisfy { $0 == 0xA5 } == !quantise_has(set))
    }
  }

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `the result does not depend on the number of threads`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let importance = random.importance(Self.columns)
    for rowCount in [1, 2, 11] {
      let rows = SampleRows(
        description: "\(rowCount) rows",
        columns: Self.columns,
        values: random.normal(rowCount * Self.columns)
      )
      let one = try encoded(rows, type, importance: importance, threads: 1)
      for threads in [2, 5] {
        let several = try encoded(rows, type, importance: importance, threads: threads)
        #expect(several.bytes == one.bytes, "\(rowCount) rows, \(threads) threads")
        #expect(several.error == one.error, "\(rowCount) rows, \(threads) threads")
      }
    }
  }

  // MARK: Errors

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `the error is that of the decoded bytes`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let edges = SampleRows.edges(columns: Self.columns).filter { sample in
      type != .f16 || sample.values.allSatisfy { abs($0) < 65_520 }
    }
    // A type with 16 bits has no room for the largest f32.
    let rows = samples(&random) + edges.filter { type != .bf16 || "\($0)" != "the largest" }
    for importance in [nil, random.importance(Self.columns)] {
      for sample in rows {
        let result = try encoded(sample, type, importance: importance)
        let values = decoded(result.bytes, type, columns: sample.columns)
        let expected = squaredError(sample, values, importance)
        // The terms are the same; they are added up in another order.
        #expect(
          abs(result.error.squaredError - expected) <= expected * 1e-12,
          "\(sample): \(result.error.squaredError) told, \(expected) found"
        )
        #expect(values.allSatisfy { $0.isFinite }, "\(sample)")
      }
    }
  }

  @Test(.seeded(default: seed), arguments: TensorType.allCases)
  func `the squares are those of the values`(_ type: TensorType) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let importance = random.importance(Self.columns)
    for sample in samples(&random) {
      let zeros = Array(repeating: Float(0), count: sample.values.count)
      for weights in [nil, importance] {
        let expected = squaredError(sample, zeros, weights)
        let error = try encoded(sample, type, importance: weights).error
        // Each row is added up in f32.
        #expect(abs(error.squares - expected) <= expected * 1e-5, "\(sample)")
        #expect(
          abs(error.relative - (error.squaredError / expected).squareRoot()) < 1e-5,
          "\(sample)"
        )
      }
    }
  }

  @Test(arguments: TensorType.allCases)
  func `zeros come back as they are, other constants within the rounding of an f16 scale`(
    _ type: TensorType
  ) throws {
    for value in [0, -0.0, 1, -1, 0.5, -2, 1 / 3] as [Float] {
      let rows = SampleRows(
        description: "\(value)",
        columns: 256,
        values: Array(repeating: value, count: 512)
      )
      let result = try encoded(rows, type)
      let values = decoded(result.bytes, type, columns: 256)
      // bf16 has three bits less.
      let tolerance = abs(value) * (type == .bf16 ? 0x1p-8 : 0x1p-11)
      #expect(values.allSatisfy { abs($0 - value) <= tolerance }, "\(value): \(values[0])")
      #expect(value != 0 || result.error.squaredError == 0)
    }
  }

  /// The largest magnitude of each type without minima as a multiple of its scales' largest, f16's: level times code
  /// (dequantize_row_* of ggml/src/ggml-quants.c).
  private static let largest: [TensorType: Float] = [
    .q4_0: 8, .q5_0: 16, .q8_0: 128, .iq4_nl: 127, .q3_K: 32 * 4, .q6_K: 128 * 32,
    .iq4_xs: 32 * 127,
  ]

  @Test(arguments: TensorType.allCases.filter(\.isQuantised))
  func
    `values too large for a block's scale are cut to the largest it can hold, or to f16's at least`(
      _ type: TensorType
    ) throws
  {
    for value in [3e9, -3e9] as [Float] {
      let rows = SampleRows(
        description: "\(value)",
        columns: 256,
        values: Array(repeating: value, count: 256)
      )
      let result = try encoded(rows, type)
      let values = decoded(result.bytes, type, columns: 256)
      let sign: Float = value > 0 ? 1 : -1
      if let factor = Self.largest[type] {
        let wanted = 65_504 * factor * sign
        #expect(values.allSatisfy { $0 == wanted }, "\(value): \(values[0]), \(wanted) expected")
      } else {
        #expect(
          values.allSatisfy { $0 * sign >= 65_504 && abs($0) < abs(value) },
          "\(value): \(values[0])"
        )
      }
    }
  }

  // MARK: What cannot be encoded

  /// Expects the refusal of values of `w`, three rows of 256.
  private func expectRefusal(
    _ type: TensorType,
    _ words: String,
    importance: [Float]? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout [Float]) -> Void
  ) {
    var values = (0..<768).map { Float($0 % 13) * 0.01 }
    change(&values)
    for threads in [1, 3] {
      let encoder = RowEncoder(type, columns: 256, importance: importance, threads: threads)
      do {
        _ = try encoder.encode(values, of: "w")
        Issue.record("encoded; \(words) expected in a refusal", sourceLocation: sourceLocation)
      } catch {
        #expect(error.code == .values, sourceLocation: sourceLocation)
        #expect(
          error.description == "quantization.values: w: \(words)",
          sourceLocation: sourceLocation
        )
      }
    }
  }

  @Test(arguments: TensorType.allCases)
  func `values that are no numbers are named with their row and column`(_ type: TensorType) {
    for (value, word) in [(Float.nan, "NaN"), (.infinity, "inf"), (-.infinity, "-inf")] {
      for (index, place) in [
        (0, "row 0, column 0"), (300, "row 1, column 44"), (767, "row 2, column 255"),
      ] {
        expectRefusal(type, "\(place) is \(word), which cannot be quantised") { $0[index] = value }
      }
      // The first of several, also where others are only large.
      expectRefusal(type, "row 1, column 1 is \(word), which cannot be quantised") {
        $0[3] = 1e38
        $0[257] = value
        $0[700] = .nan
      }
    }
  }

  @Test func `values that f16 cannot hold are named, and no smaller ones`() throws {
    expectRefusal(.f16, "row 1, column 4 is 65520.0, too large for f16") { $0[260] = 65_520 }
    expectRefusal(.f16, "row 2, column 0 is -1e+30, too large for f16") { $0[512] = -1e30 }
    // The largest values that round to f16's largest.
    expectRefusal(.f16, "row 1, column 0 is 70000.0, too large for f16") {
      $0[5] = 65_519
      $0[256] = 70_000
    }
    let rows = SampleRows(description: "w", columns: 2, values: [65_519, -65_519])
    #expect(decoded(try encoded(rows, .f16).bytes, .f16, columns: 2) == [65_504, -65_504])
  }

  @Test func `values that bf16 cannot hold are named, and no smaller ones`() {
    expectRefusal(.bf16, "row 1, column 4 is \(Float.greatestFiniteMagnitude), too large for bf16")
    {
      $0[260] = .greatestFiniteMagnitude
    }
    expectRefusal(.bf16, "row 1, column 4 is \(-Float.greatestFiniteMagnitude), too large for bf16")
    {
      $0[5] = 1e6
      $0[260] = -.greatestFiniteMagnitude
    }
  }

  @Test(arguments: TensorType.allCases)
  func `importance that is no number or negative is refused`(_ type: TensorType) throws {
    for fault in [Float.nan, .infinity, -1] {
      var importance = Array(repeating: Float(1), count: 256)
      importance[9] = fault
      let encoder = RowEncoder(type, columns: 256, importance: importance, threads: 2)
      let error = #expect(throws: QuantizationError.self) {
        try encoder.encode(Array(repeating: 0.5, count: 512), of: "w")
      }
      #expect(error?.description.contains("importance") == true, "\(fault)")
    }
  }
}
