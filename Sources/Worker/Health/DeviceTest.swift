// The self-test of a worker's device: it runs a small, fixed program on the worker's backend and on
// the reference backend, and compares the results.

package import Compute
package import Wire

/// A program with the ops that a device is most likely to get wrong: products of quantised weights, a
/// KV cache and attention over it.
package enum DeviceTest {
  /// The largest difference that passes, in root mean squares of the reference's result.
  ///
  /// A backend may round activations to int8, and keys and values to 8 bits. Each rounding costs
  /// less than a hundredth (docs/SPEED.md); two products and the cache follow one another, and the
  /// largest of a few hundred deviations is four times the usual one. A wrong kernel is off by
  /// about 1.
  package static let tolerance = 0.1

  private static let width = 64
  // Heads of 32 values fill a whole block, also where keys and values are quantised.
  private static let headDim = 32
  private static let headCount = 2

  /// Runs test `number` and returns its report.
  package static func run(_ number: UInt32, on backend: any Backend) -> SelfTestReport {
    var report = SelfTestReport(
      run: number,
      maxError: 0,
      tolerance: tolerance,
      failure: ""
    )
    do {
      try backend.test()
      let got = try outputs(of: backend)
      let want = try outputs(of: ReferenceBackend())
      report.maxError = error(of: got, want)
      // The condition is negated so that NaN fails, too.
      if !(report.maxError <= tolerance) {
        report.failure =
          "\(backend.device.name) is off by \(report.maxError) of the result, "
          + "at most \(tolerance) passes"
      }
    } catch {
      report.maxError = .infinity
      report.failure = "\(backend.device.name) cannot run it: \(error)"
    }
    return report
  }

  /// Returns the largest difference, in root mean squares of the expected values.
  static func error(of got: [Float], _ want: [Float]) -> Double {
    guard got.count == want.count, !want.isEmpty else { return .infinity }
    var largest = 0.0
    var squares = 0.0
    for (got, want) in zip(got, want) {
      let difference = abs(Double(got) - Double(want))
      guard difference.isFinite else { return .infinity }
      largest = max(largest, difference)
      squares += Double(want) * Double(want)
    }
    return largest / (squares / Double(want.count)).squareRoot()
  }

  /// Returns the program's output for a prompt of five rows and one decoded row.
  private static func outputs(of backend: any Backend) throws -> [Float] {
    let runner = try backend.prepare(
      program,
      weights: TestWeights(),
      limits: ExecutableLimits(maxRows: 8, slots: 1, contextTokens: 16)
    ) { _ in }
    var outputs: [Float] = []
    for positions in [0..<5, 5..<6] {
      let rows = positions.map { Row(slot: 0, position: $0, token: 0, isWanted: true) }
      let input = positions.flatMap { position in
        (0..<width).map { TestNumbers.value(position * width + $0) }
      }
      outputs += try runner.run(Batch(rows: rows), inputs: [input]).flatMap { $0 }
    }
    return outputs
  }

  private static let program: Program = {
    var program = Program(layers: 0..<1)
    let input = program.add(Buffer(name: "input", width: width, rows: .all))
    let queries = program.add(Buffer(name: "queries", width: width, rows: .all))
    let keys = program.add(Buffer(name: "keys", width: headDim, rows: .all))
    let values = program.add(Buffer(name: "values", width: headDim, rows: .all))
    let attended = program.add(Buffer(name: "attended", width: width, rows: .all))
    let output = program.add(Buffer(name: "output", width: width, rows: .all))
    let cache = program.add(Cache(layer: 0, kvHeadCount: 1, headDim: headDim, window: nil))
    program.inputs = [input]
    program.outputs = [output]
    let weight = { (name: String, rows: Int) in
      WeightRef(name: name, rows: 0..<rows, columns: width, type: .q4_0)
    }
    program.ops = [
      .matmul(Matmul(input: input, weight: weight("query", width), output: queries)),
      .matmul(Matmul(input: input, weight: weight("key", headDim), output: keys)),
      .matmul(Matmul(input: input, weight: weight("value", headDim), output: values)),
      .appendKV(AppendKV(keys: keys, values: values, cache: cache)),
      .attend(
        Attend(
          queries: queries,
          cache: cache,
          headCount: headCount,
          scale: 0.125,
          output: attended
        )
      ),
      .matmul(Matmul(input: attended, weight: weight("output", width), output: output)),
    ]
    return program
  }()
}

/// Pseudorandom numbers that are the same on every machine.
private enum TestNumbers {
  /// Returns a mixed counter: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
  static func bits(_ index: Int) -> UInt64 {
    var state = UInt64(truncatingIfNeeded: index &+ 1) &* 0x9E37_79B9_7F4A_7C15
    state = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB
    return state ^ (state >> 31)
  }

  /// Returns a number from -1 to 1.
  static func value(_ index: Int) -> Float { Float(Int64(bits(index) >> 40) - (1 << 23)) / 0x1p23 }
}

/// Weights in blocks of q4_0: a binary16 scale, and 32 quants of four bits.
private struct TestWeights: WeightSource {
  /// Memory at a fixed address.
  // @safe, @unchecked Sendable: filled by its creator, only read afterwards.
  @safe private final class Storage: @unchecked Sendable {
    let memory: UnsafeMutableRawBufferPointer

    init(byteCount: Int) {
      unsafe memory = .allocate(byteCount: byteCount, alignment: 64)
    }

    deinit { unsafe memory.deallocate() }
  }

  func bytes(of weight: WeightRef) throws -> WeightBytes {
    guard let rowByteCount = weight.type.byteCount(columns: weight.columns) else {
      throw ComputeError(.weight, "no tensor \(weight)")
    }
    let storage = Storage(byteCount: weight.rows.count * rowByteCount)
    let salt = weight.name.utf8.reduce(0) { $0 &* 31 &+ Int($1) } &* 4096
    for index in unsafe 0..<storage.memory.count {
      let place = index % weight.type.blockByteCount
      // The scale is 2⁻⁵ with a random fraction: 0x2800 to 0x2BFF. The quants are any bits.
      let bits = UInt8(truncatingIfNeeded: TestNumbers.bits(salt &+ index))
      unsafe storage.memory[index] = place == 1 ? 0x28 | (bits & 3) : bits
    }
    return unsafe WeightBytes(bytes: UnsafeRawBufferPointer(storage.memory), owner: storage)
  }
}
