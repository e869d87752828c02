// Live rebalance: what becomes of a move that does not come forward.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Moves that stand still` {
  private static let prompt: [Int32] = [5, 6]

  /// A pipeline with a request under way, and a rebalance just asked for.
  private func moving() -> Harness {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens(Self.prompt)))
    harness.ask(.rebalance(Rebalance(request: 9, split: [4, 2])), client: 2)
    return harness
  }

  /// A heartbeat of a worker that computes: the steps under way are slow, and not lost.
  private func busy(loadFraction: Double = 1) -> Heartbeat {
    var heartbeat = Harness.heartbeat(loadFraction: loadFraction)
    heartbeat.stepInProgressMicroseconds = 1_000_000
    return heartbeat
  }

  /// Delivers all messages but computes nothing and prepares nothing.
  private func deliver(_ harness: Harness) {
    while true {
      if let peer = harness.toCoordinator.keys.first {
        harness.deliver(from: peer)
      } else if let peer = harness.toWorker.keys.first {
        harness.deliver(toWorker: peer)
      } else {
        return
      }
    }
  }

  private func expectAbandoned(_ harness: Harness, saying reason: String) {
    #expect(harness.machine.move == nil)
    let failed = harness.outcome(9, client: 2).failed
    #expect(failed?.code == .lost)
    #expect(failed?.message.contains(reason) == true, "\(failed?.message ?? "no answer")")
    harness.settle()
    #expect(harness.machine.plan == Harness.plan(2))
    let want = harness.model.continuation(of: Self.prompt, Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
    // The next one succeeds.
    harness.ask(.rebalance(Rebalance(request: 10, split: [4, 2])), client: 2)
    harness.settle()
    #expect(harness.machine.plan.map(\.layers) == [0..<4, 4..<6])
  }

  @Test func `preparing may take long while workers come further, and no longer`() throws {
    let harness = moving()
    deliver(harness)
    for step in 1...5 {
      let heartbeat = busy(loadFraction: Double(step) / 8)
      harness.pass(.seconds(30), times: 60, heartbeat: heartbeat)
    }
    #expect(harness.machine.move?.stage == .preparing)
    harness.pass(.seconds(61), times: 122, heartbeat: busy(loadFraction: 5 / 8))
    expectAbandoned(harness, saying: "has made no progress with its layers")
  }

  @Test func `of several workers, each must come further`() throws {
    let harness = moving()
    deliver(harness)
    harness.finishPreparing(try #require(harness.worker("cpu-0")))
    deliver(harness)
    // Only the one that is done says anything new.
    let first = try #require(harness.worker("cpu-0"))
    for step in 1...70 {
      harness.pass(.seconds(1), times: 2, heartbeat: busy(loadFraction: 0.5))
      let heartbeat = busy(loadFraction: Double(step) / 100)
      harness.handle(.message(.heartbeat(heartbeat), from: first.control, payloads: []))
    }
    expectAbandoned(harness, saying: "worker cpu-1 has made no progress")
  }

  @Test func `steps that do not come back end the draining`() {
    let harness = moving()
    deliver(harness)
    for worker in harness.workers { harness.finishPreparing(worker) }
    deliver(harness)
    #expect(harness.machine.move?.stage == .draining)
    harness.pass(.seconds(30), times: 60, heartbeat: busy())
    #expect(harness.machine.move?.stage == .draining)
    harness.pass(.seconds(1), times: 2, heartbeat: busy())
    // Nothing has moved yet: the old epoch goes on where it was.
    #expect(harness.machine.epoch.number == 1)
    expectAbandoned(harness, saying: "steps were under way")
  }

  @Test func `keys and values that do not arrive are given up, and the sessions replayed`() {
    let harness = moving()
    deliver(harness)
    for worker in harness.workers { harness.finishPreparing(worker) }
    deliver(harness)
    while let endpoint = harness.steps.keys.first { harness.compute(endpoint) }
    deliver(harness)
    #expect(harness.machine.move?.stage == .moving)
    harness.loseRows()
    harness.pass(.seconds(30), times: 60)
    #expect(harness.machine.move?.stage == .moving)
    harness.pass(.seconds(1), times: 2)
    #expect(harness.machine.epoch.number > 1)
    expectAbandoned(harness, saying: "did not move keys and values")
  }

  @Test func `a coordinator that stood still itself gives nothing up`() {
    let harness = moving()
    deliver(harness)
    harness.pass(.seconds(1))
    harness.now += .seconds(3600)
    harness.handle(.tick)
    #expect(harness.machine.move?.stage == .preparing)
  }
}
