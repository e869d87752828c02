// Sessions whose numbers become none: they end in words, and nobody else hears of it.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Sessions that are no finite numbers` {
  private let poison: Int32 = 33

  private func expect(
    _ harness: Harness,
    _ prompt: [Int32],
    request: UInt64,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let want = harness.model.continuation(of: prompt, Harness.sampling(), count: 8)
    #expect(harness.outcome(request).failed == nil, sourceLocation: sourceLocation)
    #expect(harness.outcome(request).tokens == want, sourceLocation: sourceLocation)
  }

  @Test(arguments: [0, 1])
  func `they end with worker, layer and cause, and others of the micro-batch go on`(
    _ stage: Int
  ) throws {
    let harness = Harness()
    harness.serve()
    try #require(harness.worker("cpu-\(stage)")).poison = poison
    let prompts: [[Int32]] = [[5, 6], [7, poison, 8], [9, 10, 11]]
    for (index, prompt) in prompts.enumerated() {
      harness.ask(Harness.generate(.tokens(prompt), request: UInt64(index + 1)))
    }
    harness.settle()
    let failed = harness.outcome(2).failed
    #expect(failed?.code == .internal)
    #expect(failed?.message.contains("worker cpu-\(stage), layer \(2 * stage), attend:") == true)
    #expect(failed?.message.contains("its results are infinite or NaN") == true)
    #expect(harness.outcome(2).tokens.isEmpty)
    expect(harness, prompts[0], request: 1)
    expect(harness, prompts[2], request: 3)
    // It is nobody's fault but the model's.
    #expect(harness.killed.isEmpty && harness.machine.epoch.number == 1)
    #expect(harness.machine.sessions.freeSlots.count == harness.machine.limits.slots)
  }

  @Test func `nobody goes on from what their slots hold`() throws {
    let harness = Harness()
    harness.serve()
    let worker = try #require(harness.worker("cpu-0"))
    worker.poison = poison
    harness.ask(Harness.generate(.tokens([7, 8, 9, poison])))
    harness.settle()
    try #require(harness.outcome().failed != nil)
    worker.poison = nil
    let prompt: [Int32] = [7, 8, 9, poison, 12]
    harness.ask(Harness.generate(.tokens(prompt), request: 2))
    harness.settle()
    expect(harness, prompt, request: 2)
    let first = harness.sentSteps.last { $0.rows.contains { $0.token == poison } }
    #expect(first?.rows.map(\.position) == [0, 1, 2, 3, 4] && first?.forks.isEmpty == true)
  }

  @Test(arguments: [EvaluationKind.logits, .scores])
  func `an evaluation ends with the reason, too`(_ kind: EvaluationKind) throws {
    let harness = Harness()
    harness.serve()
    try #require(harness.worker("cpu-1")).poison = poison
    harness.ask(Harness.evaluate([5, 9, poison, 4], kind))
    harness.settle()
    #expect(harness.outcome().failed?.message.contains("infinite or NaN") == true)
    #expect(harness.outcome().evaluated.isEmpty && harness.killed.isEmpty)
  }

  @Test func `a session that is gone meanwhile is missed by nobody`() throws {
    let harness = Harness(limits: Harness.limits(slots: 2))
    harness.serve()
    let worker = try #require(harness.worker("cpu-0"))
    worker.poison = poison
    harness.ask(Harness.generate(.tokens([poison, 8]), request: 1))
    harness.ask(.cancel(Cancel(request: 1)))
    harness.ask(Harness.generate(.tokens([5, 6]), request: 2))
    harness.settle()
    #expect(harness.killed.isEmpty)
    expect(harness, [5, 6], request: 2)
  }

  @Test(arguments: [[], [1], [9]])
  func `a worker that names slots without rows is ended`(_ slots: [Int]) throws {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let failure = StepFailed(
      epoch: 1,
      sequence: 1,
      worker: "cpu-0",
      code: .notFinite,
      message: "a lie",
      slots: slots
    )
    harness.post(.stepFailed(failure), from: harness.workers[0].results)
    harness.deliver(from: harness.workers[0].results)
    #expect(harness.killed == ["cpu-0"])
    #expect(harness.outcome().failed == nil)
  }
}
