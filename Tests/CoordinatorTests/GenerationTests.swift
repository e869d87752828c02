// What becomes of the tokens: text, its end, several sessions at once, evaluations, and steps that
// fail.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Generation` {
  private let tokenizer: Tokenizer

  init() throws { tokenizer = try Tokenizer.load(for: Goldens.demoModel.path) }

  /// A coordinator whose model answers the prompt [2, 5] with a text.
  private func answering(
    _ text: String,
    context: Int = 64,
    ends: [Int32] = [1],
    then last: Int32? = nil
  ) -> Harness {
    var tokens = tokenizer.encode(text, addBOS: false, parseSpecial: false)
    if let last { tokens.append(last) }
    var model = TokenModel(vocabularySize: 1024)
    for (index, token) in tokens.enumerated() { model.script[2 + index] = token }
    let harness = Harness(
      limits: Harness.limits(context: context),
      model: model,
      served: Harness.served(vocabularySize: 1024, ends: ends, tokenizer: tokenizer)
    )
    harness.serve()
    return harness
  }

  private let prompt = Prompt.tokens([2, 5])

  // MARK: The end of an answer

  @Test func `max tokens ends it, with all its text`() {
    let harness = answering("To be, or not to be, that is the question")
    harness.ask(Harness.generate(prompt, count: 6))
    harness.settle()
    let outcome = harness.outcome()
    let want = tokenizer.encode(
      "To be, or not to be, that is the question",
      addBOS: false,
      parseSpecial: false
    )
    #expect(outcome.tokens == Array(want.prefix(6)))
    #expect(outcome.text == (try? tokenizer.decode(outcome.tokens, skipSpecial: true)))
    #expect(outcome.finished?.reason == .length)
    #expect(outcome.finished?.promptTokens == 2)
    #expect(outcome.finished?.generatedTokens == 6)
    #expect(outcome.finished?.placement.map(\.worker) == ["cpu-0", "cpu-1"])
    #expect(outcome.finished?.placement.map(\.endLayer) == [2, 6])
  }

  @Test func `the end of the turn ends it and is no part of it`() {
    let harness = answering("Good morrow", then: 6)
    let served = answering("Good morrow", ends: [1, 6], then: 6)
    served.ask(Harness.generate(prompt, count: 20))
    served.settle()
    #expect(served.outcome().text == "Good morrow")
    #expect(served.outcome().finished?.reason == .stop)
    #expect(served.outcome().finished?.stop == "")
    #expect(!served.outcome().tokens.contains(6))
    #expect(served.outcome().finished?.generatedTokens == served.outcome().tokens.count)
    // Where the model does not end turns with it, it is a token like others.
    harness.ask(Harness.generate(prompt, count: 20))
    harness.settle()
    #expect(harness.outcome().tokens.contains(6))
  }

  @Test func `the end of the turn can be ignored`() {
    let harness = answering("Good morrow", ends: [6], then: 6)
    harness.ask(Harness.generate(prompt, count: 20, ignoresEnd: true))
    harness.settle()
    #expect(harness.outcome().tokens.count == 20)
    #expect(harness.outcome().tokens.contains(6))
    #expect(harness.outcome().finished?.reason == .length)
  }

  @Test func `a stop string ends it before the string, wherever tokens cut it`() {
    let harness = answering("ROMEO: What light?\nJULIET: None.")
    harness.ask(Harness.generate(prompt, count: 60, stops: ["\nJULIET", "never"]))
    harness.settle()
    #expect(harness.outcome().text == "ROMEO: What light?")
    #expect(harness.outcome().finished?.reason == .stop)
    #expect(harness.outcome().finished?.stop == "\nJULIET")
    #expect(harness.outcome().tokens.count < 60)
  }

  @Test func `text held back for a stop string that does not come is shown at the end`() {
    let harness = answering("What light", then: 6)
    harness.ask(Harness.generate(prompt, count: 60, stops: ["light through"]))
    harness.settle()
    #expect(harness.outcome().text.hasPrefix("What light"))
    let ended = answering("What light", ends: [6], then: 6)
    ended.ask(Harness.generate(prompt, count: 60, stops: ["light through"]))
    ended.settle()
    #expect(ended.outcome().text == "What light")
    #expect(ended.outcome().finished?.reason == .stop)
  }

  @Test func `letters of several tokens are shown whole, and a broken one at the end`() throws {
    let harness = answering("Ω👋🏽", then: 1)
    harness.ask(Harness.generate(prompt, count: 60))
    harness.settle()
    #expect(harness.outcome().text == "Ω👋🏽")
    for case .delta(let delta) in harness.replies { #expect(!delta.text.contains("\u{FFFD}")) }
    let tokens = tokenizer.encode("👋", addBOS: false, parseSpecial: false)
    try #require(tokens.count > 1)
    let cut = answering("👋")
    cut.ask(Harness.generate(prompt, count: tokens.count - 1))
    cut.settle()
    #expect(cut.outcome().text == "\u{FFFD}")
  }

  @Test func `a full context ends it, and every token of it is used`() {
    let harness = Harness(limits: Harness.limits(context: 12))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6, 7]), count: 100))
    harness.settle()
    #expect(harness.outcome().tokens.count == 9)
    #expect(harness.outcome().finished?.reason == .length)
    let positions = harness.sentSteps.flatMap { $0.rows.map(\.position) }
    #expect(positions == Array(0..<11))
  }

  // MARK: Log probabilities

  @Test func `each token comes with its log probability, its text and the likeliest`() throws {
    let harness = answering("Good morrow, my lord", ends: [6], then: 6)
    harness.ask(
      Harness.generate(prompt, count: 40) {
        $0.sampling.returnsLogProbabilities = true
        $0.sampling.likeliest = 3
      }
    )
    harness.settle()
    let outcome = harness.outcome()
    // None for the end of the turn, which is no token of the answer.
    try #require(outcome.scored.map(\.drawn.token) == outcome.tokens && !outcome.tokens.isEmpty)
    #expect(outcome.finished?.reason == .stop)
    let bytes = outcome.scored.flatMap(\.drawn.piece)
    #expect(String(decoding: bytes, as: UTF8.self) == outcome.text)
    var tokens: [Int32] = [2, 5]
    for scored in outcome.scored {
      let logits = harness.model.logits(tokens)
      let best = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }.prefix(3)
      #expect(scored.likeliest.map { Int($0.token) } == Array(best))
      for score in [scored.drawn] + scored.likeliest {
        #expect(score.logProbability == harness.model.score(tokens, target: score.token))
        #expect(score.piece == tokenizer.bytes(of: score.token))
        #expect(score.isSpecial == tokenizer.isSpecial(score.token))
      }
      tokens.append(scored.drawn.token)
    }
  }

  @Test func `without being asked for, no log probabilities come`() {
    let harness = answering("Good morrow")
    harness.ask(Harness.generate(prompt, count: 4))
    harness.settle()
    #expect(harness.outcome().tokens.count == 4 && harness.outcome().scored.isEmpty)
  }

  // MARK: Several at once

  @Test func `sessions together get the tokens that each gets alone`() {
    let prompts = (0..<7).map { (index: Int32) in
      (0..<(1 + 7 * index)).map { (at: Int32) in 3 + (at * 5 + index) % 60 }
    }
    let harness = Harness(plan: Harness.plan(3), limits: Harness.limits(slots: 3, maxRows: 8))
    harness.serve()
    for (index, prompt) in prompts.enumerated() {
      harness.ask(
        Harness.generate(
          .tokens(prompt),
          request: UInt64(index),
          count: 5 + index,
          seed: UInt64(index)
        )
      )
    }
    harness.settle()
    for (index, prompt) in prompts.enumerated() {
      let want = harness.model.continuation(
        of: prompt,
        Harness.sampling(seed: UInt64(index)),
        count: 5 + index,
        ends: [1]
      )
      #expect(harness.outcome(UInt64(index)).tokens == want, "session \(index)")
    }
    #expect(harness.sentSteps.allSatisfy { $0.rows.count <= 8 })
    #expect(harness.sentSteps.contains { Set($0.rows.map(\.slot)).count > 1 })
  }

  @Test func `as many micro-batches are under way as there are stages`() {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    for request in UInt64(1)...4 {
      harness.ask(Harness.generate(.tokens([5, 6]), request: request))
    }
    // The first came alone, the others share what was left.
    #expect(harness.machine.flight.count == 3)
    harness.settle()
    #expect(harness.machine.flight.isEmpty)
  }

  // MARK: Evaluations

  @Test func `logits come for every token, in order and in pieces`() {
    var limits = Harness.limits()
    limits.maxLogits = 3 * 64
    let harness = Harness(limits: limits)
    harness.serve()
    let tokens: [Int32] = [5, 9, 13, 4, 8, 12, 3]
    harness.ask(Harness.evaluate(tokens, .logits))
    harness.settle()
    let outcome = harness.outcome()
    #expect(outcome.evaluated.map(\.firstPosition) == [0, 3, 6])
    #expect(outcome.evaluated.map(\.rowCount) == [3, 3, 1])
    #expect(outcome.evaluated.map(\.isLast) == [false, false, true])
    let want = tokens.indices.flatMap { harness.model.logits(Array(tokens[...$0])) }
    #expect(Array(outcome.logits.joined()) == want)
    #expect(harness.machine.sessions.isEmpty)
  }

  @Test func `scores come for the tokens from the first asked for on`() {
    let harness = Harness()
    harness.serve()
    let tokens: [Int32] = Array(3..<40)
    for (request, first) in [0, 1, 20, 36, 37].enumerated() {
      harness.ask(
        Harness.evaluate(tokens, .scores, request: UInt64(request), firstScored: first)
      )
      harness.settle()
      let want = (max(1, first)..<max(1, first, tokens.count)).map {
        harness.model.score(Array(tokens[..<$0]), target: tokens[$0])
      }
      let outcome = harness.outcome(UInt64(request))
      #expect(outcome.evaluated.flatMap(\.scores) == want)
      #expect(outcome.evaluated.last?.isLast == true)
      #expect(outcome.evaluated.reduce(0) { $0 + $1.rowCount } == tokens.count)
    }
  }

  // MARK: Steps that fail

  /// Makes the next failure of a request's step the last that is put up with.
  private func exhaustPatience(_ harness: Harness, _ request: UInt64) {
    let requests = harness.machine.requests
    for id in requests.numbers where requests[id]?.number == request {
      for _ in 0..<2 { harness.machine.sessions.update(id) { $0.countFailedStep() } }
    }
  }

  @Test func `a step that fails ends both sides of the hand-off, and no session`() throws {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    try #require(harness.worker("cpu-1")).nextFailure = .step
    harness.settle()
    #expect(harness.killed == ["cpu-0", "cpu-1"])
    harness.start(Harness.hello("cpu-0"))
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
    #expect(harness.machine.epoch.number == 2)
  }

  @Test func `a session whose steps fail three times over is ended, and no other`() throws {
    let harness = Harness(limits: Harness.limits(slots: 2))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1))
    harness.ask(Harness.generate(.tokens([7]), request: 2))
    for attempt in 1...3 {
      #expect(harness.outcome(1).failed == nil, "attempt \(attempt)")
      try #require(harness.worker("cpu-0")).nextFailure = .step
      harness.settle()
      if attempt < 3 { harness.start(Harness.hello("cpu-0")) }
      harness.settle(computing: false)
    }
    #expect(harness.outcome(1).failed?.code == .internal)
    let want = harness.model.continuation(of: [7], Harness.sampling(), count: 8)
    #expect(harness.outcome(2).tokens == want)
    #expect(harness.killed == ["cpu-0", "cpu-0"])
  }

  @Test func `a step that does not fit a stage may end its own sessions alone`() throws {
    let harness = Harness(limits: Harness.limits(slots: 2))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1))
    exhaustPatience(harness, 1)
    try #require(harness.worker("cpu-1")).nextFailure = .step
    harness.ask(Harness.generate(.tokens([7]), request: 2))
    harness.settle()
    #expect(harness.outcome(1).failed?.code == .internal)
    #expect(harness.outcome(1).failed?.message.contains("cpu-1") == true)
    let want = harness.model.continuation(of: [7], Harness.sampling(), count: 8)
    #expect(harness.outcome(2).tokens == want)
    #expect(harness.machine.epoch.number == 1)
    // Its slot is as good as new.
    harness.ask(Harness.generate(.tokens([8]), request: 3))
    harness.settle()
    #expect(
      harness.outcome(3).tokens
        == harness.model.continuation(of: [8], Harness.sampling(), count: 8)
    )
  }

  @Test func `a session behind a failed step is replayed, and a slot it cleared is cleared again`()
    throws
  {
    let harness = Harness(limits: Harness.limits(slots: 2, maxRows: 4))
    harness.serve()
    let stages = try ["cpu-0", "cpu-1"].map { try #require(harness.worker($0)) }
    /// Lets one step through both stages.
    func computeOne() {
      for stage in stages { harness.compute(stage.hello.dataEndpoint) }
      harness.settle(computing: false)
    }
    harness.ask(Harness.generate(.tokens([5, 6]), request: 1, count: 1))
    harness.ask(Harness.generate(.tokens(Array(20..<32)), request: 2))
    harness.ask(Harness.generate(.tokens([8, 9]), request: 3))
    // The first has its only token; the third gets its slot.
    computeOne()
    computeOne()
    try #require(harness.sentSteps.count == 4)
    let (failing, behind) = (harness.sentSteps[2], harness.sentSteps[3])
    try #require(failing.cleared.count == 1)
    try #require(Set(behind.rows.map(\.slot)) == [0, 1])
    exhaustPatience(harness, 2)
    stages[0].nextFailure = .step
    harness.settle()
    #expect(harness.outcome(2).failed?.code == .internal)
    let want = harness.model.continuation(of: [8, 9], Harness.sampling(), count: 8)
    #expect(harness.outcome(3).failed == nil)
    #expect(harness.outcome(3).tokens == want)
    #expect(harness.machine.epoch.number == 1)
    #expect(harness.machine.sessions.freeSlots.sorted() == [0, 1])
  }

  @Test func `a slot that only the failed step cleared is cleared again`() throws {
    let harness = Harness(limits: Harness.limits(slots: 2, maxRows: 4))
    harness.serve()
    for request in UInt64(1)...2 {
      harness.ask(Harness.generate(.tokens([5, 6 + Int32(request)]), request: request, count: 1))
    }
    harness.settle()
    harness.ask(Harness.generate(.tokens(Array(20..<32)), request: 2))
    let cleared = harness.sentSteps.first { $0.rows.contains { $0.token == 20 } }?.cleared
    try #require(cleared == [0])
    exhaustPatience(harness, 2)
    try #require(harness.worker("cpu-0")).nextFailure = .step
    harness.settle()
    #expect(harness.outcome(2).failed != nil)
    for request in UInt64(3)...4 {
      harness.ask(Harness.generate(.tokens([8, 9]), request: request))
    }
    harness.settle()
    let want = harness.model.continuation(of: [8, 9], Harness.sampling(), count: 8)
    #expect(harness.outcome(3).tokens == want)
    #expect(harness.outcome(4).tokens == want)
  }

  @Test func `a failed step is judged when those before it have come back`() throws {
    let harness = Harness(limits: Harness.limits(slots: 1, maxRows: 4))
    harness.serve()
    let stages = try ["cpu-0", "cpu-1"].map { try #require(harness.worker($0)) }
    harness.ask(Harness.generate(.tokens(Array(20..<32))))
    exhaustPatience(harness, 1)
    harness.compute(stages[0].hello.dataEndpoint)
    stages[0].nextFailure = .step
    harness.compute(stages[0].hello.dataEndpoint)
    harness.deliver(from: stages[0].results)
    #expect(harness.outcome().failed == nil)
    harness.compute(stages[1].hello.dataEndpoint)
    harness.deliver(from: stages[1].results)
    #expect(harness.outcome().failed?.code == .internal)
    harness.settle()
    #expect(harness.machine.sessions.freeSlots == [0])
  }

  @Test func `a step that finds a gap behind a lost one is replayed with it`() throws {
    let harness = Harness(limits: Harness.limits(slots: 1, maxRows: 4))
    harness.serve()
    let stages = try ["cpu-0", "cpu-1"].map { try #require(harness.worker($0)) }
    let prompt: [Int32] = Array(20..<32)
    harness.ask(Harness.generate(.tokens(prompt)))
    try #require(harness.sentSteps.count == 2)
    // The first chunk is not handed on; the second is, and does not fit.
    stages[0].nextFailure = .handOff
    harness.compute(stages[0].hello.dataEndpoint)
    harness.compute(stages[0].hello.dataEndpoint)
    harness.compute(stages[1].hello.dataEndpoint)
    // The second one's failure comes first.
    harness.deliver(from: stages[1].results)
    #expect(harness.outcome().failed == nil)
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    #expect(
      harness.outcome().tokens
        == harness.model.continuation(of: prompt, Harness.sampling(), count: 8)
    )
  }

  @Test func `an evaluation that is replayed says nothing twice`() throws {
    var limits = Harness.limits()
    limits.maxLogits = 2 * 64
    for kind in [EvaluationKind.logits, .scores] {
      let harness = Harness(limits: limits)
      harness.serve()
      harness.ask(Harness.evaluate([5, 9, 13, 4, 8, 12, 3, 7], kind))
      for _ in 0..<2 {
        for worker in harness.workers { harness.compute(worker.hello.dataEndpoint) }
        harness.settle(computing: false)
      }
      #expect(harness.outcome().evaluated.count == 2)
      harness.crash(try #require(harness.worker("cpu-1")))
      harness.handle(.workerExited(name: "cpu-1", how: "died", willRestart: true))
      harness.start(Harness.hello("cpu-1"))
      harness.settle()
      let parts = harness.outcome().evaluated
      #expect(parts.map(\.firstPosition) == [0, 2, 4, 6])
      #expect(parts.map(\.isLast) == [false, false, false, true])
    }
  }

  @Test func `a hand-off that fails is replayed in a new epoch`() throws {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    try #require(harness.worker("cpu-0")).nextFailure = .handOff
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
    harness.stepsToRefuse = 1
    harness.ask(Harness.generate(.tokens([7]), request: 2))
    harness.settle()
    #expect(harness.machine.epoch.number == 3)
    #expect(
      harness.outcome(2).tokens
        == harness.model.continuation(of: [7], Harness.sampling(), count: 8)
    )
  }

  @Test func `a hand-off that fails twice over ends both of its sides`() throws {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    for _ in 0..<2 {
      #expect(harness.killed.isEmpty)
      try #require(harness.worker("cpu-1")).nextFailure = .handOff
      harness.settle()
      if harness.killed.isEmpty {
        #expect(harness.outcome().finished != nil)
        _ = harness.machine.epoch.countFruitless()
        harness.ask(Harness.generate(.tokens([5, 6])))
      }
    }
    #expect(harness.killed == ["cpu-1", "cpu-2"])
  }

  @Test func `a pipeline that never brings a step to its end is given up`() {
    let harness = Harness()
    harness.serve()
    harness.stepsToRefuse = 100
    harness.ask(Harness.generate(.tokens([5])))
    // The shell ends at the first failure; the machine alone would go on.
    for _ in 0..<100 where harness.failures.isEmpty {
      if let worker = harness.workers.first(where: { $0.preparing != nil }) {
        harness.finishPreparing(worker)
      }
      harness.settle(computing: false)
    }
    #expect(harness.failures.first?.code == .worker)
    #expect(harness.failures.first?.message.contains("epochs in a row") == true)
  }
}
