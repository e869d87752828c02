// Who gets the next piece of the weights, and who has asked for too many.

import Content
import Testing
import Wire

@testable import Coordinator

@Suite struct `Pull queue` {
  private let start = ContinuousClock.now

  private func pull(_ chunk: Int) -> Pull {
    Pull(model: Digest(of: []), id: ChunkID(file: 0, chunk: chunk))
  }

  private func peer(_ number: Int) -> PeerID {
    PeerID([UInt8(1 + number / 256), UInt8(number % 256)])
  }

  // `#expect` calls no mutating functions itself.
  private func add(_ queue: inout PullQueue, _ chunk: Int, from number: Int) -> Bool {
    queue.add(pull(chunk), from: peer(number), at: start)
  }

  private func take(_ queue: inout PullQueue) -> (pull: Pull, peer: PeerID)? { queue.next() }

  @Test func `peers are served in turn, each in the order it asked`() {
    var queue = PullQueue()
    for chunk in 0..<3 { #expect(add(&queue, chunk, from: 0)) }
    for chunk in 10..<12 { #expect(add(&queue, chunk, from: 1)) }
    var order: [Int] = []
    while let next = queue.next() {
      #expect(next.peer == peer(next.pull.id.chunk / 10))
      order.append(next.pull.id.chunk)
    }
    #expect(order == [0, 10, 1, 11, 2])
  }

  @Test func `no more are read at once than have room, whoever asks`() {
    var queue = PullQueue()
    for number in 0..<20 { #expect(add(&queue, number, from: number)) }
    for _ in 0..<PullQueue.readLimit { #expect(take(&queue) != nil) }
    #expect(take(&queue) == nil)
    queue.finished(peer(0), receipt: 1)
    #expect(take(&queue)?.pull.id.chunk == PullQueue.readLimit)
    #expect(take(&queue) == nil)
  }

  @Test func `a peer that asks for too many is refused, and others are not`() {
    var queue = PullQueue()
    for chunk in 0..<Limits.pulls { #expect(add(&queue, chunk, from: 0)) }
    #expect(!add(&queue, 99, from: 0))
    #expect(add(&queue, 0, from: 1))
    // What is served makes room.
    #expect(take(&queue)?.peer == peer(0))
    #expect(add(&queue, 99, from: 0))
  }

  @Test func `there is an end to how many peers may wait`() {
    var queue = PullQueue()
    for number in 0..<PullQueue.peerLimit { #expect(add(&queue, 0, from: number)) }
    #expect(!add(&queue, 0, from: PullQueue.peerLimit))
    #expect(add(&queue, 1, from: 0))
  }

  /// Serves all that may be served, and returns how much that is for each peer.
  private func serve(_ queue: inout PullQueue, receipt: inout UInt64) -> [PeerID: Int] {
    var counts: [PeerID: Int] = [:]
    while let next = queue.next() {
      counts[next.peer, default: 0] += 1
      receipt += 1
      queue.finished(next.peer, receipt: receipt)
    }
    return counts
  }

  @Test func `a peer that reads nothing is sent a few pieces and no more, however it asks`() {
    var queue = PullQueue()
    var (receipt, sent) = (UInt64(0), 0)
    for chunk in 0..<10_000 {
      _ = add(&queue, chunk, from: 0)
      // Numbers that it has not read are worth nothing.
      queue.acknowledge([UInt64.random(in: 1 << 32 ... .max)], from: peer(0), at: start)
      sent += serve(&queue, receipt: &receipt).values.reduce(0, +)
    }
    #expect(sent == Limits.pulls)
    // Others are served meanwhile.
    #expect(add(&queue, 0, from: 1))
    #expect(serve(&queue, receipt: &receipt) == [peer(1): 1])
    // Another's number is none of its own.
    queue.acknowledge([receipt], from: peer(0), at: start)
    #expect(take(&queue) == nil)
  }

  @Test func `one that reads gets all it asks for`() {
    var queue = PullQueue()
    for chunk in 0..<1000 {
      #expect(add(&queue, chunk, from: 0))
      #expect(take(&queue)?.pull.id.chunk == chunk)
      queue.finished(peer(0), receipt: UInt64(chunk))
      queue.acknowledge([UInt64(chunk)], from: peer(0), at: start)
    }
  }

  @Test func `many that read nothing hold no more than all together may`() {
    var queue = PullQueue()
    var (receipt, sent) = (UInt64(0), 0)
    for round in 0..<3 {
      for number in 0..<PullQueue.peerLimit {
        for chunk in 0..<Limits.pulls { _ = add(&queue, chunk + round, from: number) }
        sent += serve(&queue, receipt: &receipt).values.reduce(0, +)
      }
    }
    #expect(sent <= PullQueue.sentLimit + PullQueue.peerLimit)
    #expect(sent >= PullQueue.sentLimit)
  }

  @Test func `what could not be sent, or came to nothing, is owed by nobody`() {
    var queue = PullQueue()
    for chunk in 0..<100 {
      #expect(add(&queue, chunk, from: 0))
      #expect(take(&queue) != nil)
      queue.finished(peer(0), receipt: nil)
    }
    var receipt = UInt64(0)
    for chunk in 0..<Limits.pulls { #expect(add(&queue, chunk, from: 0)) }
    #expect(serve(&queue, receipt: &receipt) == [peer(0): Limits.pulls])
  }

  @Test func `a silent peer that owes is found, and with it goes what it owed`() {
    var queue = PullQueue()
    var receipt = UInt64(0)
    for chunk in 0..<(2 * Limits.pulls) where add(&queue, chunk, from: 0) {
      _ = serve(&queue, receipt: &receipt)
    }
    let late = start + PullQueue.silence + .seconds(1)
    #expect(silent(&queue, at: start) == nil)
    #expect(silent(&queue, at: late) == peer(0))
    // Asked once, it is left in peace for a while.
    #expect(silent(&queue, at: late) == nil)
    queue.forget(peer(0))
    #expect(add(&queue, 7, from: 0))
    #expect(serve(&queue, receipt: &receipt) == [peer(0): 1])
  }

  private func silent(_ queue: inout PullQueue, at now: ContinuousClock.Instant) -> PeerID? {
    queue.silentPeer(at: now)
  }
}
