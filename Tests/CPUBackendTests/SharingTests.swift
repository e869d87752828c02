// What executables that follow one another have in memory together.

import BackendConformance
import Compute
import Foundation
import Synchronization
import Testing

@testable import CPUBackend

@Suite struct `Sharing between executables` {
  private let limits = ExecutableLimits(maxRows: 4, slots: 2, contextTokens: 16)

  /// Counts how often weights are packed: each is let go when it has been.
  private final class Counted: WeightSource, Sendable {
    let weights: RandomWeights
    let packed = Mutex<[String]>([])

    init(_ weights: RandomWeights) { self.weights = weights }

    func bytes(of weight: WeightRef) throws -> WeightBytes {
      let bytes = try weights.bytes(of: weight)
      return unsafe WeightBytes(bytes: bytes.bytes, owner: bytes) { [self] in
        packed.withLock { $0.append(weight.name) }
      }
    }

    func takePacked() -> [String] {
      packed.withLock { names in
        defer { names = [] }
        return names
      }
    }
  }

  /// One product after the other, with a norm between them.
  private func program(_ names: [String], _ weights: RandomWeights) -> Program {
    var program = Program(layers: 0..<1)
    var current = program.add(Buffer(name: "input", width: 64, rows: .all))
    program.inputs = [current]
    for name in names {
      let output = program.add(Buffer(name: name, width: 64, rows: .all))
      let normed = program.add(Buffer(name: "\(name) normed", width: 64, rows: .all))
      let gain = WeightRef(name: "\(name) gain", rows: 0..<1, columns: 64, type: .f32)
      program.ops += [
        .matmul(
          Matmul(
            input: current,
            weight: WeightRef(name: name, rows: 0..<64, columns: 64, type: .q4_0),
            output: output
          )
        ),
        .norm(
          Norm(
            input: Plane(output),
            norm: NormParameters(weight: gain, gainOffset: 1, epsilon: 1e-6),
            output: normed
          )
        ),
      ]
      current = normed
    }
    program.outputs = [current]
    return program
  }

  private func weights(_ names: [String]) -> RandomWeights {
    let weights = RandomWeights(seed: 3, name: "sharing")
    for name in names {
      _ = weights.add(name, rows: 64, columns: 64, type: .q4_0)
      _ = weights.add("\(name) gain", rows: 1, columns: 64, type: .f32)
    }
    return weights
  }

  private func run(_ runner: ProgramRunner) throws -> [[Float]] {
    let batch = Batch(rows: [Row(slot: 0, position: 0, token: 0, isWanted: true)])
    return try runner.run(batch, inputs: [(0..<64).map { Float($0) - 31 }])
  }

  @Test func `only new weights are packed, the others are the same memory`() throws {
    let random = weights(["a", "b", "c"])
    let counted = Counted(random)
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let first = program(["a", "b"], random)
    let second = program(["b", "c"], random)
    var old: ProgramRunner? = try backend.prepare(first, weights: counted, limits: limits) { _ in
    }
    #expect(counted.takePacked() == ["a", "b"])
    let size = try #require(old).footprint.ownedWeightBytes
    #expect(try #require(old).footprint.sharedWeightBytes == 0)

    let new = try backend.prepare(second, weights: counted, limits: limits, sharing: old) { _ in }
    #expect(counted.takePacked() == ["c"])
    // Weight b and its gain, of two of equal size.
    #expect(new.footprint.ownedWeightBytes == size)
    #expect(new.footprint.sharedWeightBytes == size / 2)
    let before = try run(#require(old))
    #expect(try run(#require(old)) == before)

    weak let gone = (old?.executable as? CPUExecutable)?.weights
    #expect(gone != nil)
    old = nil
    #expect(gone == nil, "the new executable keeps what only the old one had")
    let alone = try backend.prepare(second, weights: random, limits: limits) { _ in }
    #expect(try run(new) == run(alone))
  }

  @Test func `the old executable runs on while its successors are compiled`() async throws {
    let testCase = ConformanceCase.lifecycle(seed: 4)
    let backend = try CPU(threads: 2, pinnedTo: nil)
    func compile(sharing previous: ProgramRunner?) throws -> ProgramRunner {
      try backend.prepare(
        testCase.program,
        weights: testCase.weights,
        limits: testCase.limits,
        sharing: previous
      ) { _ in }
    }
    let want = try testCase.run(on: compile(sharing: nil), .alone, seed: 4)
    // The thread runs steps, this one only compiles: what `Backend.compile` allows.
    nonisolated(unsafe) let old = try compile(sharing: nil)
    async let results = withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        let result = Result {
          try (0..<20).map { _ in
            for slot in testCase.lengths.indices { unsafe old.clear(slot: slot) }
            return unsafe try testCase.run(on: old, .alone, seed: 4)
          }
        }
        continuation.resume(with: result)
      }
    }
    for _ in 0..<100 {
      let new = unsafe try compile(sharing: old)
      #expect(new.footprint.sharedWeightBytes == new.footprint.ownedWeightBytes)
    }
    for got in try await results { #expect(got == want) }
  }

  @Test func `equal names are not enough to share`() throws {
    let (ours, theirs) = (weights(["a"]), weights(["b", "a"]))
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let old = try backend.prepare(program(["a"], ours), weights: ours, limits: limits) { _ in }
    let counted = Counted(theirs)
    let new = try backend.prepare(
      program(["a"], theirs),
      weights: counted,
      limits: limits,
      sharing: old
    ) { _ in }
    #expect(counted.takePacked() == ["a"])
    #expect(new.footprint.sharedWeightBytes == 0)
    #expect(try run(new) != run(old))
  }

  @Test func `a slice nobody holds goes back to the system, its neighbours stay`() throws {
    let arena = PackedArena()
    let size = 1 << 20
    let first = try arena.allocate(size, purpose: "a test")
    var middle: PackedSlice? = try arena.allocate(size, purpose: "a test")
    let last = try arena.allocate(size, purpose: "a test")
    for slice in [first, try #require(middle), last] {
      unsafe slice.base.initialize(repeating: 7, count: size)
    }
    // The piece lives on with the neighbours, and given pages read as zero.
    let address = unsafe try #require(middle).base
    middle = nil
    let given = unsafe Set(UnsafeBufferPointer(start: address, count: size))
    #expect(given == [0])
    for slice in [first, last] {
      let bytes = unsafe Set(UnsafeBufferPointer(start: slice.base, count: size))
      #expect(bytes == [7])
    }
  }
}
