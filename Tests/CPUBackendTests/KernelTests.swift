// Kernels called by themselves: decoding blocks, rounding activations.

import BackendConformance
import CPUBackend
import CPUKernels
import Compute
import Foundation
import TestSupport
import Testing

private let seed = testSeed(default: 31)

@Suite(.seeded(default: 31)) struct `CPU kernels` {
  private func kernels(_ set: InstructionSet) throws -> cpu_kernels {
    unsafe try kernelTable(of: set).pointee
  }

  @Test(arguments: instructionSets)
  func `random blocks of every type decode as the reference decodes them`(
    _ set: InstructionSet
  ) throws {
    let kernels = try kernels(set)
    var generator = Generator(seed: seed, name: "blocks")
    for type in TensorType.allCases {
      let identifier = cpu_type(rawValue: type.number)
      for _ in 0..<200 {
        let block = generator.block(of: type)
        let want = unsafe block.withUnsafeBytes {
          unsafe Dequantize.values($0, type: type, start: 0, count: type.blockLength)
        }
        var got = Array(repeating: Float(0), count: type.blockLength)
        unsafe kernels.dequantise(identifier, block, Int64(type.blockLength), &got)
        #expect(got.map(\.bitPattern) == want.map(\.bitPattern), "\(type)")
      }
    }
  }

  @Test(arguments: instructionSets)
  func `every f16 decodes exactly`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    let halves = (0...UInt16.max).filter { $0 & 0x7C00 != 0x7C00 || $0 & 0x3FF == 0 }
    var got = Array(repeating: Float(0), count: halves.count)
    unsafe halves.withUnsafeBytes { bytes in
      unsafe kernels.dequantise(
        CPU_f16,
        bytes.bindMemory(to: UInt8.self).baseAddress,
        Int64(halves.count),
        &got
      )
    }
    #expect(got.map(\.bitPattern) == halves.map { halfToFloat($0).bitPattern })
  }

  /// Calls a kernel with one row of `width`, given as the pointer and the width.
  private func onOneRow(
    _ values: inout [Float],
    _ body: (cpu_plane, UnsafePointer<cpu_step>) -> Void
  ) {
    let width = Int64(values.count)
    unsafe values.withUnsafeMutableBufferPointer { row in
      let plane = unsafe cpu_plane(base: row.baseAddress, width: width, plane: 0, row_set: 0)
      var step = unsafe cpu_step()
      unsafe step.counts = (1, 1)
      unsafe withUnsafePointer(to: &step) { unsafe body(plane, $0) }
    }
  }

  @Test(arguments: instructionSets)
  func `gelu is within 1e-6 of itself in f64`(_ set: InstructionSet) throws {
    let kernels = try kernels(set)
    let inputs = stride(from: Float(-12), through: 12, by: 1 / 64).map { $0 }
    var got = inputs
    var ones = Array(repeating: Float(1), count: inputs.count)
    unsafe onOneRow(&got) { gate, step in
      unsafe onOneRow(&ones) { other, _ in
        var args = unsafe cpu_gate_args()
        unsafe args.gate = unsafe gate
        unsafe args.other = unsafe other
        unsafe kernels.gate(&args, step, 0, 1)
      }
    }
    for (input, value) in zip(inputs, got) {
      let x = Double(input)
      let want = 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
      // Relative where gelu is near x; where it vanishes, f64's own 1 + tanh cancels.
      #expect(abs(Double(value) - want) <= 1e-6 * max(abs(want), 1e-3), "gelu(\(input))")
    }
  }

  @Test(arguments: instructionSets)
  func `tanh is within six roundings of itself in f64`(_ set: InstructionSet) throws {
    var kernels = try kernels(set)
    let inputs = stride(from: Float(-10), through: 10, by: 1 / 128).map { $0 }
    // A softcap of 1 over the identity: one column of weights, an input of 1.
    var got = inputs
    var one: [Float] = [1]
    let packed = pack(inputs, kernels)
    unsafe onOneRow(&got) { output, step in
      unsafe onOneRow(&one) { input, _ in
        unsafe packed.withUnsafeBytes { weights in
          var args = unsafe cpu_matmul_args()
          unsafe args.weight = unsafe cpu_matrix(
            bytes: weights.bindMemory(to: UInt8.self).baseAddress,
            rows: Int64(inputs.count),
            columns: 1,
            row_bytes: 64,
            type: CPU_f32
          )
          unsafe args.input = unsafe input
          unsafe args.output = unsafe output
          unsafe args.softcap = 1
          unsafe cpu_matmul(&kernels, CPU_f32)(&args, step, 0, 1)
        }
      }
    }
    for (input, value) in zip(inputs, got) {
      let want = tanh(Double(input))
      #expect(abs(Double(value) - want) <= 6 * 0x1p-24 * abs(want), "tanh(\(input))")
    }
  }

  /// A column of f32 weights, packed: each row filled up to sixteen columns.
  private func pack(_ column: [Float], _ kernels: cpu_kernels) -> [Float] {
    var packed: [Float] = Array(
      repeating: 0,
      count: Int(cpu_packed_rows(Int64(column.count))) * 16
    )
    unsafe column.withUnsafeBytes { stored in
      unsafe packed.withUnsafeMutableBytes { target in
        var args = unsafe cpu_pack_args(
          source: cpu_matrix(
            bytes: stored.bindMemory(to: UInt8.self).baseAddress,
            rows: Int64(column.count),
            columns: 1,
            row_bytes: 4,
            type: CPU_f32
          ),
          packed: target.bindMemory(to: UInt8.self).baseAddress
        )
        var step = unsafe cpu_step()
        unsafe kernels.pack(&args, &step, 0, 1)
      }
    }
    return packed
  }

  private struct Quantised {
    var quants: [Int8]
    var scales: [Float]
    var sums: [Float]
    var eights: [Int32]
    var halfOffsets: [Int32]
  }

  private func quantise(_ values: [Float], _ set: InstructionSet) throws -> Quantised {
    let kernels = try kernels(set)
    let blocks = values.count / 32
    var values = values
    var result = Quantised(
      quants: Array(repeating: 0, count: values.count),
      scales: Array(repeating: 0, count: blocks),
      sums: Array(repeating: 0, count: blocks),
      eights: Array(repeating: 0, count: blocks),
      halfOffsets: Array(repeating: 0, count: blocks * 2)
    )
    unsafe values.withUnsafeMutableBufferPointer { input in
      unsafe result.quants.withUnsafeMutableBufferPointer { quants in
        unsafe result.scales.withUnsafeMutableBufferPointer { scales in
          unsafe result.sums.withUnsafeMutableBufferPointer { sums in
            unsafe result.eights.withUnsafeMutableBufferPointer { eights in
              unsafe result.halfOffsets.withUnsafeMutableBufferPointer { halfOffsets in
                let width = Int64(input.count)
                var args = unsafe cpu_quantise_args(
                  input: cpu_plane(base: input.baseAddress, width: width, plane: 0, row_set: 0),
                  parts: 1,
                  output: cpu_quantised(
                    quants: quants.baseAddress,
                    scales: scales.baseAddress,
                    sums: sums.baseAddress,
                    eights: eights.baseAddress,
                    halves: halfOffsets.baseAddress,
                    width: width
                  )
                )
                var step = unsafe cpu_step()
                unsafe step.counts = (1, 1)
                unsafe kernels.quantise(&args, &step, 0, 1)
              }
            }
          }
        }
      }
    }
    return result
  }

  @Test(arguments: instructionSets)
  func `activations round to the nearest step, and their sums are exact`(
    _ set: InstructionSet
  ) throws {
    var generator = Generator(seed: seed, name: "activations")
    for round in 0..<100 {
      let magnitude = Float.random(in: 1e-6...1e6, using: &generator)
      let values = (0..<32).map { _ in generator.uniform() * magnitude }
      let result = try quantise(values, set)
      let largest = values.reduce(Float(0)) { max($0, abs($1)) }
      #expect(result.scales[0] == largest / 127)
      for (value, quant) in zip(values, result.quants) {
        let off = abs(Float(quant) * result.scales[0] - value)
        #expect(off <= result.scales[0] * 0.50001, "round \(round): \(value)")
        #expect(quant > -128)
      }
      let halves = [result.quants[..<16], result.quants[16...]].map {
        $0.reduce(0) { $0 + Int32($1) }
      }
      #expect(result.halfOffsets == halves.map { -32 * $0 })
      #expect(result.eights == [-8 * (halves[0] + halves[1])])
      #expect(result.sums[0] == result.scales[0] * Float(halves[0] + halves[1]))
    }
  }

  @Test(arguments: instructionSets)
  func `zeros and vanishing numbers become zero, and what is no number stays so`(
    _ set: InstructionSet
  ) throws {
    for value in [Float(0), 1e-38, .leastNonzeroMagnitude] {
      let result = try quantise(Array(repeating: value, count: 32), set)
      #expect(result.scales == [0] && result.sums == [0])
    }
    for poison in [Float.nan, .infinity, -.infinity] {
      var values = Array(repeating: Float(1), count: 64)
      values[37] = poison
      let result = try quantise(values, set)
      #expect(result.scales[0] == Float(1) / 127)
      #expect(!result.scales[1].isFinite, "\(poison) is lost")
    }
  }
}
