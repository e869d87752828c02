// Answers that must conform to something: masks and biases on their way to where tokens are drawn, through
// real stages, and what becomes of them when a worker is lost.

import Compute
import Gemma
import Testing
import Wire

@testable import Coordinator
@testable import Worker

@Suite struct `Constrained answers` {
  private let vocabularySize = 64
  private let prompt: [Int32] = [5, 6]

  /// Three workers with layers, the last of which shares the logits with a fourth.
  private func serving(_ end: Int = .max, slots: Int = 4) -> Harness {
    let line = ModelLine(layerCount: Harness.layerCount, vocabularySize: vocabularySize)
    let plan = [0..<2, 2..<4, 4..<12, 12..<line.pieceCount].enumerated().map { index, pieces in
      PlannedWorker(name: "cpu-\(index)", device: "cpu", slice: line.slice(pieces: pieces))
    }
    let harness = Harness(plan: plan, limits: Harness.limits(slots: slots))
    let vocabularySize = vocabularySize
    // Requests with even numbers are free.
    harness.machine.constrain = {
      $0.request % 2 == 1 ? Fifths(vocabularySize: vocabularySize, end: end) : nil
    }
    harness.serve()
    return harness
  }

  /// What must come: drawn from the model's logits with the others made impossible.
  private func expected(_ harness: Harness, count: Int, _ sampling: Sampling) -> [Int32] {
    var tokens = prompt
    for place in 0..<count {
      let allowed = Fifths.tokens(at: place, of: vocabularySize)
      var logits = harness.model.logits(tokens)
      for index in logits.indices where !allowed.contains(Int32(index)) {
        logits[index] = -.infinity
      }
      tokens.append(
        Sampler.sample(
          logits: logits,
          history: tokens,
          position: tokens.count - 1,
          SamplingParameters(sampling)
        )
      )
    }
    return Array(tokens[prompt.count...])
  }

  private func expectAllowed(_ tokens: [Int32]) {
    for (place, token) in tokens.enumerated() {
      #expect(Fifths.tokens(at: place, of: vocabularySize).contains(token), "\(tokens)")
    }
  }

  @Test func `an answer consists of allowed tokens, and of no others, beside free ones`() {
    let harness = serving()
    harness.ask(Harness.generate(.tokens(prompt), request: 1, count: 12))
    harness.ask(Harness.generate(.tokens(prompt), request: 2, count: 12))
    harness.settle()
    let outcome = harness.outcome(1)
    expectAllowed(outcome.tokens)
    #expect(outcome.tokens == expected(harness, count: 12, Harness.sampling()))
    #expect(outcome.finished?.reason == .length)
    let free = harness.model.continuation(of: prompt, Harness.sampling(), count: 12)
    #expect(harness.outcome(2).tokens == free && free != outcome.tokens)
  }

  @Test(arguments: 0..<4) func `it is the same when a worker is lost over it`(_ lost: Int) throws {
    let harness = serving()
    harness.ask(Harness.generate(.tokens(prompt), request: 1, count: 12))
    while harness.outcome(1).tokens.count < 5 {
      let endpoint = try #require(harness.steps.keys.min())
      harness.compute(endpoint)
      harness.settle(computing: false)
    }
    harness.crash(try #require(harness.worker("cpu-\(lost)")))
    harness.handle(.workerExited(name: "cpu-\(lost)", how: "died", willRestart: true))
    harness.start(Harness.hello("cpu-\(lost)"))
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    #expect(harness.outcome(1).tokens == expected(harness, count: 12, Harness.sampling()))
  }

  @Test func `where no token is allowed the request fails, and no other`() {
    let harness = serving(3)
    harness.ask(Harness.generate(.tokens(prompt), request: 1, count: 12))
    harness.ask(Harness.generate(.tokens(prompt), request: 2, count: 12))
    harness.settle()
    #expect(harness.outcome(1).tokens == expected(harness, count: 3, Harness.sampling()))
    #expect(harness.outcome(1).failed?.code == .constraint)
    #expect(harness.outcome(1).failed?.message.contains("no token is allowed") == true)
    #expect(harness.outcome(2).finished?.reason == .length)
    #expect(harness.killed.isEmpty)
    // As many as are wanted may come, even if none could follow.
    harness.ask(Harness.generate(.tokens(prompt), request: 3, count: 3))
    harness.settle()
    #expect(harness.outcome(3).finished?.reason == .length)
  }

  @Test func `an answer that cannot begin is refused`() {
    let harness = serving(0)
    harness.ask(Harness.generate(.tokens(prompt), request: 1))
    #expect(harness.outcome(1).failed?.code == .constraint)
    #expect(harness.machine.sessions.isEmpty && harness.sentSteps.isEmpty)
  }

  @Test func `a mask beyond the vocabulary fails the request, not the workers`() {
    let harness = serving()
    harness.machine.constrain = { _ in Fifths(vocabularySize: 70) }
    harness.ask(Harness.generate(.tokens(prompt), request: 1))
    harness.settle()
    #expect(harness.outcome(1).failed?.code == .constraint)
    #expect(harness.outcome(1).failed?.message.contains("the vocabulary has 64") == true)
    #expect(harness.killed.isEmpty)
  }

  @Test func `a worker that draws what is not allowed is ended`() throws {
    let harness = serving()
    harness.ask(Harness.generate(.tokens(prompt), request: 1))
    let last = try #require(harness.worker("cpu-3"))
    let result = RowResult(slot: 0, position: 1, token: 6, logProbability: 0)
    let done = StepDone(
      epoch: 1,
      sequence: 1,
      results: [result],
      stageMicroseconds: [1, 1, 1, 1]
    )
    harness.post(.stepDone(done), from: last.results)
    harness.deliver(from: last.results)
    #expect(harness.killed == ["cpu-3"])
    #expect(harness.outcome(1).tokens.isEmpty)
  }

  // MARK: Biases

  @Test func `biases make tokens certain or impossible`() {
    let harness = serving()
    harness.ask(
      Harness.generate(.tokens(prompt), request: 2, count: 6) {
        $0.sampling.biases = [TokenBias(token: 40, value: 100)]
      }
    )
    harness.settle()
    #expect(harness.outcome(2).tokens == Array(repeating: 40, count: 6))
    let free = harness.model.continuation(of: prompt, Harness.sampling(), count: 1)
    harness.ask(
      Harness.generate(.tokens(prompt), request: 4, count: 6) {
        $0.sampling.biases = free.map { TokenBias(token: $0, value: -100) }
      }
    )
    harness.settle()
    #expect(harness.outcome(4).tokens.count == 6 && !harness.outcome(4).tokens.contains(free[0]))
  }

  @Test func `biases of no token, or two of one, are refused by name`() {
    let harness = serving()
    let cases: [([Int32], String)] = [
      ([3, 64], "bias of token 64"), ([-1], "bias of token -1"),
      ([3, 4, 3], "token 3 has two biases"),
    ]
    for (index, (tokens, words)) in cases.enumerated() {
      let request = UInt64(2 * index)
      harness.ask(
        Harness.generate(.tokens(prompt), request: request) {
          $0.sampling.biases = tokens.map { TokenBias(token: $0, value: 1) }
        }
      )
      #expect(harness.outcome(request).failed?.code == .invalid)
      #expect(harness.outcome(request).failed?.message.hasPrefix(words) == true)
    }
  }
}
