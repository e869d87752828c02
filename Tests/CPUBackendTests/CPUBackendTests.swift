// What the CPU backend refuses, and what it holds.

import BackendConformance
import CPUBackend
import Compute
import Foundation
import Synchronization
import Testing

@Suite struct `CPU backend` {
  private let limits = ExecutableLimits(maxRows: 4, slots: 2, contextTokens: 16)

  private func error(_ body: () throws -> Void) -> ComputeError? {
    do {
      try body()
      return nil
    } catch {
      return error as? ComputeError
    }
  }

  /// A program with one matmul, and its weights.
  private static func matmul(
    _ type: TensorType = .q4_0
  ) -> (program: Program, weights: RandomWeights) {
    let weights = RandomWeights(seed: 1, name: "matmul")
    var program = Program(layers: 0..<1)
    let input = program.add(Buffer(name: "input", width: 64, rows: .all))
    let output = program.add(Buffer(name: "output", width: 8, rows: .all))
    let weight = weights.add("weight", rows: 8, columns: 64, type: type)
    program.inputs = [input]
    program.outputs = [output]
    program.ops = [.matmul(Matmul(input: input, weight: weight, output: output))]
    return (program, weights)
  }

  @Test(arguments: [0, -1, 5000])
  func `a senseless number of threads is refused`(_ threads: Int) {
    let error = error { _ = try CPU(threads: threads, pinnedTo: nil) }
    #expect(error?.code == .device)
    #expect(error?.message.contains("\(threads)") == true)
  }

  @Test func `pinning needs one CPU that exists for each thread`() {
    #expect(error { _ = try CPU(threads: 2, pinnedTo: [0]) }?.code == .device)
    #expect(error { _ = try CPU(threads: 1, pinnedTo: [-1]) }?.code == .device)
    #expect(error { _ = try CPU(threads: 1, pinnedTo: [1 << 40]) }?.code == .device)
  }

  @Test func `a pinned backend computes the same`() async throws {
    #expect(try await run(pinnedTo: [0, 0]) == run(pinnedTo: nil))
  }

