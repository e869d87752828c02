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
    let keys = maker.config.kvHeadCount * maker.config.headDim
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
}
