// Which placement runs and how far it has come, as a value of its own.

import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `An epoch` {
  private let now = ContinuousClock.now

  private func serving() -> Epoch {
    var epoch = Epoch(plan: Harness.plan(2), at: now)
    epoch.prepare()
    epoch.serve()
    return epoch
  }

  private func beginMove(_ epoch: inout Epoch, to plan: [PlannedWorker]) -> UInt32 {
    epoch.beginMove(to: plan, request: nil, drained: nil, layersMoved: 1, at: now)
  }

  @Test func `a placement is gathered for, prepared, and serves`() throws {
    var epoch = Epoch(plan: Harness.plan(2), at: now)
    #expect(epoch.isGathering && epoch.gatheringSince == now && epoch.number == 0)
    #expect(epoch.stage(of: "cpu-1") == 1 && !epoch.holds("cpu-2") && !epoch.letsStepsStart)
    epoch.replan(Harness.plan(3))
    #expect(epoch.holds("cpu-2"))
    epoch.prepare()
    #expect(epoch.isPreparing && epoch.number == 1 && !epoch.hasServed && !epoch.letsStepsStart)
    epoch.serve()
    #expect(epoch.isServing && epoch.hasServed && epoch.letsStepsStart)
    epoch.gather(at: now + .seconds(1))
    // Gathering goes on, so its time does not begin anew unless it is said to.
    epoch.gather(at: now + .seconds(2))
    #expect(epoch.gatheringSince == now + .seconds(1))
    epoch.gatherLonger(at: now + .seconds(3))
    #expect(epoch.gatheringSince == now + .seconds(3))
    epoch.prepare()
    #expect(epoch.number == 2)
    epoch.gatherLonger(at: now)
    #expect(epoch.isPreparing)
    epoch.stop()
    #expect(epoch.isStopping && epoch.phaseName == "stopping")
    try epoch.checkInvariants()
  }

  @Test func `a move takes a number and gives it back to nobody`() throws {
    var epoch = serving()
    _ = epoch.prove()
    #expect(beginMove(&epoch, to: Harness.plan(3)) == 2)
    #expect(epoch.number == 1 && epoch.move?.epoch == 2 && epoch.isProven)
    try epoch.checkInvariants()
    #expect(epoch.dropMove()?.epoch == 2 && epoch.move == nil && epoch.isServing)
    #expect(epoch.dropMove() == nil && epoch.commitMove() == nil)
    #expect(beginMove(&epoch, to: Harness.plan(3)) == 3)
    #expect(epoch.commitMove()?.epoch == 3)
    #expect(epoch.number == 3 && epoch.plan == Harness.plan(3) && epoch.isServing)
    // It has to prove itself anew.
    #expect(!epoch.isProven && epoch.prove() && !epoch.prove())
    try epoch.checkInvariants()
  }

  @Test func `a move goes with the placement that it was prepared beside`() throws {
    var epoch = serving()
    _ = beginMove(&epoch, to: Harness.plan(3))
    epoch.gather(at: now)
    #expect(epoch.move == nil && epoch.updateMove { $0.prepared("cpu-0") } == nil)
    // Its number is not given again.
    epoch.prepare()
    #expect(epoch.number == 3 && epoch.plan == Harness.plan(2))
    try epoch.checkInvariants()
  }

  @Test func `a move prepares, copies, drains and moves, each worker counted once`() throws {
    var epoch = serving()
    _ = beginMove(&epoch, to: Harness.plan(2))
    #expect(epoch.updateMove { $0.prepared("cpu-1") } == false && epoch.letsStepsStart)
    #expect(epoch.updateMove { $0.sent("cpu-0", bytes: 9) } == .some(nil))
    #expect(epoch.updateMove { $0.prepared("cpu-0") } == true)
    let later = now + .seconds(1)
    epoch.updateMove { $0.enter(.copying, awaiting: ["cpu-0", "cpu-1"], at: later) }
    #expect(epoch.letsStepsStart && epoch.move?.since == later)
    #expect(epoch.updateMove { $0.sent("cpu-0", bytes: 9) } == false)
    #expect(epoch.updateMove { $0.sent("cpu-0", bytes: 9) } == .some(nil))
    #expect(epoch.updateMove { $0.sent("cpu-1", bytes: .max) } == true)
    epoch.updateMove { $0.enter(.draining, at: later) }
    #expect(!epoch.letsStepsStart && epoch.move?.kvBytes == 8)
    #expect(epoch.updateMove { $0.sent("cpu-0", bytes: 1) } == .some(nil))
  }

  @Test func `one placement without a step is bad luck, eight end the service`() {
    var epoch = serving()
    #expect(epoch.countFruitless() && !epoch.isBeyondBadLuck)
    #expect(epoch.countFruitless() && epoch.isBeyondBadLuck)
    #expect(epoch.prove() && epoch.fruitless == 0)
    let mayTryAgain = (0..<Epoch.mostFruitless).map { _ in epoch.countFruitless() }
    #expect(mayTryAgain.dropLast().allSatisfy { $0 } && mayTryAgain.last == false)
  }
}
