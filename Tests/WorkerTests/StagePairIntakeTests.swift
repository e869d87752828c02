// What a worker takes over in a move, and from whom it does not.

import Compute
import TestSupport
import Testing
import Wire

@testable import Worker

@Suite struct `Taking keys and values` {
  private let rows = chunk(slot: 0, [5, 6, 7])

  /// A worker with the first two layers that is to have the third as well, and what the third's owner
  /// sends it.
  private func moving() throws -> (pair: StagePair, KVRows, payloads: [[Float]]) {
    var maker = try StageMaker("gemma3-random-a")
    var pair = StagePair()
    try #require(pair.install(try maker.stage(0..<2), next: nil) && pair.commit(1))
    let owner = try maker.stage(2..<3)
    _ = try owner.run(maker.step(rows), payloads: maker.handOff(rows))
    maker.epoch = 2
    try #require(pair.install(try maker.stage(0..<3), next: nil))
    let held = try owner.export(layer: 2, slot: 0, count: rows.count)
    let header = KVRows(epoch: 2, layer: 2, slot: 0, positions: held.positions)
    return (pair, header, [held.keys, held.values])
  }

  private func refusal(_ pair: inout StagePair, _ header: KVRows, _ payloads: [[Float]]) -> String?
  {
    do throws(WorkerError) {
      try pair.take(header, payloads)
      return nil
    } catch {
      return error.message
    }
  }

  @Test func `keys and values of a layer that is here are refused: the cache may be in use`() throws
  {
    var (pair, header, payloads) = try moving()
    header.layer = 1
    #expect(refusal(&pair, header, payloads)?.contains("layer 1, which this worker has") == true)
    header.layer = 2
    #expect(refusal(&pair, header, payloads) == nil)
  }

  @Test func `keys and values that come twice are refused: one of them is nobody's`() throws {
    var (pair, header, payloads) = try moving()
    header.isEarly = true
    #expect(refusal(&pair, header, payloads) == nil)
    #expect(refusal(&pair, header, payloads)?.contains("layer 2, slot 0 came twice") == true)
    header.isEarly = false
    #expect(refusal(&pair, header, payloads) == nil)
    #expect(refusal(&pair, header, payloads)?.contains("layer 2, slot 0 came twice") == true)
    header.isEarly = true
    #expect(refusal(&pair, header, payloads)?.contains("layer 2, slot 0 came twice") == true)
    // They make up for no others.
    let move = Move(epoch: 2, slots: [], exports: [], imports: 2)
    try pair.begin(move)
    #expect(try pair.completeMove() == nil)
  }
}
