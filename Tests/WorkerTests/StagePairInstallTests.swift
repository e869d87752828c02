// The stages of a worker in the course of epochs.

import Testing
import Worker

@Suite struct `Stages of two epochs` {
  @Test func `a stage that comes after its epoch was abandoned is not kept`() throws {
    var maker = try StageMaker("gemma3-random-a")
    var pair = StagePair()
    let isInstalled = pair.install(try maker.lastStage(), next: nil)
    let runs = pair.commit(1)
    #expect(isInstalled && runs)
    pair.abandon(2)
    maker.epoch = 2
    let isKept = pair.install(try maker.lastStage(), next: nil)
    #expect(!isKept && pair.prepared == nil)
    // So the next epoch, in which the worker holds nothing, can begin.
    let leaves = pair.commit(3)
    #expect(leaves && pair.running == nil)
    maker.epoch = 4
    let isNext = pair.install(try maker.lastStage(), next: nil)
    #expect(isNext && pair.prepared?.epoch == 4)
  }
}
