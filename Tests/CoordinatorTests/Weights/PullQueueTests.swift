// Who gets the next piece of the weights, and who has asked for too many.

import Testing
import Wire

@testable import Coordinator

@Suite struct `Pull queue` {
  private func pull(_ chunk: Int) -> Pull {
    Pull(model: Digest(of: []), id: ChunkID(file: 0, chunk: chunk))
  }

  private func peer(_ number: Int) -> PeerID {
    PeerID([UInt8(1 + number / 256), UInt8(number % 256)])
  }

  // `#expect` calls no mutating functions itself.
  private func add(_ queue: inout PullQueue, _ chunk: Int, from number: Int) -> Bool {
    queue.add(pull(chunk), from: peer(number))
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
    queue.finished()
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
}
