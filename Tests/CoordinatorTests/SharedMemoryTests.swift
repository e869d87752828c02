// Workers of one machine have its memory once, whatever each of them tells.

import Compute
import Gemma
import TestSupport
import Testing
import Wire
import Worker

@testable import Coordinator

@Suite struct `Memory that workers share` {
  /// Three workers of which the last is lost for good, so that its layers go to the others.
  ///
  /// - Parameters:
  ///   - machines: Where the first two run.
  ///   - memory: What each tells of its memory.
  ///   - change: What else is special about the device of the first two.
  /// - Returns: The harness behind the loss.
  private func failover(
    machines: [String],
    memory: UInt64,
    _ change: (inout Device) -> Void = { _ in }
  ) -> Harness {
    let harness = Harness(plan: Harness.plan(3))
    for (index, machine) in (machines + ["elsewhere"]).enumerated() {
      var hello = Harness.hello("cpu-\(index)")
      hello.machine = machine
      hello.dataEndpoint = "tcp://10.0.0.\(index):7000"
      if index < 2 {
        hello.device.memoryBytes = memory
        change(&hello.device)
      }
      harness.start(hello)
    }
    harness.settle()
    harness.crash(harness.workers[2])
    harness.handle(.workerExited(name: "cpu-2", how: "was lost", willRestart: false))
    harness.settle()
    return harness
  }

  // Six layers of a byte, a byte of logits, and a buffer of 16 rows of 64 logits in f32.
  private let whole: UInt64 = 7 + 4096

  @Test func `two workers of one machine get no more than it has`() {
    #expect(failover(machines: ["a", "a"], memory: whole).failures.isEmpty)
    let harness = failover(machines: ["a", "a"], memory: whole - 1)
    let message = harness.failures.first?.message ?? ""
    #expect(message.contains("cpu-0, cpu-1 would need 0 MB together"), "\(harness.failures)")
  }

  @Test func `workers of two machines, or with memories of their own, have all of it each`() {
    #expect(failover(machines: ["a", "b"], memory: whole - 1).failures.isEmpty)
    #expect(failover(machines: ["", ""], memory: whole - 1).failures.isEmpty)
    let own = failover(machines: ["a", "a"], memory: whole - 1) {
      $0.isHostMemory = false
      $0.isMemoryShared = false
    }
    #expect(own.failures.isEmpty)
  }

  @Test func `workers of one device that is not the host share its memory, too`() {
    let shared = failover(machines: ["a", "a"], memory: whole - 1) { $0.isHostMemory = false }
    #expect(shared.failures.count == 1)
  }

  // MARK: The first placement

  /// One worker with the whole model, which has too little memory for it by so many bytes.
  private func alone(lacking bytes: UInt64, isPlanBinding: Bool) -> Harness {
    let harness = Harness(plan: Harness.plan(1), isPlanBinding: isPlanBinding)
    var hello = Harness.hello("cpu-0")
    hello.device.memoryBytes = whole - bytes
    harness.start(hello)
    harness.settle()
    return harness
  }

  @Test func `a model that no worker can hold is refused before it is loaded, with what to do`() {
    let harness = alone(lacking: 1, isPlanBinding: false)
    #expect(harness.readyCount == 0 && harness.failures.map(\.code) == [.placement])
    let message = harness.failures.first?.message ?? ""
    #expect(message.contains("too little memory: cpu-0 would need"), "\(message)")
    #expect(message.contains("--slots"), "\(message)")
    #expect(alone(lacking: 0, isPlanBinding: false).readyCount == 1)
  }

  @Test func `a split that the user asks for is tried all the same, with a warning`() {
    for (bytes, count) in [(UInt64(1), 1), (0, 0)] {
      let harness = alone(lacking: bytes, isPlanBinding: true)
      #expect(harness.readyCount == 1 && harness.failures.isEmpty)
      let warnings = harness.notes.filter { $0.message == "the split may not fit into memory" }
      #expect(warnings.count == count && warnings.allSatisfy(\.isWarning))
    }
  }

  // MARK: The search

  private func cost(_ layers: [Double]) -> DecodeCost {
    DecodeCost(layers: layers, head: 0, vocabularySize: 1)
  }

  @Test func `a fast machine without room leaves layers to a slow one`() throws {
    let even = cost([1, 1, 1, 1, 1, 1])
    let model = footprint(Array(repeating: 1, count: 6))
    // Layers take a half, a half and one: with 3, 2 and 1 of them the slowest takes one and a half.
    let free = try Placement(cost: even, rates: [2, 2, 1])
    #expect(free.stages.last?.layers.count == 1)
    let sharing = SharedMemory(pools: [0, 0, nil], byteCounts: [3]) { _, slice in
      model.held(slice, in: noRoom, cacheType: .f16)
    }
    let placement = try Placement(cost: even, rates: [2, 2, 1], sharing: sharing)
    #expect(placement.stages.last?.layers.count == 3)
    let none = SharedMemory(pools: [0, 0, 0], byteCounts: [5], held: sharing.held)
    #expect(throws: CoordinatorError.self) {
      _ = try Placement(cost: even, rates: [1, 1, 1], sharing: none)
    }
  }

  @Test(.seeded(default: 97)) func `no other placement that fits has a faster slowest stage`()
    throws
  {
    var random = SeededRandom(testSeed(default: 97))
    for _ in 0..<fuzzIterations(default: 200) {
      let layers = (0..<Int.random(in: 3...6, using: &random)).map { _ in
        Double(Int.random(in: 1...9, using: &random))
      }
      let model = footprint(layers.map { _ in Int.random(in: 1...9, using: &random) })
      let rates = (0..<3).map { _ in Double(Int.random(in: 1...4, using: &random)) }
      let pools = (0..<3).map { _ -> Int? in
        let pool = Int.random(in: -1...1, using: &random)
        return pool < 0 ? nil : pool
      }
      let sharing = SharedMemory(
        pools: pools,
        byteCounts: (0..<2).map { _ in UInt64.random(in: 2...25, using: &random) }
      ) { _, slice in model.held(slice, in: noRoom, cacheType: .f16) }
      let cost = cost(layers)
      let every = everyCut(cost.line.pieceCount).map { cut in
        cut.map { cost.line.slice(pieces: $0) }
      }
      let fitting = every.filter { sharing.holds($0) }
      let slowest = { (stages: [ModelSlice]) in
        zip(stages, rates).map { cost.bytes(of: $0) / $1 }.max() ?? 0
      }
      guard let best = fitting.map(slowest).min() else {
        #expect(throws: CoordinatorError.self) {
          _ = try Placement(cost: cost, rates: rates, sharing: sharing)
        }
        continue
      }
      let found = try Placement(cost: cost, rates: rates, sharing: sharing)
      #expect(sharing.holds(found.stages))
      #expect(slowest(found.stages) <= best * (1 + Planner.worthwhileGain) + 1e-9)
    }
  }

  private func everyCut(_ count: Int) -> [[Range<Int>]] {
    (1..<count - 1).flatMap { first in
      (first + 1..<count).map { second in [0..<first, first..<second, second..<count] }
    }
  }
}
