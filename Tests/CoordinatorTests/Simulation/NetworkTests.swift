// The network of the simulation: what it delays, holds back and drops.

import Testing
import Wire

@testable import Coordinator

@Suite struct `The simulated network` {
  private let peer = PeerID([0xD0, 1])

  private func done(_ sequence: UInt64) -> Message {
    .stepDone(StepDone(epoch: 1, sequence: sequence, results: [], stageMicroseconds: []))
  }

  /// What a connection still carries, in order.
  private func sequences(_ harness: Harness) -> [UInt64] {
    (harness.toCoordinator[peer] ?? []).compactMap { item in
      if case .stepDone(let done) = item.content.message { done.sequence } else { nil }
    }
  }

  @Test func `a link keeps its order, and its messages take their time`() {
    for seed in UInt64(1)...20 {
      let harness = Harness()
      harness.network = Network(seed: seed)
      for sequence in UInt64(1)...5 { harness.post(done(sequence), from: peer) }
      #expect(sequences(harness) == [1, 2, 3, 4, 5])
      let first = harness.toCoordinator[peer]?.first
      #expect(harness.arrived(harness.toCoordinator).isEmpty == (first?.due ?? .now > harness.now))
      harness.now += .milliseconds(450)
      #expect(harness.arrived(harness.toCoordinator) == [peer])
    }
  }

  @Test func `a link that is cut holds what it carries, and what is sent meanwhile`() {
    let harness = Harness()
    harness.network = Network(seed: 1)
    harness.post(done(1), from: peer)
    harness.cut([.toCoordinator(peer)], for: .seconds(10))
    harness.post(done(2), from: peer)
    harness.now += .milliseconds(9999)
    #expect(harness.arrived(harness.toCoordinator).isEmpty)
    harness.now += .milliseconds(451)
    #expect(harness.arrived(harness.toCoordinator) == [peer])
    #expect(sequences(harness) == [1, 2])
  }

  @Test func `a link that is reset loses what it carries, and no other`() {
    let harness = Harness()
    harness.network = Network(seed: 1)
    let other = PeerID([0xD0, 2])
    for sender in [peer, other] { harness.post(done(1), from: sender) }
    harness.reset([.toCoordinator(peer)])
    #expect(Array(harness.toCoordinator.keys) == [other])
    harness.post(done(2), from: peer)
    #expect(sequences(harness) == [2])
  }
}
