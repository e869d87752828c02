// Four kinds of failure, and what each leads to: too little memory, a lost device, a fault of the program;
// what a device does not support is in UnsupportedTests.swift.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Failures of workers` {
  /// A pipeline of two that has served, whose second worker was lost and prepares its layers again.
  private func recovering() throws -> (harness: Harness, returned: SimulatedWorker) {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.crash(try #require(harness.worker("cpu-1")))
    harness.handle(.workerExited(name: "cpu-1", how: "was ended by signal 9", willRestart: true))
    return (harness, try restart(harness))
  }

  /// Starts the second worker and brings it to where it prepares.
  private func restart(_ harness: Harness) throws -> SimulatedWorker {
    harness.start(Harness.hello("cpu-1"))
    while let peer = harness.toCoordinator.keys.first { harness.deliver(from: peer) }
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    let worker = try #require(harness.worker("cpu-1"))
    try #require(worker.preparing != nil)
    return worker
  }

  private func expectAnswer(_ harness: Harness) {
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want && harness.outcome().finished != nil)
    #expect(harness.failures.isEmpty)
  }

  @Test func `too little memory leads to a smaller slice`() throws {
    let (harness, returned) = try recovering()
    let before = harness.machine.plan.map(\.layers.count)
    harness.failPreparing(returned, code: .memory)
    harness.settle()
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "cpu-1"])
    #expect(harness.machine.plan[1].layers.count < before[1] && harness.killed.isEmpty)
    expectAnswer(harness)
  }

  @Test func `a worker whose device is lost while it prepares is started again`() throws {
    let (harness, returned) = try recovering()
    let before = harness.machine.plan
    harness.failPreparing(returned, "the device is gone", code: .device)
    harness.settle()
    #expect(harness.killed == ["cpu-1"] && harness.machine.epoch.isGathering)
    let reasons = harness.notes.compactMap { $0.metadata["reason"] }
    #expect(reasons.contains { $0.contains("lost its device") && $0.contains("is gone") })
    _ = try restart(harness)
    harness.settle()
    #expect(harness.machine.plan == before)
    expectAnswer(harness)
  }

  @Test func `a device that is lost in a step takes its own worker only, and no token`() throws {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    try #require(harness.worker("cpu-1")).nextFailure = .device
    harness.settle()
    #expect(harness.killed == ["cpu-1"] && harness.machine.epoch.isGathering)
    _ = try restart(harness)
    harness.settle()
    expectAnswer(harness)
  }

  @Test func `a fault of the program is tried again once, then the worker is ended`() throws {
    let (harness, returned) = try recovering()
    let before = harness.machine.plan
    harness.failPreparing(returned, "overflow", code: .internal)
    harness.deliver(from: returned.control)
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    #expect(harness.killed.isEmpty && returned.preparing != nil)
    harness.failPreparing(returned, "overflow", code: .internal)
    harness.deliver(from: returned.control)
    #expect(harness.killed == ["cpu-1"])
    _ = try restart(harness)
    harness.settle()
    #expect(harness.machine.plan == before)
    expectAnswer(harness)
  }

  @Test func `a step that has too little memory leads to a smaller slice`() throws {
    let harness = Harness()
    harness.serve()
    let before = harness.machine.plan.map(\.layers.count)
    harness.ask(Harness.generate(.tokens([5, 6])))
    try #require(harness.worker("cpu-1")).nextFailure = .memory
    harness.settle()
    #expect(harness.machine.plan[1].layers.count < before[1] && harness.killed.isEmpty)
    expectAnswer(harness)
  }

  @Test func `a device that is lost during a move ends the move and its worker`() throws {
    let harness = Harness()
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 9, split: [3, 3])))
    while let peer = harness.toWorker.keys.first { harness.deliver(toWorker: peer) }
    let worker = try #require(harness.worker("cpu-1"))
    try #require(worker.preparing != nil)
    harness.failPreparing(worker, "the device is gone", code: .device)
    harness.settle()
    #expect(harness.killed == ["cpu-1"] && harness.machine.move == nil)
    #expect(harness.outcome(9).failed?.message.contains("the layers stay where they are") == true)
  }
}
