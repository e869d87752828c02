// The arithmetic that plans use, against the simulator's cycles.

import NPUArray
import TestSupport
import Testing

@Suite struct `Time of products` {
  @Test(arguments: [
    (rows: 256, depth: 1024, columns: 1024, clock: 1.6e9), (256, 640, 2048, 1.0e9),
    (64, 1024, 1024, 1.6e9), (200, 2048, 640, 1.6e9), (256, 1536, 1536, 1.6e9),
  ])
  func `it is within a fifth of what the simulator counts`(
    _ size: (rows: Int, depth: Int, columns: Int, clock: Double)
  ) throws {
    let shape = try ProductShape(rows: size.rows, depth: size.depth, columns: size.columns)
    let product = try MatrixProduct(kernel: NPUKernels.source("gemm_int8"))
    let array = SimulatedArray(timing: SimulatedTiming(clock: size.clock))
    try array.configure(product.image)
    var arguments = [shape.wordsOfA, shape.wordsOfB, shape.wordsOfC, shape.wordsOfMarks].map {
      HostBuffer(Array(repeating: UInt32(0), count: $0))
    }
    let report = try array.call(
      ControlCode.words(of: product.operations(for: shape)),
      &arguments
    )
    let counted = Double(report.cycles) / size.clock
    let estimated = ProductTime.seconds(of: shape, clock: size.clock)
    #expect(abs(estimated / counted - 1) < 0.2, "\(estimated * 1e6) us, counted \(counted * 1e6)")
  }
}
