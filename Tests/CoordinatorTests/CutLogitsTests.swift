// Placements that cut the logits: assigned, moved to and away from, chosen, recovered from.

import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Cut logits in the coordinator` {
  private let line = ModelLine(layerCount: 6, vocabularySize: 64)

  private func plan(_ ends: [Int]) -> [PlannedWorker] {
    zip([0] + ends, ends + [line.pieceCount]).enumerated().map { index, cut in
      PlannedWorker(
        name: "cpu-\(index)",
        device: "cpu",
        slice: line.slice(pieces: cut.0..<cut.1)
      )
    }
  }

  private func slices(_ harness: Harness) -> [ModelSlice] { harness.machine.plan.map(\.slice) }

  private func answer(_ harness: Harness, _ request: UInt64) -> Message? {
    harness.replies.last { reply in
      switch reply {
      case .rebalanced(let moved): moved.request == request
      case .requestFailed(let failure): failure.request == request
      default: false
      }
    }
  }

  @Test func `the vocabulary moves alone, under a live stream, and status tells of it`() throws {
    let harness = Harness(plan: plan([6, 14]))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), count: 12))
    for _ in 0..<3 { for endpoint in harness.steps.keys.sorted() { harness.compute(endpoint) } }
    let all = 0..<6
    for (request, parts, rows) in [
      (20, [1, 1, 2], [0..<16, 16..<32, 32..<64]), (21, [0, 1, 1], [0..<0, 0..<32, 32..<64]),
    ] as [(UInt64, [Int], [Range<Int>])] {
      let rebalance = Rebalance(request: request, split: [6, 0, 0], logitsSplit: parts)
      harness.ask(.rebalance(rebalance))
      harness.settle()
      guard case .rebalanced(let moved) = answer(harness, request) else {
        Issue.record("\(String(describing: answer(harness, request)))")
        return
      }
      #expect(moved.layersMoved == 0)
      #expect(
        slices(harness)
          == zip([all, 6..<6, 6..<6], rows).map { ModelSlice(layers: $0, vocabulary: $1) }
      )
    }
    #expect(harness.machine.epoch.number == 3)
    let workers = harness.machine.status(1).workers
    #expect(workers.map(\.firstLayer) == [0, 6, 6] && workers.map(\.endLayer) == [6, 6, 6])
    #expect(workers.map(\.firstVocabularyRow) == [0, 0, 32])
    #expect(workers.map(\.endVocabularyRow) == [0, 32, 64])
    #expect(workers.allSatisfy { $0.detail != "stands by, without layers" })
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 12)
    #expect(harness.outcome().tokens == want)
    // Said again, nothing moves.
    harness.ask(
      .rebalance(Rebalance(request: 22, split: [6, 0, 0], logitsSplit: [0, 1, 1]))
    )
    harness.settle()
    #expect(harness.machine.epoch.number == 3)
  }

  @Test func `a worker that is in no part stands by`() {
    let harness = Harness(plan: plan([2, 4]))
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 20, split: [0, 6, 0], logitsSplit: [1, 1])))
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-1", "cpu-2"])
    #expect(
      slices(harness) == [
        ModelSlice(layers: 0..<6, vocabulary: 0..<32),
        ModelSlice(layers: 6..<6, vocabulary: 32..<64),
      ]
    )
    harness.ask(.rebalance(Rebalance(request: 21, split: [6, 0], logitsSplit: [1, 1, 1])))
    guard case .requestFailed(let failure) = answer(harness, 21) else {
      Issue.record("a third of the logits has no worker")
      return
    }
    #expect(failure.message.contains("logits split 1,1,1 has 3 numbers"), "\(failure.message)")
  }

  @Test func `large logits are cut where the coordinator chooses`() {
    var served = Harness.served()
    served.cost.head = 12
    let harness = Harness(plan: Harness.plan(2), served: served)
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 20, split: [])))
    harness.settle()
    // 9 of 18 each: a quarter of the logits stays with the layers.
    #expect(
      slices(harness) == [
        ModelSlice(layers: 0..<6, vocabulary: 0..<16),
        ModelSlice(layers: 6..<6, vocabulary: 16..<64),
      ]
    )
  }

  @Test func `a lost worker's part of the logits goes to the others`() {
    let harness = Harness(plan: plan([6]))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.settle(computing: false)
    harness.crash(harness.workers[1])
    harness.handle(.workerExited(name: "cpu-1", how: "exited with status 1", willRestart: false))
    harness.settle()
    #expect(slices(harness) == [line.slice(layers: 0..<6)])
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
  }

  @Test func `a result that overtakes a lost step of its session is replayed with it`() throws {
    var limits = Harness.limits(slots: 1)
    limits.maxLogits = 2 * 64
    let harness = Harness(plan: plan([6]), limits: limits)
    harness.serve()
    let stages = try ["cpu-0", "cpu-1"].map { try #require(harness.worker($0)) }
    let tokens: [Int32] = [5, 9, 13, 4]
    harness.ask(Harness.evaluate(tokens, .logits))
    try #require(harness.sentSteps.count == 2)
    // The last stage has no keys and values, so that it runs the second step without the first.
    stages[0].nextFailure = .handOff
    for stage in [stages[0], stages[0], stages[1]] { harness.compute(stage.hello.dataEndpoint) }
    harness.deliver(from: stages[1].results)
    #expect(harness.outcome().evaluated.isEmpty)
    harness.settle()
    #expect(harness.outcome().evaluated.map(\.firstPosition) == [0, 2])
    let want = tokens.indices.flatMap { harness.model.logits(Array(tokens[...$0])) }
    #expect(Array(harness.outcome().logits.joined()) == want)
  }

  @Test func `memory is counted by the rows a worker has`() {
    // Layers of 1 byte and logits of 1, and the buffer of 16 rows of 64 logits in f32.
    for (memory, fits) in [(7 + 4096, true), (7 + 4095, false)] as [(UInt64, Bool)] {
      let harness = Harness(plan: plan([6]))
      var hello = Harness.hello("cpu-0")
      hello.device.memoryBytes = memory
      harness.start(hello)
      harness.start(Harness.hello("cpu-1"))
      harness.settle()
      harness.crash(harness.workers[1])
      harness.handle(.workerExited(name: "cpu-1", how: "was lost", willRestart: false))
      harness.settle()
      #expect(harness.failures.isEmpty == fits, "\(harness.failures)")
    }
  }
}
