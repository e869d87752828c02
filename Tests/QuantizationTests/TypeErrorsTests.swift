// The errors that types are chosen by: those of the encoder, from all rows or from some, and what a device adds.

import Compute
import Foundation
import Gemma
import Quantization
import TestSupport
import Testing

@Suite struct `Errors of types` {
  private func tensor(_ name: String, of model: String = "demo-model") throws -> ExportedTensor {
    let tensors = try Checkpoint.open(Goldens.checkpoint(model).path).ggufTensors
    return try #require(tensors.first { $0.name == name })
  }

  private func errors(_ tensor: ExportedTensor, grid: DeviceGrid? = nil) throws -> TypeErrors {
    let types = Set(TensorType.allCases)
    return try TypeErrors(of: tensor, in: types, importance: nil, grid: grid, threads: 2)
  }

  private func whole(_ tensor: ExportedTensor, _ type: TensorType) throws -> Double {
    let encoder = RowEncoder(type, columns: tensor.columnCount, importance: nil, threads: 2)
    let values = try tensor.values(rows: 0..<tensor.rowCount)
    return try encoder.encode(values, of: tensor.name).error.squaredError
  }

  @Test func `of a small tensor they are those of all its rows`() throws {
    let tensor = try tensor("blk.4.ffn_down.weight")
    let known = try errors(tensor).squaredErrors
    // Rows of 256 are blocks of every type.
    #expect(Set(known.keys) == Set(TensorType.allCases))
    for (type, error) in known {
      let expected = try whole(tensor, type)
      #expect(abs(error - expected) <= 1e-12 * expected, "\(type)")
    }
  }

  @Test func `of a large tensor they are estimated from some of its rows`() throws {
    let tensor = try tensor("per_layer_token_embd.weight")
    #expect(tensor.elementCount > 3 << 18)
    let known = try errors(tensor).squaredErrors
    // Rows of 960 are no blocks of 256.
    #expect(known[.q6_K] == nil && known[.q8_0] != nil)
    for type in [TensorType.q4_0, .q8_0] {
      let expected = try whole(tensor, type)
      #expect(abs((known[type] ?? 0) - expected) < 0.05 * expected, "\(type)")
    }
  }

  @Test func `each of stacked matrices counts with its rows`() throws {
    let tensor = try tensor("altup_proj.weight", of: "gemma3n-random-a")
    #expect(tensor.shape == [3, 64, 64])
    let expected = try whole(tensor, .q4_0)
    #expect(abs((try errors(tensor).squaredErrors[.q4_0] ?? 0) - expected) <= 1e-12 * expected)
  }

  @Test func `a device's grid adds its own error, which is kept apart`() throws {
    let tensor = try tensor("blk.4.ffn_down.weight")
    let plain = try errors(tensor)
    #expect(plain.addedByDevice.isEmpty)
    let errors = try errors(tensor, grid: DeviceGrid())
    #expect(errors.squaredErrors == plain.squaredErrors)
    #expect(Set(errors.addedByDevice.keys) == Set(errors.squaredErrors.keys))
    for (type, error) in errors.addedByDevice {
      let encoder = RowEncoder(type, columns: tensor.columnCount, importance: nil, threads: 2)
      let values = try tensor.values(rows: 0..<tensor.rowCount)
      let decoded = encoder.decode(try encoder.encode(values, of: "").bytes)
      let added = DeviceGrid().squaredError(of: decoded, columns: 256, importance: nil)
      #expect(added > 0 && abs(error - added) <= 1e-9 * added, "\(type)")
    }
  }
}

@Suite struct `Device grid` {
  private static let seed: UInt64 = 20_261_136

  /// Returns the squared error of rounding a row to int8 under a rotation, computed as the matrix of signs.
  private func rounded(_ row: [Float], block: Int) -> Double {
    func rotated(_ row: [Double]) -> [Double] {
      stride(from: 0, to: row.count, by: block).flatMap { first in
        (0..<block).map { index in
          (0..<block).reduce(0.0) { sum, column in
            let isNegative = (index & column).nonzeroBitCount.isMultiple(of: 2) == false
            return sum + (isNegative ? -1 : 1) * row[first + column]
          } / Double(block).squareRoot()
        }
      }
    }
    let values = rotated(row.map(Double.init))
    let step = (values.map(abs).max() ?? 0) / 127
    // The rotation is its own inverse.
    let back = rotated(values.map { ($0 / step).rounded() * step })
    return zip(row, back).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
  }

  @Test(.seeded(default: seed), arguments: [(256, 256), (192, 64), (96, 32), (512, 256)])
  func `it expects what rounding under a rotation does`(_ columns: Int, _ block: Int) {
    var random = SeededRandom(testSeed(default: Self.seed))
    var (expected, found) = (0.0, 0.0)
    for _ in 0..<12 {
      var row = random.normal(columns).map { $0 * 0.02 }
      row[3] = 0.3
      found += rounded(row, block: block)
      expected += DeviceGrid().squaredError(of: row, columns: columns, importance: nil)
    }
    #expect(abs(found - expected) < 0.15 * expected, "\(found), \(expected) expected")
  }

  @Test func `rows of zeros have no error, and importance weighs it`() {
    let zeros = Array(repeating: Float(0), count: 128)
    #expect(DeviceGrid().squaredError(of: zeros, columns: 64, importance: nil) == 0)
    var random = SeededRandom(5)
    let row = random.normal(64)
    let plain = DeviceGrid().squaredError(of: row, columns: 64, importance: nil)
    let halves = (0..<64).map { $0.isMultiple(of: 2) ? Float(3) : 0 }
    let weighted = DeviceGrid().squaredError(of: row, columns: 64, importance: halves)
    #expect(abs(weighted - 1.5 * plain) < 1e-9 * plain)
  }
}
