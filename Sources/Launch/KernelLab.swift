// The kernel laboratory runs one op at a time on a backend and compares its speed with the limits
// of the machine, which shows how much could still be gained.

package import Compute

/// An op with a shape, and how much it must read and compute.
package struct KernelCase: Sendable {
  package var op: String
  package var type: String
  package var shape: String
  /// Adds the op to a program.
  ///
  /// The copies of an op have different `copy` numbers, and so different weights.
  var add: @Sendable (inout Program, _ copy: Int) -> Void
  /// The bytes of weights, or of keys and values, that one op must read.
  var bytes: Double
  /// The number of multiplications and additions for the given number of rows.
  var operations: @Sendable (_ rows: Int) -> Double
  /// Whether these operations are on f32 rather than on bytes.
  var isFloat: Bool
  /// The number of positions before the rows, for attention.
  var context = 0
}

/// The speed of a case.
package struct KernelResult: Encodable, Sendable {
  package var op: String
  package var type: String
  package var shape: String
  package var rows: Int
  package var microseconds: Double
  package var bytesPerSecond: Double
  package var operationsPerSecond: Double
  /// `memory` or `compute`: which of the machine's limits is reached first.
  package var bound: String
  /// The shortest time that this limit allows, divided by the time measured.
  package var shareOfLimit: Double
}

/// Measures cases on one backend.
package struct KernelLab {
  private let backend: any Backend
  private let bytesPerSecond: Double
  private let integerOperationsPerSecond: Double
  private let floatOperationsPerSecond: Double

  /// Up to this many rows, weights are read from memory as in a model: enough copies are run in
  /// turn that no processor cache holds them.
  private static let memoryBoundRows = 8
  private static let turnByteCount = 128.0 * 1024 * 1024

  /// - Parameters:
  ///   - backend: The backend to measure.
  ///   - bytesPerSecond: The highest bandwidth of its memory.
  ///   - integerOperationsPerSecond: Its highest rate of operations on bytes.
  ///   - floatOperationsPerSecond: Its highest rate of operations on f32.
  package init(
    backend: any Backend,
    bytesPerSecond: Double,
    integerOperationsPerSecond: Double,
    floatOperationsPerSecond: Double
  ) {
    self.backend = backend
    self.bytesPerSecond = bytesPerSecond
    self.integerOperationsPerSecond = integerOperationsPerSecond
    self.floatOperationsPerSecond = floatOperationsPerSecond
  }

  /// Measures a case for each number of rows.
  package func measure(_ kernel: KernelCase, rows: [Int]) throws -> [KernelResult] {
    let few = rows.filter { $0 <= Self.memoryBoundRows }
    let many = rows.filter { $0 > Self.memoryBoundRows }
    let copies =
      kernel.context > 0 ? 1 : max(1, Int((Self.turnByteCount / kernel.bytes).rounded(.up)))
    return try measure(kernel, rows: few, copies: copies)
      + measure(kernel, rows: many, copies: 1)
  }

  private func measure(_ kernel: KernelCase, rows: [Int], copies: Int) throws -> [KernelResult] {
    guard let most = rows.max() else { return [] }
    var program = Program(layers: 0..<1)
    for copy in 0..<copies { kernel.add(&program, copy) }
    let limits = ExecutableLimits(
      maxRows: most,
      slots: 1,
      contextTokens: kernel.context + most
    )
    let runner = try backend.prepare(
      program,
      weights: PatternWeights(for: program),
      limits: limits
    ) { _ in }
    try Self.fill(runner, to: kernel.context)
    return try rows.map { rows in
      let seconds = try time(runner, rows: rows, context: kernel.context)
      return result(kernel, rows: rows, seconds: seconds / Double(copies))
    }
  }

  private func result(_ kernel: KernelCase, rows: Int, seconds: Double) -> KernelResult {
    let operations = kernel.operations(rows)
    let peak = kernel.isFloat ? floatOperationsPerSecond : integerOperationsPerSecond
    let memoryTime = kernel.bytes / bytesPerSecond
    let computeTime = operations / peak
    return KernelResult(
      op: kernel.op,
      type: kernel.type,
      shape: kernel.shape,
      rows: rows,
      microseconds: seconds * 1e6,
      bytesPerSecond: kernel.bytes / seconds,
      operationsPerSecond: operations / seconds,
      bound: memoryTime > computeTime ? "memory" : "compute",
      shareOfLimit: max(memoryTime, computeTime) / seconds
    )
  }

  /// Returns the seconds of a step after `context` positions: the median of at least three runs.
  private func time(_ runner: ProgramRunner, rows: Int, context: Int) throws -> Double {
    let batch = Self.batch(rows: rows, from: context)
    let inputs = Self.inputs(runner.program, batch)
    var times: [Double] = []
    let began = ContinuousClock.now
    while times.count < 4 || (times.count < 40 && .now - began < .milliseconds(200)) {
      try runner.resume(slot: 0, at: context)
      let start = ContinuousClock.now
      _ = try runner.run(batch, inputs: inputs)
      times.append((.now - start) / .seconds(1))
    }
    // The first run is dropped, because it pays for the page faults of memory that is new.
    let sorted = times.dropFirst().sorted()
    return sorted[sorted.count / 2]
  }

  /// Stores random keys and values of the positions before the rows.
  private static func fill(_ runner: ProgramRunner, to context: Int) throws {
    let pieceSize = 512
    for (index, cache) in runner.program.caches.enumerated() {
      for first in stride(from: 0, to: context, by: pieceSize) {
        let positions = first..<min(first + pieceSize, context)
        func values() -> [Float] {
          (0..<(positions.count * cache.width)).map { _ in Float.random(in: -1...1) }
        }
        let rows = CacheRows(
          layer: cache.layer,
          positions: positions,
          keys: values(),
          values: values()
        )
        try runner.importRows(rows, cache: index, slot: 0)
      }
    }
  }

  private static func batch(rows: Int, from position: Int) -> Batch {
    Batch(
      rows: (0..<rows).map { Row(slot: 0, position: position + $0, token: 0, isWanted: true) }
    )
  }

  private static func inputs(_ program: Program, _ batch: Batch) -> [[Float]] {
    program.inputs.map { id in
      (0..<program[id].elementCount(in: batch)).map { _ in Float.random(in: -1...1) }
    }
  }
}
