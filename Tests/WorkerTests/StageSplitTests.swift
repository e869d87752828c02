// Stages in a row: what one hands to the next, and that a cut changes nothing.

import Compute
import Gemma
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `Stages in a row` {
  /// Runs steps through stages and returns the logits of all rows that asked for them.
  private func logits(_ stages: [Stage], _ steps: [Step]) throws -> [Float] {
    var logits: [Float] = []
    for step in steps {
      var (step, payloads): (Step, [[Float]]) = (step, [])
      for stage in stages.dropLast() {
        (step, payloads) = try #require(try stage.handOn(step, payloads))
      }
      let last = try #require(stages.last)
      let (_, result) = try #require(try last.finish(step, payloads))
      logits += result.first ?? []
    }
    return logits
  }

  @Test func `a cut changes no bit of the logits`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let steps = [
      // Two sessions, a prompt in two chunks, then decoding: 7 positions, near the window of 8.
      maker.step(chunk(slot: 1, [2, 203, 123, 9]), sequence: 1),
      maker.step(
        chunk(slot: 1, [77, 5], from: 4, output: .logits)
          + chunk(slot: 0, [2, 50], output: .logits),
        sequence: 2
      ),
      maker.step(
        chunk(slot: 0, [8], from: 2, output: .logits)
          + chunk(slot: 1, [61, 7, 30], from: 6, output: .logits),
        sequence: 3
      ),
    ]
    let whole = try logits([try maker.stage(0..<14)], steps)
    #expect(whole.count == 8 * maker.vocabularySize)
    let cut = try logits([try maker.stage(0..<5), try maker.stage(5..<14)], steps)
    #expect(cut.map(\.bitPattern) == whole.map(\.bitPattern))
  }

  @Test func `rows nobody wants end behind the last layer that owns keys and values`() throws {
    // Gemma 3n: layers 20 to 29 read the caches of 18 and 19.
    let maker = try StageMaker("gemma3n-random-a")
    #expect(maker.config.firstSharedLayer == 20)
    let streams = 4 * maker.config.hiddenSize
    let keys = maker.config.layers[19].kvWidth
    var rows = chunk(slot: 0, [10, 11, 12]) + chunk(slot: 2, [13])
    rows[2].output = .sample(.greedy)
    let step = maker.step(rows)

    // Before, all rows go on.
    let early = try #require(try maker.stage(17..<18).handOn(step, maker.handOff(rows)))
    #expect(early.1.map(\.count) == [4 * streams])
    // The owners' stage hands on one row's streams, but keys and values of all rows.
    let owners = try #require(try maker.stage(18..<20).handOn(early.0, early.1))
    #expect(owners.1.map(\.count) == [streams] + Array(repeating: 4 * keys, count: 4))
    // Behind it, the same goes on from stage to stage.
    let sharing = try #require(try maker.stage(20..<21).handOn(owners.0, owners.1))
    #expect(sharing.1.map(\.count) == owners.1.map(\.count))
    #expect(Array(sharing.1[1...]) == Array(owners.1[1...]))
    // The step itself keeps all its rows: the stages behind look up tokens and positions.
    #expect(sharing.0.rows == rows)
    let (done, _) = try #require(try maker.stage(21..<30).finish(sharing.0, sharing.1))
    #expect(done.results.map(\.position) == [2])
  }

  @Test func `a chunk that wants no row at all still fills the caches behind the owners`() throws {
    let maker = try StageMaker("gemma3n-random-a")
    let rows = chunk(slot: 0, [10, 11])
    let owners = try maker.stage(18..<20)
    let sharing = try maker.stage(20..<30)
    let first = try #require(try owners.handOn(maker.step(rows), maker.handOff(rows)))
    #expect(first.1.first?.isEmpty == true)
    let (done, payloads) = try #require(try sharing.finish(first.0, first.1))
    #expect(done.results.isEmpty && payloads.isEmpty)
    // The next row finds position 2 free in all of them.
    let next = chunk(slot: 0, [12], from: 2, output: .sample(.greedy))
    let second = try #require(
      try owners.handOn(maker.step(next, sequence: 2), maker.handOff(next))
    )
    let (sampled, _) = try #require(try sharing.finish(second.0, second.1))

    // The same three rows in one step draw the same token.
    let (freshOwners, freshSharing) = (try maker.stage(18..<20), try maker.stage(20..<30))
    let all = rows + next
    let once = try #require(try freshOwners.handOn(maker.step(all), maker.handOff(all)))
    let (together, _) = try #require(try freshSharing.finish(once.0, once.1))
    #expect(together.results == sampled.results)
  }

  // MARK: Cut logits

  private func slice(_ layers: Range<Int>, _ vocabulary: Range<Int>) -> ModelSlice {
    ModelSlice(layers: layers, vocabulary: vocabulary)
  }

  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a"])
  func `stages that only have logits change no token, no score and no bit of the logits`(
    _ name: String
  ) throws {
    let maker = try StageMaker(name)
    let (count, size) = (maker.layerCount, maker.vocabularySize)
    let draw = Sampling(
      temperature: 0.9,
      topK: 40,
      topP: 0.95,
      minP: 0,
      repeatPenalty: 1.3,
      repeatWindow: 64,
      seed: 11,
      returnsLogProbabilities: true,
      likeliest: 3
    )
    var mixed =
      chunk(slot: 0, [5, 6, 7]) + chunk(slot: 1, [9, 8], output: .logits)
      + chunk(slot: 2, [3, 4], output: .score(target: 77))
    mixed[2].output = .sample(draw)
    let steps = [
      maker.step(mixed),
      maker.step(
        chunk(slot: 0, [8], from: 3, output: .sample(draw))
          + chunk(slot: 1, [2, 2], from: 2, output: .sample(.greedy)),
        sequence: 2
      ),
      // Nobody wants anything: the logits' stages pass it on all the same.
      maker.step(chunk(slot: 2, [1], from: 2), sequence: 3),
    ]
    func run(_ stages: [Stage]) throws -> [(StepDone, [[Float]])] {
      try steps.map { step in
        var (step, payloads): (Step, [[Float]]) = (step, maker.handOff(step.rows))
        for stage in stages.dropLast() {
          (step, payloads) = try #require(try stage.handOn(step, payloads))
        }
        let last = try #require(stages.last)
        return try #require(try last.finish(step, payloads))
      }
    }
    // From where no other layer's keys and values come along.
    let last = min(count - 1, maker.config.firstSharedLayer - 3)..<count
    let whole = try run([try maker.stage(last)])
    for cuts in [[0, size], [100, size], [1, 2, size], [0, 37, 200, size]] {
      let behind = zip(cuts, cuts.dropFirst()).map { slice(count..<count, $0..<$1) }
      let stages = try ([slice(last, 0..<cuts[0])] + behind).map { try maker.stage($0) }
      let got = try run(stages)
      #expect(got.map(\.0.results) == whole.map(\.0.results), "\(cuts)")
      #expect(
        got.map { $0.1.map { $0.map(\.bitPattern) } }
          == whole.map { $0.1.map { $0.map(\.bitPattern) } },
        "\(cuts)"
      )
      #expect(got[0].0.stageMicroseconds.count == stages.count)
    }
  }

  @Test func `logits of a wrong size from the stage before are refused by name`() throws {
    let maker = try StageMaker("gemma3-random-a")
    let (count, size) = (maker.layerCount, maker.vocabularySize)
    let step = maker.step(chunk(slot: 0, [5, 6], output: .logits))
    let first = try maker.stage(slice((count - 1)..<count, 0..<100))
    let second = try maker.stage(slice(count..<count, 100..<size))
    let (next, payloads) = try #require(try first.handOn(step, maker.handOff(step.rows)))
    #expect(payloads.map(\.count) == [2 * maker.config.hiddenSize, 200])
    func refusal(_ payloads: [[Float]]) -> String? {
      do {
        _ = try second.run(next, payloads: payloads)
        return nil
      } catch {
        #expect(error.code == .step)
        return "\(error)"
      }
    }
    let short = [payloads[0], Array(payloads[1].dropLast())]
    #expect(
      refusal(short)?.contains(
        "logits of 2 rows before vocabulary row 100 have 199 values, 200 expected"
      ) == true
    )
    #expect(refusal([payloads[0]])?.contains("1 tensors, 1 and the logits before row 100") == true)
    #expect(refusal(payloads + [[]])?.contains("3 tensors, 1 and the logits") == true)
    #expect(refusal([[1], payloads[1]])?.contains("input merged has 1 values") == true)
    // None of it has run.
    let (done, _) = try #require(try second.finish(next, payloads))
    #expect(done.results.count == 2)
  }

  @Test func `a stage without layers takes sessions over with no keys and values`() throws {
    var maker = try StageMaker("gemma3-random-a")
    let (count, size) = (maker.layerCount, maker.vocabularySize)
    let last = (count - 1)..<count
    let rows = chunk(slot: 1, [5, 6, 7], output: .sample(.greedy))
    let whole = try maker.lastStage()
    _ = try whole.finish(maker.step(rows), maker.handOff(rows))
    maker.epoch = 2
    let next = PeerAddress(try Endpoint("ipc:///run/trestle/next"), key: nil)
    let front = try maker.stage(slice(last, 0..<100))
    // The layer stays on its worker, which shares its cache; here it is copied.
    try front.take(try whole.export(layer: count - 1, slot: 1, count: 3), slot: 1, replacing: true)
    func moved(_ old: Stage?, _ new: Stage, to next: PeerAddress?, tokens: [Int32]) throws -> Stage
    {
      var pair = StagePair()
      if let old {
        let isNew = pair.install(old, next: nil)
        let isCommitted = pair.commit(old.epoch)
        #expect(isNew && isCommitted)
      }
      let isNew = pair.install(new, next: next)
      let state = SlotState(slot: 1, positionCount: 3, tokens: tokens)
      try pair.begin(Move(epoch: 2, slots: [state], exports: [], imports: 0))
      let (outgoing, report) = (try pair.nextExport(), try pair.completeMove())
      let isCommitted = pair.commit(2)
      #expect(isNew && isCommitted && outgoing == nil)
      #expect(report == Moved(epoch: 2, sentBytes: 0))
      return try #require(pair.running)
    }
    let layered = try moved(whole, front, to: next, tokens: [])
    let logits = try moved(
      nil,
      try maker.stage(slice(count..<count, 100..<size)),
      to: nil,
      tokens: [5, 6, 7]
    )
    let more = chunk(slot: 1, [9], from: 3, output: .sample(.greedy))
    let step = maker.step(more, sequence: 2)
    let handed = try #require(try layered.handOn(step, maker.handOff(more)))
    let (done, _) = try #require(try logits.finish(handed.0, handed.1))

    maker.epoch = 1
    let all = try maker.lastStage()
    let together = rows + more
    let (want, _) = try #require(try all.finish(maker.step(together), maker.handOff(together)))
    #expect(done.results == want.results.suffix(1))
  }
}
