// What the coordinator makes of keys: it tells workers of each other, and counts who was refused.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Keys of workers` {
  private func assign(_ harness: Harness, _ name: String) -> Assign? {
    let sent = harness.worker(name).flatMap { harness.sentToPeers[$0.control] } ?? []
    return sent.lazy.compactMap { if case .assign(let assign) = $0 { assign } else { nil } }.last
  }

  @Test func `each worker learns the next one's key, and who may hand off to it`() throws {
    let harness = Harness(plan: Harness.plan(3))
    let keys = try (0..<2).map { _ in try KeyPair.make().publicKey }
    // Two workers on one machine share its key.
    for (name, key) in [("cpu-0", keys[0]), ("cpu-1", keys[1]), ("cpu-2", keys[1])] {
      var hello = Harness.hello(name)
      hello.dataKey = key
      harness.start(hello)
    }
    harness.settle()
    #expect(assign(harness, "cpu-0")?.nextKey == keys[1])
    #expect(assign(harness, "cpu-1")?.nextKey == keys[1])
    let last = try #require(assign(harness, "cpu-2"))
    #expect(last.nextKey == nil)
    for name in ["cpu-0", "cpu-1", "cpu-2"] {
      let peers = try #require(assign(harness, name)).peerKeys
      #expect(peers.count == 2 && Set(peers) == Set(keys))
    }
  }

  @Test func `workers at ipc sockets have no keys to tell of`() {
    let harness = Harness()
    harness.startAll()
    harness.settle()
    #expect(assign(harness, "cpu-0")?.nextKey == nil)
    #expect(assign(harness, "cpu-0")?.peerKeys == [])
  }

  @Test func `refused peers are all counted, and named in the log once`() {
    let harness = Harness()
    for isRepeated in [false, true, true] {
      harness.handle(
        .refused(Refusal(reason: "unknown key", address: "10.0.0.9", isRepeated: isRepeated))
      )
    }
    #expect(harness.machine.status(1).protocolErrors == 3)
    let notes = harness.notes.filter { $0.message == "peer refused" }
    #expect(notes.count == 1)
    #expect(notes.first?.isWarning == true && notes.first?.metadata["peer"] == "10.0.0.9")
  }
}
