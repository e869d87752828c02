// A stage whose numbers become none ends the step there, for the rows that it concerns.

import Compute
import Gemma
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `Steps that are no finite numbers` {
  private let maker: StageMaker

  init() throws { maker = try StageMaker("gemma3-random-a") }

  private func stage(_ layers: Range<Int>, _ weights: any WeightSource) throws -> Stage {
    let runner = try ReferenceBackend().prepare(
      maker.config.lower(layers, weights: maker.checkpoint),
      weights: weights,
      limits: maker.limits
    ) { _ in }
    return Stage(
      epoch: maker.epoch,
      runner: runner,
      vocabularySize: maker.vocabularySize
    )
  }

  private func notFinite(_ outcome: StepOutcome) -> (slots: [Int], reason: String)? {
    guard case .notFinite(let slots, let reason) = outcome else { return nil }
    return (slots, reason)
  }

  @Test func `only the slots of rows that are none are named, with the weight at fault`() throws {
    let width = maker.config.hiddenSize
    let weights = ChangedWeights(maker.checkpoint, "embed_tokens") {
      $0[9 * width] = .nanOfBFloat16
    }
    // Token 9 is the second session's alone.
    let rows =
      chunk(slot: 0, [5, 6]) + chunk(slot: 1, [5, 9], output: .sample(.greedy))
      + chunk(slot: 2, [8])
    let step = maker.step(rows)
    let failure = try #require(notFinite(try stage(0..<1, weights).run(step, payloads: [])))
    #expect(failure.slots == [1])
    #expect(failure.reason.contains("embed_tokens contains an infinity or a NaN"))
    let good = chunk(slot: 0, [5, 6]) + chunk(slot: 2, [8])
    let outcome = try stage(0..<1, weights).run(maker.step(good), payloads: [])
    #expect(notFinite(outcome) == nil)
  }

  @Test func `a last stage draws no token from logits that are none`() throws {
    let layer = maker.layerCount - 1
    let name = "layers.\(layer).mlp.up_proj"
    let weights = ChangedWeights(maker.checkpoint, name) { $0[0] = .infinityOfBFloat16 }
    for output in [RowOutput.sample(.greedy), .logits, .score(target: 3)] {
      let rows = chunk(slot: 2, [5, 6], output: output)
      let outcome = try stage(layer..<(layer + 1), weights).run(
        maker.step(rows),
        payloads: maker.handOff(rows)
      )
      let failure = try #require(notFinite(outcome))
      #expect(failure.slots == [2])
      #expect(failure.reason.hasPrefix("layer \(layer), feedForward: the weight \(name)"))
    }
  }

  @Test func `a single logit that is none is enough`() throws {
    // A row of the output matrix that no prompt looks up.
    let line = maker.config.line
    let width = maker.config.hiddenSize
    let weights = ChangedWeights(maker.checkpoint, "embed_tokens") {
      $0[$0.count - width] = .nanOfBFloat16
    }
    let end = ModelSlice(
      layers: line.layerCount..<line.layerCount,
      vocabulary: (line.vocabularySize - 3)..<line.vocabularySize
    )
    let runner = try ReferenceBackend().prepare(
      maker.config.lower(end, weights: maker.checkpoint),
      weights: weights,
      limits: maker.limits
    ) { _ in }
    let stage = Stage(
      epoch: maker.epoch,
      runner: runner,
      vocabularySize: maker.vocabularySize
    )
    let rows = chunk(slot: 0, [5], output: .sample(.greedy))
    let before = [Float](repeating: 0, count: line.vocabularySize - 3)
    let outcome = try stage.run(maker.step(rows), payloads: maker.handOff(rows) + [before])
    #expect(notFinite(outcome)?.slots == [0])
    #expect(notFinite(outcome)?.reason.contains("logits: the weight embed_tokens") == true)
  }

  @Test(arguments: [Float.nan, .infinity])
  func `what a stage before hands on that is none is its own fault`(_ value: Float) throws {
    let rows = chunk(slot: 0, [5, 6], output: .sample(.greedy))
    var payloads = maker.handOff(rows)
    payloads[0][maker.config.hiddenSize] = value
    let stage = try maker.lastStage()
    let error = #expect(throws: WorkerError.self) {
      _ = try stage.run(maker.step(rows), payloads: payloads)
    }
    #expect(error?.code == .step)
    #expect(error?.message.contains("the previous stage") == true)
    // Nothing has come of it.
    #expect(stage.runner.positionCount(slot: 0) == 0)
  }
}
