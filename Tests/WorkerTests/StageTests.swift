// A stage at work on the reference backend: what it refuses, and what it makes of a last stage's
// logits.

import Compute
import Foundation
import Platform
import Testing
import TestSupport
import Wire
import Worker

@Suite struct `A stage` {
  private let maker: StageMaker

  init() throws { maker = try StageMaker("gemma3-random-a") }

  /// Returns why a step is refused; nil if it is not.
  private func refusal(_ stage: Stage, _ step: Step, _ payloads: [[Float]]? = nil) -> String? {
    do {
      _ = try stage.run(step, payloads: payloads ?? maker.handOff(step.rows))
      return nil
    } catch {
      #expect(error.code == .step)
      return "\(error)"
    }
  }

  private func logits(_ stage: Stage, _ rows: [StepRow], cleared: [Int] = []) throws -> [Float] {
    let step = maker.step(rows, cleared: cleared)
    let (_, payloads) = try #require(try stage.finish(step, maker.handOff(rows)))
    return payloads.first ?? []
  }

  // MARK: Refusals

  @Test func `a step of another epoch is refused by name`() throws {
    let stage = try maker.lastStage()
    let rows = chunk(slot: 0, [5], output: .logits)
    #expect(
      refusal(stage, maker.step(rows, epoch: 2))?
        .contains("the step is of epoch 2, but this stage is of epoch 1") == true
    )
    // Not even its clears are done: slot 0 goes on where it was.
    _ = try logits(stage, rows)
    #expect(refusal(stage, maker.step([], cleared: [0], epoch: 2)) != nil)
    _ = try logits(stage, chunk(slot: 0, [6], from: 1, output: .logits))
  }

  @Test func `slots, positions and tokens outside their bounds are refused by name`() throws {
    let stage = try maker.lastStage()
    func biased(_ token: Int32) -> [StepRow] {
      var sampling = Sampling.greedy
      sampling.biases = [TokenBias(token: token, value: 1)]
      return chunk(slot: 0, [5], output: .sample(sampling))
    }
    func masked(_ allowed: AllowedTokens) -> [StepRow] {
      var rows = chunk(slot: 0, [5], output: .sample(.greedy))
      rows[0].mask = TokenMask(allowed: allowed)
      return rows
    }
    let faults: [(step: Step, text: String)] = [
      (maker.step(chunk(slot: 3, [5])), "slot 3 outside 0..<3"),
      (maker.step([], cleared: [0, 3]), "slot 3 outside 0..<3"),
      (maker.step([], cleared: [-1]), "slot -1 outside 0..<3"),
      (maker.step(chunk(slot: 0, [256])), "token 256 outside 0..<256"),
      (maker.step(chunk(slot: 0, [-1])), "token -1 outside 0..<256"),
      (
        maker.step(chunk(slot: 0, [5], output: .score(target: 256))),
        "target 256 outside 0..<256"
      ),
      (maker.step(biased(256)), "bias of token 256 outside 0..<256"),
      (maker.step(masked(.tokens([256]))), "token 256 is allowed, the vocabulary has 256"),
      (maker.step(masked(.bits([0, 0]))), "no token is allowed"),
      (maker.step(chunk(slot: 0, [5], from: 64)), "position 64 outside 0..<64"),
      (maker.step(chunk(slot: 0, Array(repeating: 5, count: 17))), "17 rows, at most 16"),
    ]
    for fault in faults {
      let message = refusal(stage, fault.step)
      #expect(message?.contains(fault.text) == true, "\(message ?? "accepted")")
    }
  }

  @Test func `a gap in a slot's positions is refused, and nothing of the step has run`() throws {
    let stage = try maker.lastStage()
    _ = try logits(stage, chunk(slot: 0, [5, 6]) + chunk(slot: 1, [7]))
    // Slot 0 is right, slot 1 leaves a position out: neither may have advanced.
    let gap = chunk(slot: 0, [8], from: 2) + chunk(slot: 1, [9], from: 2)
    #expect(
      refusal(stage, maker.step(gap, sequence: 41))?
        .contains("slot 1 holds 1 positions, but the row is at 2") == true
    )
    #expect(refusal(stage, maker.step(gap, sequence: 41))?.contains("step 41 failed") == true)
    #expect(refusal(stage, maker.step(chunk(slot: 0, [8], from: 1))) != nil)
    let right = chunk(slot: 0, [8], from: 2, output: .logits)
    let other = try maker.lastStage()
    _ = try logits(other, chunk(slot: 0, [5, 6]))
    #expect(try logits(stage, right) == logits(other, right))
  }

  @Test func `a copy of a step, and one of another epoch, are none of the stage's`() throws {
    let stage = try maker.lastStage()
    let step = maker.step(chunk(slot: 0, [5]), sequence: 7)
    #expect(stage.reasonToDrop(step) == nil)
    _ = try stage.run(step, payloads: maker.handOff(step.rows))
    #expect(stage.reasonToDrop(step) == "step 7 has come after step 7")
    #expect(stage.reasonToDrop(maker.step([], sequence: 6)) != nil)
    #expect(stage.reasonToDrop(maker.step([], sequence: 8)) == nil)
    let other = maker.step([], sequence: 8, epoch: 2)
    #expect(stage.reasonToDrop(other) == "the step is of epoch 2, but this stage is of epoch 1")
    // One that could not be run does not come again either.
    #expect(refusal(stage, maker.step(chunk(slot: 9, [5]), sequence: 9)) != nil)
    #expect(stage.reasonToDrop(maker.step([], sequence: 9)) != nil)
  }

  @Test func `activations that do not fit the rows are refused by name`() throws {
    let stage = try maker.lastStage()
    let rows = chunk(slot: 0, [5, 6])
    let short = [Array(maker.handOff(rows)[0].dropLast())]
    #expect(
      refusal(stage, maker.step(rows), short)?
        .contains("input streams has 127 values, 128 expected") == true
    )
    #expect(refusal(stage, maker.step(rows), [])?.contains("0 inputs") == true)
    let first = try maker.stage(0..<1)
    #expect(refusal(first, maker.step(rows))?.contains("1 inputs, but the program has 0") == true)
  }

  // MARK: Results

  @Test func `logits come back in the order of the rows that ask`() throws {
    let stage = try maker.lastStage()
    var rows = chunk(slot: 2, [5, 6, 7], output: .logits) + chunk(slot: 0, [8, 9])
    rows[1].output = .none
    rows[4].output = .logits
    let step = maker.step(rows, sequence: 9)
    let (done, payloads) = try #require(try stage.finish(step, maker.handOff(rows)))
    #expect(done.epoch == 1)
    #expect(done.sequence == 9)
    #expect(done.results.map(\.slot) == [2, 2, 0])
    #expect(done.results.map(\.position) == [0, 2, 1])
    #expect(payloads.count == 1)
    let size = maker.vocabularySize
    let got = try #require(payloads.first)
    try #require(got.count == 3 * size)
    // Each alone, on a stage of its own.
    let alone = try maker.lastStage()
    let first = try logits(alone, chunk(slot: 0, [5, 6, 7], output: .logits))
    let second = try logits(alone, chunk(slot: 1, [8, 9], output: .logits))
    #expect(Array(got[..<size]) == Array(first[..<size]))
    #expect(Array(got[size..<(2 * size)]) == Array(first[(2 * size)...]))
    #expect(Array(got[(2 * size)...]) == Array(second[size...]))
  }

  @Test func `a score is the logarithm of the softmax of the row's logits`() throws {
    let (stage, other) = (try maker.lastStage(), try maker.lastStage())
    let tokens: [Int32] = [17, 200, 3]
    let logits = try logits(other, chunk(slot: 0, tokens, output: .logits))
    var rows = chunk(slot: 0, tokens)
    let targets: [Int32] = [0, 255, 42]
    for (index, target) in targets.enumerated() { rows[index].output = .score(target: target) }
    let (done, payloads) = try #require(try stage.finish(maker.step(rows), maker.handOff(rows)))
    #expect(payloads.isEmpty)
    #expect(done.results.map(\.token) == targets)
    for (index, result) in done.results.enumerated() {
      let line = logits[(index * maker.vocabularySize)...].prefix(maker.vocabularySize)
      let sum = line.reduce(0.0) { $0 + exp(Double($1)) }
      let want = log(exp(Double(line[line.startIndex + Int(targets[index])])) / sum)
      #expect(abs(result.logProbability - want) < 1e-9)
    }
  }

  @Test func `a sampled token is the sampler's choice from the same logits and history`() throws {
    let (stage, other) = (try maker.lastStage(), try maker.lastStage())
    let sampling = Sampling(
      temperature: 1.7,
      topK: 60,
      topP: 0.98,
      minP: 0.0001,
      repeatPenalty: 3,
      repeatWindow: 4,
      seed: 99
    )
    let parameters = SamplingParameters(
      temperature: 1.7,
      topK: 60,
      topP: 0.98,
      minP: 0.0001,
      repeatPenalty: 3,
      repeatWindow: 4,
      seed: 99
    )
    var history: [Int32] = [10, 20, 30]
    var rows = chunk(slot: 1, history)
    for _ in 0..<8 {
      rows[rows.count - 1].output = .sample(sampling)
      let (done, _) = try #require(try stage.finish(maker.step(rows), maker.handOff(rows)))
      rows[rows.count - 1].output = .logits
      let want = Sampler.sample(
        logits: try logits(other, rows),
        history: history,
        position: history.count - 1,
        parameters
      )
      #expect(done.results.map(\.token) == [want])
      history.append(want)
      rows = chunk(slot: 1, [want], from: history.count - 1)
    }
  }

  @Test func `the repeat penalty sees the slot's own tokens, from its prompt on`() throws {
    let stage = try maker.lastStage()
    var sampling = Sampling.greedy
    let first = chunk(slot: 0, [10, 20], output: .sample(sampling))
    let (plain, _) = try #require(try stage.finish(maker.step(first), maker.handOff(first)))
    let best = try #require(plain.results.last?.token)
    // The same last row, but the best token stands in the prompt and is penalised out of sight.
    sampling.repeatPenalty = 1e6
    var rows = chunk(slot: 1, [10, 20]) + chunk(slot: 2, [10, 20])
    rows[1].output = .sample(sampling)
    let (other, _) = try #require(try stage.finish(maker.step(rows), maker.handOff(rows)))
    #expect(other.results.last?.token == best)
    var penalised = chunk(slot: 1, [best, 20], from: 2)
    penalised[1].output = .sample(sampling)
    let (last, _) = try #require(
      try stage.finish(maker.step(penalised), maker.handOff(penalised))
    )
    #expect(last.results.first?.token != best)
  }

  @Test func `a cleared slot begins anew, and the others go on`() throws {
    let stage = try maker.lastStage()
    let rows = chunk(slot: 0, [5, 6, 7], output: .logits)
    let before = try logits(stage, rows + chunk(slot: 1, [8]))
    #expect(refusal(stage, maker.step(rows)) != nil)
    let bytes = stage.runner.kvByteCount
    let again = try logits(stage, rows, cleared: [0])
    #expect(again == before)
    #expect(stage.runner.kvByteCount == bytes)
    _ = try logits(stage, chunk(slot: 1, [9], from: 1, output: .logits))
    // Rows are not needed to clear.
    let (done, payloads) = try #require(
      try stage.finish(maker.step([], cleared: [0, 1]), maker.handOff([]))
    )
    #expect(done.results.isEmpty && payloads.isEmpty)
    #expect(stage.runner.kvByteCount == 0)
  }

  @Test func `each stage adds when it began and the time it took`() throws {
    let rows = chunk(slot: 0, [5], output: .sample(.greedy))
    var step = maker.step(rows)
    step.stageMicroseconds = [11]
    step.stageBeganMicroseconds = [7]
    var clock = ContinuousClock.now
    let start = clock.microsecondsSinceBoot
    let middle = try maker.stage(0..<1)
    let outcome = try middle.run(step, payloads: []) {
      defer { clock += .milliseconds(3) }
      return clock
    }
    guard case .handOff(let next, let activations) = outcome else {
      Issue.record("no hand-off")
      return
    }
    #expect(next.stageMicroseconds == [11, 3000])
    #expect(next.stageBeganMicroseconds == [7, start])
    #expect(next.rows == rows && next.sequence == step.sequence && next.epoch == step.epoch)
    let (done, _) = try #require(try maker.stage(13..<14).finish(next, activations))
    #expect(done.stageMicroseconds.prefix(2) == [11, 3000])
    #expect(done.stageMicroseconds.count == 3)
    #expect(done.stageBeganMicroseconds.prefix(2) == [7, start])
    #expect(done.stageBeganMicroseconds.count == 3)
  }

  @Test func `positions that its ring has lost cannot be sent on, wherever the copy was`() throws {
    let stage = try maker.lastStage()
    let layer = maker.layerCount - 1
    let index = try #require(stage.cacheIndex(ofLayer: layer))
    for start in stride(from: 0, to: 48, by: 16) {
      let rows = chunk(slot: 0, (0..<16).map { Int32($0 + 1) }, from: start)
      _ = try stage.run(maker.step(rows), payloads: maker.handOff(rows))
    }
    // The ring, of 8 + 16 - 1 positions, has come round; slot 1 holds still less of it.
    try #require(stage.runner.heldPositions(cache: index, slot: 0) == 25..<48)
    let late = try stage.export(layer: layer, slot: 0, count: 48, after: 30)
    try stage.take(late, slot: 1, replacing: true)
    let held = stage.runner.heldPositions(cache: index, slot: 1)
    try #require(held == 30..<48)
    for count in 1..<held.lowerBound {
      for sent in [nil, 0, count, held.lowerBound, 48, -1] {
        let error = #expect(throws: WorkerError.self) {
          try stage.export(layer: layer, slot: 1, count: count, after: sent)
        }
        #expect(error?.code == .prepare, "\(count) after \(sent as Any): \(error as Any)")
      }
    }
    for slot in [-1, 3] {
      let error = #expect(throws: WorkerError.self) {
        try stage.export(layer: layer, slot: slot, count: 1)
      }
      #expect(error?.message.contains("slot \(slot) outside 0..<3") == true)
    }
  }
}
