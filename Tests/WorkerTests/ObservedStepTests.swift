// Steps that ask how large the inputs of products were: the sums go with them from stage to stage,
// and what does not fit is refused.

import Compute
import Gemma
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `Steps with observed inputs` {
  /// Returns a stage that observes, or one that does not.
  private func stage(
    _ maker: StageMaker,
    _ slice: ModelSlice,
    observes: Bool = true
  ) throws -> Stage {
    guard observes else { return try maker.stage(slice) }
    var program = try maker.config.lower(slice, weights: maker.checkpoint)
    program.observesInputs = true
    let runner = try ReferenceBackend().prepare(
      program,
      weights: maker.checkpoint,
      limits: maker.limits
    ) { _ in }
    return Stage(
      epoch: maker.epoch,
      runner: runner,
      vocabularySize: maker.vocabularySize,
      layout: ObservationLayout(maker.config)
    )
  }

  private func stages(_ maker: StageMaker, _ cuts: [Int]) throws -> [Stage] {
    let ends = cuts + [maker.layerCount]
    return try zip([0] + ends, ends).map {
      try stage(maker, maker.config.line.slice(layers: $0..<$1))
    }
  }

  /// Runs a step through stages; returns its result, and what each stage has handed on.
  private func run(
    _ stages: [Stage],
    _ step: Step
  ) throws -> (done: StepDone, payloads: [[Float]], handed: [[[Float]]]) {
    var (step, payloads): (Step, [[Float]]) = (step, [])
    var handed: [[[Float]]] = []
    for stage in stages.dropLast() {
      (step, payloads) = try #require(try stage.handOn(step, payloads))
      handed.append(payloads)
    }
    let last = try #require(stages.last)
    let (done, results) = try #require(try last.finish(step, payloads))
    return (done, results, handed)
  }

  private func refusal(_ stage: Stage, _ step: Step, _ payloads: [[Float]]) -> String? {
    do {
      _ = try stage.run(step, payloads: payloads)
      return nil
    } catch {
      #expect(error.code == .step)
      return "\(error)"
    }
  }

  /// In a model without shared weights between stages, a cut changes nothing at all.
  @Test func `the sums of a cut model are those of the whole one`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let layout = ObservationLayout(maker.config)
    let step = maker.step(chunk(slot: 1, [2, 203, 123, 9, 77], output: .inputs))
    let whole = try run(try stages(maker, []), step)
    #expect(whole.payloads.map(\.count) == [layout.count])
    #expect(layout.places.allSatisfy { whole.payloads[0][$0.rowCount] == 5 })
    #expect(whole.done.results.map(\.position) == [0, 1, 2, 3, 4])
    for cuts in [[5], [1, 9], [13]] {
      let cut = try run(try stages(maker, cuts), step)
      #expect(cut.payloads == whole.payloads, "\(cuts)")
      #expect(cut.done.results == whole.done.results)
      // On the way they are the last tensor, and hold what lies behind already.
      for (payloads, end) in zip(cut.handed, cuts) {
        let sums = try #require(payloads.last)
        #expect(sums.count == layout.count)
        for place in layout.places {
          guard case .layer(let layer, _) = place.name else { continue }
          #expect(sums[place.rowCount] == (layer < end ? 5 : 0), "\(place.name.canonical)")
        }
      }
    }
  }

  @Test func `the sums pass through stages that share keys and values and cut the logits`() throws {
    let maker = try StageMaker("gemma3n-random-a")
    let layout = ObservationLayout(maker.config)
    let (count, size) = (maker.layerCount, maker.vocabularySize)
    let step = maker.step(chunk(slot: 0, [10, 11, 12], output: .inputs))
    let whole = try run(try stages(maker, []), step).payloads
    let slices = [
      ModelSlice(layers: 0..<20),
      ModelSlice(layers: 20..<count, vocabulary: 0..<100),
      ModelSlice(layers: count..<count, vocabulary: 100..<size),
    ]
    let cut = try run(try slices.map { try stage(maker, $0) }, step)
    #expect(cut.payloads.count == 1)
    for place in layout.places {
      let factor = cut.payloads[0][place.rowCount] / whole[0][place.rowCount]
      let isSame = zip(cut.payloads[0][place.sums], whole[0][place.sums]).allSatisfy {
        abs($0 - factor * $1) <= 1e-5 * factor * $1
      }
      #expect(isSame, "\(place.name.canonical)")
    }
    // Logits so far stand before the sums, and both behind the program's own.
    #expect(cut.handed[1].map(\.count) == [3 * maker.config.hiddenSize, 300, layout.count])
  }

  @Test func `a step that does not ask carries no sums, also where stages observe`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let step = maker.step(chunk(slot: 0, [5, 6], output: .logits))
    let observing = try run(try stages(maker, [5]), step)
    let plain = try run([try maker.stage(0..<5), try maker.stage(5..<maker.layerCount)], step)
    #expect(observing.handed.map { $0.map(\.count) } == plain.handed.map { $0.map(\.count) })
    #expect(observing.payloads == plain.payloads)
    #expect(observing.payloads.map(\.count) == [2 * maker.vocabularySize])
  }

  @Test func `a stage adds nothing of the steps before`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let layout = ObservationLayout(maker.config)
    let one = try stages(maker, [5])
    _ = try run(one, maker.step(chunk(slot: 0, [5, 6, 7], output: .inputs)))
    _ = try run(one, maker.step(chunk(slot: 1, [9], output: .logits), sequence: 2))
    let again = try run(one, maker.step(chunk(slot: 2, [5, 6], output: .inputs), sequence: 3))
    let fresh = try run(
      try stages(maker, [5]),
      maker.step(chunk(slot: 2, [5, 6], output: .inputs))
    )
    #expect(again.payloads == fresh.payloads)
    #expect(layout.places.allSatisfy { again.payloads[0][$0.rowCount] == 2 })
  }

  @Test func `logits and sums of one step come in this order`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let layout = ObservationLayout(maker.config)
    let rows = chunk(slot: 0, [5, 6], output: .inputs) + chunk(slot: 1, [7], output: .logits)
    let both = try run(try stages(maker, [5]), maker.step(rows))
    #expect(both.payloads.map(\.count) == [maker.vocabularySize, layout.count])
  }

  @Test func `a worker that does not observe refuses, by name, and nothing has run`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let rows = chunk(slot: 0, [5, 6], output: .inputs)
    let first = try maker.stage(0..<1)
    #expect(
      refusal(first, maker.step(rows), [])?.contains("which this worker does not observe") == true
    )
    let last = try maker.lastStage()
    let layout = ObservationLayout(maker.config)
    let sums = Array(repeating: Float(0), count: layout.count)
    let step = maker.step(rows)
    #expect(
      refusal(last, step, maker.handOff(rows) + [sums])?.contains(
        "which this worker does not observe"
      ) == true
    )
    // Position 0 is still the next.
    let plain = chunk(slot: 0, [5, 6], output: .logits)
    _ = try #require(try last.finish(maker.step(plain, sequence: 2), maker.handOff(plain)))
  }

  @Test
  func `sums that are missing, of another size or no numbers are refused, and nothing has run`()
    throws
  {
    let maker = try StageMaker("gemma3-random-a")
    let layout = ObservationLayout(maker.config)
    let last = try stage(
      maker,
      maker.config.line.slice(layers: (maker.layerCount - 1)..<maker.layerCount)
    )
    let rows = chunk(slot: 0, [5, 6], output: .inputs)
    let step = maker.step(rows)
    let streams = maker.handOff(rows)
    let sums = Array(repeating: Float(1), count: layout.count)
    let text = "the last tensor is not one of \(layout.count) sums"
    for payloads in [
      [], streams, [sums] + streams, streams + [[]], streams + [Array(sums.dropLast())],
      streams + [sums + [0]],
    ] {
      let message = refusal(last, step, payloads)
      #expect(message?.contains(text) == true, "\(payloads.map(\.count)): \(message ?? "accepted")")
    }
    #expect(refusal(last, step, [sums])?.contains("0 inputs") == true)
    #expect(refusal(last, step, streams + [sums, sums])?.contains("2 inputs") == true)
    for number in [Float.nan, .infinity] {
      var wrong = sums
      wrong[3] = number
      #expect(refusal(last, step, streams + [wrong]) != nil)
    }
    // Sums that nobody asked for are none of the program's inputs.
    let plain = chunk(slot: 0, [5, 6], output: .logits)
    #expect(
      refusal(last, maker.step(plain), maker.handOff(plain) + [sums])?.contains("2 inputs") == true
    )
    // A first stage begins at zero and takes none.
    let first = try stage(maker, ModelSlice(layers: 0..<1))
    #expect(refusal(first, step, [sums])?.contains("1 inputs, but the program has 0") == true)
    // None of it has run, and what comes is added to.
    let (done, payloads) = try #require(try last.finish(step, streams + [sums]))
    #expect(done.results.count == 2)
    #expect(payloads.map(\.count) == [layout.count])
    for place in layout.places {
      let isOwn =
        place.name == .model(.embedTokens)
        || place.name.canonical.contains("layers.\(maker.layerCount - 1).")
      #expect(payloads[0][place.rowCount] == (isOwn ? 3 : 1), "\(place.name.canonical)")
    }
  }
}
