// Workers that pull their weights over a slow link prepare for as long as it takes.

import Testing
import Wire

@testable import Coordinator

@Suite struct `A long pull` {
  /// Moves messages until none is on its way; nobody finishes preparing by itself.
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

  @Test func `before the first epoch, nobody gives the worker up`() {
    let harness = Harness()
    harness.startAll()
    deliver(harness)
    harness.finishPreparing(harness.workers[0])
    harness.pass(.seconds(600), times: 2400)
    #expect(harness.readyCount == 0)
    #expect(harness.killed.isEmpty && harness.failures.isEmpty)
    #expect(harness.machine.epoch.number == 1)
    harness.finishPreparing(harness.workers[1])
    harness.settle()
    #expect(harness.readyCount == 1)
  }

  @Test func `beside an epoch that runs, its sessions go on`() throws {
    let harness = Harness()
    harness.serve()
    harness.ask(.rebalance(Rebalance(request: 9, split: [4, 2])), client: 2)
    deliver(harness)
    try #require(harness.workers.allSatisfy { $0.preparing?.epoch == 2 })
    // One has its weights, the other pulls for minutes more, and says how far it has come.
    harness.finishPreparing(harness.workers[0])
    for request in 1...10 as ClosedRange<UInt64> {
      let heartbeat = Harness.heartbeat(loadFraction: Double(request) / 12)
      harness.pass(.seconds(50), times: 200, heartbeat: heartbeat)
      harness.ask(Harness.generate(.tokens([1, 2, 3]), request: request))
      for _ in 0..<1000 {
        deliver(harness)
        guard let endpoint = harness.steps.keys.first else { break }
        harness.compute(endpoint)
      }
      #expect(harness.outcome(request).finished != nil, "request \(request)")
    }
    #expect(harness.machine.epoch.number == 1)
    harness.finishPreparing(harness.workers[1])
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    #expect(harness.killed.isEmpty && harness.failures.isEmpty)
    #expect(
      harness.replies.contains { message in
        if case .rebalanced(let moved) = message { moved.request == 9 } else { false }
      }
    )
  }
}
