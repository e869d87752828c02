// Who gets the next slot, and who gives way when the queue is full.

import Testing
import Wire

@testable import Coordinator

@Suite struct `The queue of sessions` {
  private let greedy = PeerID([1])
  private let modest = PeerID([2])

  @Test func `the next slot is for whoever holds fewest, in the order of asking among equals`() {
    var queue = SessionQueue()
    for session in UInt64(1)...3 { queue.append(session, of: greedy) }
    queue.append(4, of: modest)
    let anybody = { (_: PeerID) in true }
    #expect(queue.next(mayRun: anybody) == 1 && queue.place(of: 4) == 4)
    queue.admit(1)
    #expect(queue.next(mayRun: anybody) == 4 && queue.place(of: 4) == 3)
    #expect(queue.next { $0 != modest } == 2)
    #expect(queue.next { _ in false } == nil)
    queue.admit(4)
    // Both hold one again.
    #expect(queue.next(mayRun: anybody) == 2)
    queue.remove(1)
    #expect(queue.count == 2 && queue.place(of: 1) == 0)
  }

  @Test func `keys count once, however many connections they open`() throws {
    let key = try KeyPair.make().publicKey
    var queue = SessionQueue()
    queue.append(1, of: PeerID([1], key: key))
    queue.append(2, of: PeerID([2], key: key))
    queue.append(3, of: modest)
    queue.admit(1)
    #expect(queue.next { _ in true } == 3)
  }

  @Test func `the last request of whoever has most waiting gives way, if that is fair`() {
    var queue = SessionQueue()
    for session in UInt64(1)...2 { queue.append(session, of: greedy) }
    #expect(queue.surplus(for: greedy) == nil)
    #expect(queue.surplus(for: modest) == 2)
    queue.append(3, of: modest)
    // It would only have the two change places.
    #expect(queue.surplus(for: modest) == nil)
  }
}
