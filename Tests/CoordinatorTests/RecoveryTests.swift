// Workers that cannot do what they are asked to once the pipeline has served: others do it, or requests
// fail in words and the coordinator waits.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Layers that cannot be prepared` {
  /// A pipeline that has served and whose last worker was lost and is back, about to prepare.
  private func recovering(_ count: Int) throws -> (harness: Harness, returned: SimulatedWorker) {
    let harness = Harness(plan: Harness.plan(count))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let name = "cpu-\(count - 1)"
    harness.crash(try #require(harness.worker(name)))
    harness.handle(.workerExited(name: name, how: "was ended by signal 9", willRestart: true))
    harness.start(Harness.hello(name))
    while let peer = harness.toCoordinator.keys.first { harness.deliver(from: peer) }
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    let returned = try #require(harness.worker(name))
    try #require(returned.preparing != nil)
    return (harness, returned)
  }

  private func expectAnswer(_ harness: Harness, request: UInt64 = 1) {
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome(request).tokens == want)
    #expect(harness.outcome(request).finished != nil)
    #expect(harness.failures.isEmpty)
  }

  @Test func `the others get them, and a second failure leaves the worker none`() throws {
    let (harness, returned) = try recovering(3)
    harness.failPreparing(returned)
    harness.deliver(from: returned.control)
    // It gets fewer than the two that it could not hold.
    #expect(harness.machine.plan.map(\.layers.upperBound).last == 6)
    #expect(harness.machine.plan.map(\.layers.count).last == 1)
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    harness.failPreparing(returned)
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "cpu-1"])
    #expect(harness.machine.plan.last?.layers.upperBound == 6)
    expectAnswer(harness)
  }

  @Test func `if nobody can hold them, requests fail when patience ends, with the reason`() throws {
    let (harness, returned) = try recovering(1)
    harness.failPreparing(returned, "needs 9 GB, has 8")
    harness.settle()
    #expect(harness.machine.epoch.isGathering)
    #expect(harness.machine.status(1).state == .degraded)
    harness.pass(.seconds(29), times: 58)
    #expect(harness.outcome().failed == nil)
    harness.pass(.seconds(2), times: 4)
    #expect(harness.outcome().failed?.code == .lost)
    #expect(harness.outcome().failed?.message.contains("needs 9 GB, has 8") == true)
    #expect(harness.failures.isEmpty)
    // It is tried again, and this time it has the memory.
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6]), request: 2))
    harness.settle()
    expectAnswer(harness, request: 2)
  }

  @Test func `a worker that joins takes them at once`() throws {
    let (harness, returned) = try recovering(1)
    harness.failPreparing(returned)
    harness.settle()
    harness.start(Harness.hello("late"))
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "late"])
    expectAnswer(harness)
  }

  @Test func `a worker that comes no further with them counts as unable`() throws {
    let (harness, returned) = try recovering(2)
    // As long as it comes further it is waited for.
    for step in 1...4 {
      let heartbeat = Harness.heartbeat(loadFraction: Double(step) / 8)
      harness.pass(.seconds(50), times: 100, heartbeat: heartbeat)
    }
    #expect(returned.preparing != nil)
    #expect(harness.machine.plan == Harness.plan(2))
    harness.pass(.seconds(12), times: 24, heartbeat: Harness.heartbeat(loadFraction: 0.5))
    #expect(harness.notes.contains { $0.message == "worker cannot prepare its layers" })
    #expect(harness.machine.plan != Harness.plan(2))
    #expect(harness.failures.isEmpty)
  }

  @Test func `a first stage that cannot be connected to is lost, and not the service`() throws {
    let harness = Harness()
    harness.connectionsToRefuse = 1
    harness.serve()
    #expect(harness.killed == ["cpu-0"])
    #expect(harness.machine.epoch.isGathering)
    #expect(harness.failures.isEmpty)
    harness.start(Harness.hello("cpu-0"))
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.settle()
    expectAnswer(harness)
  }
}
