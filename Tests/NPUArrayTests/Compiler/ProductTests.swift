// Products of bytes, from rows in the machine's memory to rows in the machine's memory, on one core and on sixteen.

import Foundation
import TestSupport
import Testing

@testable import NPUArray

@Suite struct `Products of bytes` {
  /// Four bytes a word.
  private func words(_ bytes: [Int8]) throws -> [UInt32] {
    try WordReader.words(of: bytes.map { UInt8(bitPattern: $0) })
  }

  private func bytes(_ count: Int, _ random: inout SeededRandom) -> [Int8] {
    (0..<count).map { _ in Int8.random(in: .min ... .max, using: &random) }
  }

  /// How many elements of C differ from sums of integers, of those in every `stride`th row.
  private func wrong(
    _ c: [UInt32],
    _ a: [Int8],
    _ b: [Int8],
    _ shape: (m: Int, n: Int, k: Int),
    stride: Int = 1
  ) -> Int {
    var wrong = 0
    for row in Swift.stride(from: 0, to: shape.m, by: stride) {
      var sums = [Int32](repeating: 0, count: shape.n)
      for step in 0..<shape.k {
        let factor = Int32(a[row * shape.k + step])
        for column in 0..<shape.n { sums[column] += factor * Int32(b[step * shape.n + column]) }
      }
      for column in 0..<shape.n where Int32(bitPattern: c[row * shape.n + column]) != sums[column] {
        wrong += 1
      }
    }
    return wrong
  }

  @Test(arguments: [
    MatrixProduct(m: 8, n: 16, k: 24, steps: 1, side: 1),
    MatrixProduct(m: 16, n: 16, k: 64, steps: 3, side: 1),
    MatrixProduct(m: 64, n: 64, k: 64, steps: 4, side: 1),
    MatrixProduct(m: 32, n: 48, k: 128, steps: 2, side: 1),
    MatrixProduct(m: 16, n: 32, k: 32, steps: 2, side: 2),
    MatrixProduct(m: 16, n: 48, k: 40, steps: 3, side: 3),
    MatrixProduct(m: 16, n: 16, k: 64, steps: 2, side: 4), MatrixProduct(steps: 3),
  ])
  func `results are those of integers, call after call`(_ product: MatrixProduct) throws {
    let shape = product.shape
    let design = product.design(kernel: try NPUKernels.source("gemm_int8"))
    let array = SimulatedArray()
    try array.configure(try design.compiled().image)
    let code = ControlCode.words(of: try product.call(row: 0, column: 0, columns: shape.n))
    var random = SeededRandom(UInt64(shape.m * shape.n * shape.k))
    for _ in 0..<2 {
      let (a, b) = (bytes(shape.m * shape.k, &random), bytes(shape.k * shape.n, &random))
      var arguments = [
        HostBuffer(try words(a)), HostBuffer(try words(b)), HostBuffer(count: shape.m * shape.n),
      ]
      let report = try array.call(code, &arguments)
      #expect(wrong(arguments[2].words, a, b, shape) == 0)
      // A bundle does at most 256 products.
      #expect(report.cycles >= shape.m * shape.n * shape.k / 256 / product.side / product.side)
    }
  }

  @Test func `a block is a part of larger matrices`() throws {
    let product = MatrixProduct(m: 16, n: 16, k: 32, steps: 3)
    let (m, n, k) = (product.shape.m * 2, product.shape.n * 3, product.shape.k)
    var random = SeededRandom(3)
    let (a, b) = (bytes(m * k, &random), bytes(k * n, &random))
    let array = SimulatedArray()
    try array.configure(
      try product.design(kernel: try NPUKernels.source("gemm_int8")).compiled().image
    )
    var arguments = [HostBuffer(try words(a)), HostBuffer(try words(b)), HostBuffer(count: m * n)]
    for row in stride(from: 0, to: m, by: product.shape.m) {
      for column in stride(from: 0, to: n, by: product.shape.n) {
        let code = try product.call(row: row, column: column, columns: n)
        try array.call(ControlCode.words(of: code), &arguments)
      }
    }
    #expect(wrong(arguments[2].words, a, b, (m, n, k)) == 0)
  }

  // It takes twenty seconds: set the variable to see it.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.environment["TRESTLE_NPU_LARGE"] != nil,
      "TRESTLE_NPU_LARGE is not set"
    )
  )
  func `a product of a model's layer is exact, and its cycles are told`() throws {
    let product = MatrixProduct(steps: 32)
    let (m, n, k) = (512, 2048, product.shape.k)
    var random = SeededRandom(4)
    let (a, b) = (bytes(m * k, &random), bytes(k * n, &random))
    let array = SimulatedArray()
    try array.configure(
      try product.design(kernel: try NPUKernels.source("gemm_int8")).compiled().image
    )
    var arguments = [HostBuffer(try words(a)), HostBuffer(try words(b)), HostBuffer(count: m * n)]
    let began = ContinuousClock.now
    var cycles = 0
    for row in stride(from: 0, to: m, by: product.shape.m) {
      for column in stride(from: 0, to: n, by: product.shape.n) {
        let code = try product.call(row: row, column: column, columns: n)
        cycles += try array.call(ControlCode.words(of: code), &arguments).cycles
      }
    }
    let seconds = ContinuousClock.now - began
    #expect(wrong(arguments[2].words, a, b, (m, n, k), stride: 37) == 0)
    let peak = 100 * m * n * k / 256 / 16 / cycles
    print(
      "projected: \(m) x \(n) x \(k): \(cycles) cycles, \(peak) % of the peak; simulated in \(seconds)"
    )
  }
}