  /// Computes a product on a thread of its own: the caller of `run` is pinned too, and stays so.
  private func run(pinnedTo cpus: [Int]?) async throws -> [[Float]] {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { [limits] in
        let result = Result { () throws -> [[Float]] in
          let (program, weights) = Self.matmul()
          let backend = try CPU(threads: 2, pinnedTo: cpus)
          let runner = try backend.prepare(program, weights: weights, limits: limits) { _ in }
          let batch = Batch(rows: [Row(slot: 0, position: 0, token: 0, isWanted: true)])
          return try runner.run(batch, inputs: [(0..<64).map { Float($0) - 31 }])
        }
        continuation.resume(with: result)
      }
    }
  }

  @Test func `an empty step gives empty outputs`() throws {
    let (program, weights) = Self.matmul()
    let backend = try CPU(threads: 2, pinnedTo: nil)
    let runner = try backend.prepare(program, weights: weights, limits: limits) { _ in }
    #expect(try runner.run(Batch(rows: []), inputs: [[]]) == [[]])
  }

  @Test func `inputs of another size are refused with both sizes`() throws {
    let (program, weights) = Self.matmul()
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let runner = try backend.prepare(program, weights: weights, limits: limits) { _ in }
    let batch = Batch(rows: [Row(slot: 0, position: 0, token: 0, isWanted: true)])
    let error = error { _ = try runner.run(batch, inputs: [[1, 2, 3]]) }
    #expect(error?.code == .batch)
    #expect(error?.message.contains("3") == true && error?.message.contains("64") == true)
  }

  @Test func `a token outside the vocabulary is refused before anything runs`() throws {
    let testCase = ConformanceCase.lifecycle(seed: 1)
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let runner = try backend.prepare(
      testCase.program,
      weights: testCase.weights,
      limits: testCase.limits
    ) { _ in }
    let rows = [Row(slot: 0, position: 0, token: 40, isWanted: true)]
    #expect(error { _ = try runner.run(Batch(rows: rows), inputs: []) }?.code == .batch)
    #expect(runner.kvByteCount == 0)
  }

  @Test func `weights with too few bytes are refused by name`() throws {
    struct Truncated: WeightSource {
      let source: RandomWeights
      func bytes(of weight: WeightRef) throws -> WeightBytes {
        let whole = try source.bytes(of: weight)
        let part = unsafe UnsafeRawBufferPointer(rebasing: whole.bytes.dropLast())
        return unsafe WeightBytes(bytes: part, owner: whole)
      }
    }
    let (program, weights) = Self.matmul()
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let error = error {
      _ = try backend.prepare(program, weights: Truncated(source: weights), limits: limits) { _ in }
    }
    #expect(error?.code == .weight)
    #expect(error?.message.contains("weight") == true)
  }

  @Test func `columns that cut a table's blocks are not supported`() throws {
    let weights = RandomWeights(seed: 1, name: "table")
    let op = Op.perLayerInputs(
      PerLayerInputs(
        input: BufferID(index: 0),
        table: weights.add("table", rows: 4, columns: 512, type: .q4_K),
        tableColumns: 128..<384,
        tableScale: 1,
        projection: weights.add("projection", rows: 256, columns: 32, type: .f32),
        projectionScale: 1,
        norm: NormParameters(weight: nil, gainOffset: 0, epsilon: 0),
        width: 128,
        outputScale: 1,
        output: BufferID(index: 1)
      )
    )
    let backend = try CPU(threads: 1, pinnedTo: nil)
    guard case .unsupported(let reason) = backend.support(for: op) else {
      Issue.record("columns 128..<384 of blocks of 256 are said to be supported")
      return
    }
    #expect(reason.contains("table"))
    var program = Program(layers: 0..<1)
    program.inputs = [program.add(Buffer(name: "input", width: 32, rows: .all))]
    program.outputs = [program.add(Buffer(name: "output", width: 256, rows: .all))]
    program.ops = [op]
    let error = error {
      _ = try backend.prepare(program, weights: weights, limits: limits) { _ in }
    }
    #expect(error?.code == .unsupported)
  }

  @Test(arguments: [
    ExecutableLimits(maxRows: 0, slots: 1, contextTokens: 1),
    ExecutableLimits(maxRows: 1, slots: -1, contextTokens: 1),
    ExecutableLimits(maxRows: 1, slots: 1, contextTokens: .max),
    ExecutableLimits(maxRows: 1 << 31, slots: 1, contextTokens: 1),
  ])
  func `senseless limits are refused`(_ limits: ExecutableLimits) throws {
    let (program, weights) = Self.matmul()
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let error = error {
      _ = try backend.prepare(program, weights: weights, limits: limits) { _ in }
    }
    #expect(error?.code == .unsupported)
  }

  @Test func `caches beyond the address space are refused, not trapped on`() throws {
    let testCase = ConformanceCase.lifecycle(seed: 1)
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let most = Int(Int32.max)
    let error = error {
      _ = try backend.prepare(
        testCase.program,
        weights: testCase.weights,
        limits: ExecutableLimits(maxRows: 1, slots: most, contextTokens: most)
      ) { _ in }
    }
    #expect(error?.code == .memory)
  }

  /// Counts how often weights are let go.
  private final class Counted: WeightSource, Sendable {
    let weights: any WeightSource
    let letGoes = Atomic(0)

    init(_ weights: any WeightSource) { self.weights = weights }

    func bytes(of weight: WeightRef) throws -> WeightBytes {
      let bytes = try weights.bytes(of: weight)
      return unsafe WeightBytes(bytes: bytes.bytes, owner: bytes) { [self] in
        letGoes.add(1, ordering: .relaxed)
      }
    }
  }

  @Test func `weights of products are packed and let go, and progress reaches its end`() throws {
    let (program, weights) = Self.matmul()
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let counted = Counted(weights)
    var fractions: [Double] = []
    let runner = try backend.prepare(program, weights: counted, limits: limits) {
      fractions.append($0)
    }
    #expect(counted.letGoes.load(ordering: .relaxed) == 1)
    #expect(runner.footprint.mappedWeightBytes == 0)
    // Eight rows take a tile of sixteen: two blocks of 18 bytes each.
    #expect(runner.footprint.ownedWeightBytes == 16 * 2 * 18)
    #expect(fractions.last == 1)
  }
}
