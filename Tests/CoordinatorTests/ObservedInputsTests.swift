// Evaluations that ask how large the inputs of products were: who may ask, what they get, and what
// becomes of a worker that answers nonsense.

import Gemma
import Testing
import Wire

@testable import Coordinator

@Suite struct `Evaluations of inputs` {
  private func observing() -> Harness {
    var limits = Harness.limits()
    limits.observesInputs = true
    return Harness(limits: limits)
  }

  private func serving() -> Harness {
    let harness = observing()
    harness.serve()
    return harness
  }

  /// What an honest last stage says of a step; a row that wants a token draws this one.
  private func done(_ step: Step, token: Int32 = 9) -> StepDone {
    StepDone(
      epoch: step.epoch,
      sequence: step.sequence,
      results: step.rows.filter { $0.output != .none }.map {
        RowResult(slot: $0.slot, position: $0.position, token: token, logProbability: 0)
      },
      stageMicroseconds: [1, 1]
    )
  }

  private func answer(_ harness: Harness, _ step: Step, _ payloads: [[Float]]) {
    let last = harness.workers[1].results
    harness.post(.stepDone(done(step)), from: last, payloads: payloads)
    harness.deliver(from: last)
  }

  @Test func `where workers do not observe, one is refused with the command that has it`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.evaluate([5, 6], .inputs))
    #expect(harness.outcome().failed?.code == .invalid)
    #expect(
      harness.outcome().failed?.message
        == "this pipeline does not observe the inputs of products; "
        + "`trestle calibrate` starts one that does"
    )
    #expect(harness.sentSteps.isEmpty && harness.machine.sessions.isEmpty)
    // The number is free again, and others are served.
    harness.ask(Harness.evaluate([5, 6], .scores))
    harness.settle()
    #expect(harness.outcome().isOver && harness.outcome().failed == nil)
  }

  @Test func `each part carries the sums of its rows, in order, to the last`() {
    let harness = serving()
    let count = harness.machine.model.observationLayout.count
    harness.ask(Harness.evaluate((0..<40).map { Int32($0) + 5 }, .inputs))
    var answered = 0
    while answered < harness.sentSteps.count {
      let step = harness.sentSteps[answered]
      #expect(step.rows.allSatisfy { $0.output == .inputs })
      answer(harness, step, [Array(repeating: Float(answered) + 0.5, count: count)])
      answered += 1
    }
    let outcome = harness.outcome()
    #expect(outcome.evaluated.map(\.firstPosition) == [0, 16, 32])
    #expect(outcome.evaluated.map(\.rowCount) == [16, 16, 8])
    #expect(outcome.evaluated.map(\.isLast) == [false, false, true])
    #expect(outcome.evaluated.allSatisfy { $0.scores.isEmpty })
    #expect(outcome.logits == (0..<3).map { Array(repeating: Float($0) + 0.5, count: count) })
    #expect(harness.killed.isEmpty && harness.machine.sessions.isEmpty)
  }

  @Test func `another number of sums, or other payloads, end the last stage`() {
    let honest = serving().machine.model.observationLayout.count
    let sums = Array(repeating: Float(1), count: honest)
    let logits = Array(repeating: Float(0), count: 2 * 64)
    let lies: [[[Float]]] = [
      [], [[]], [Array(sums.dropLast())], [sums + [0]], [sums, sums], [logits], [logits, sums],
    ]
    for payloads in lies + [[sums]] {
      let harness = serving()
      harness.ask(Harness.evaluate([5, 6], .inputs))
      answer(harness, harness.sentSteps[0], payloads)
      let isHonest = payloads == [sums]
      #expect(harness.killed == (isHonest ? [] : ["cpu-1"]), "\(payloads.map(\.count))")
      #expect(harness.outcome().evaluated.count == (isHonest ? 1 : 0))
      #expect(harness.outcome().failed == nil)
    }
  }

  @Test func `sums that nobody has asked for end the last stage`() {
    let harness = serving()
    harness.ask(Harness.evaluate([5, 6], .scores))
    let sums = Array(repeating: Float(1), count: harness.machine.model.observationLayout.count)
    answer(harness, harness.sentSteps[0], [sums])
    #expect(harness.killed == ["cpu-1"])
  }

  /// Sums of several sessions could not be told apart.
  ///
  /// Whoever came first, its rows are alone.
  @Test(arguments: [EvaluationKind.inputs, .logits, .scores], [false, true])
  func `no other evaluation is in a micro-batch with it`(
    _ other: EvaluationKind,
    _ comesFirst: Bool
  ) {
    let harness = observing()
    let kinds: [EvaluationKind] =
      (comesFirst ? [other, .inputs] : [.inputs, other]) + [other, other]
    for (request, kind) in kinds.enumerated() {
      harness.ask(Harness.evaluate([5, 6, 7, Int32(request)], kind, request: UInt64(request)))
    }
    expectAlone(harness)
  }

  @Test func `no session that generates is in a micro-batch with it`() {
    let harness = observing()
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1))
    harness.ask(Harness.generate(.tokens([7, 8, 9]), request: 2))
    harness.ask(Harness.evaluate((0..<40).map { Int32($0) + 5 }, .inputs, request: 3))
    harness.ask(Harness.generate(.tokens([4, 8]), request: 4))
    expectAlone(harness)
  }

  /// Answers all steps, and expects that rows which want sums have a step of one session alone.
  private func expectAlone(_ harness: Harness) {
    // All requests wait when the workers come, so that a micro-batch could have rows of several.
    harness.startAll()
    harness.settle(computing: false)
    let count = harness.machine.model.observationLayout.count
    var answered = 0
    while answered < harness.sentSteps.count, answered < 100 {
      let step = harness.sentSteps[answered]
      var payloads: [[Float]] = []
      let logitsRows = step.rows.count { $0.output == .logits }
      if logitsRows > 0 { payloads.append(Array(repeating: 0, count: 64 * logitsRows)) }
      if step.rows.contains(where: { $0.output == .inputs }) {
        #expect(Set(step.rows.map(\.slot)).count == 1, "\(step.rows)")
        payloads.append(Array(repeating: 1, count: count))
      }
      answer(harness, step, payloads)
      answered += 1
    }
    #expect(harness.killed.isEmpty && harness.machine.sessions.isEmpty)
    #expect(harness.sentSteps.contains { $0.rows.contains { $0.output == .inputs } })
  }
}
