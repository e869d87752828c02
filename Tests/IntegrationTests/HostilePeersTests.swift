// Peers with a valid key that send illegal messages while a stream runs: each message is refused
// and counted, and the stream goes on undisturbed.

import Content
import TestSupport
import Testing
import Wire

extension Integration {
  @Suite struct `Hostile peers` {
    private static let tokens = 2500

    /// How many messages the coordinator and each worker must have refused at least.
    private struct Counts {
      var coordinator: Int
      /// One count for each worker, in pipeline order.
      var workers = [0, 0]
    }

    /// Starts a pipeline and a stream, runs an attack, and expects the stream's tokens to be those
    /// of an undisturbed one.
    ///
    /// - Parameter attack: Sends messages to the network's sockets. It returns the peers, which are
    ///   held until the end, and the least number of messages that must have been refused.
    /// - Throws: What the attack throws, or an error if an answer did not come.
    private func disturb(
      _ attack: (Network) async throws -> (peers: [CurvePeer], refused: Counts)
    ) async throws {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        let outcome = try await network.start("KING:", tokens: Self.tokens).wait()
        let undisturbed = try outcome.document(RunDocument.self).tokens
        let stream = try network.start("KING:", tokens: Self.tokens)
        let isRunning = try await eventually(within: .seconds(5)) {
          try await network.status().sessions == 1
        }
        try #require(isRunning)
        let (before, epoch) = (try await network.status().protocolErrors, 1)
        let (peers, refused) = try await attack(network)
        #expect(stream.isRunning, "the peers came too late")
        let areCounted = try await eventually(within: .seconds(8)) {
          let counted = try await network.status().protocolErrors - before
          let workers = try await network.refusedByWorkers()
          return counted >= refused.coordinator
            && zip(workers, refused.workers).allSatisfy { $0 >= $1 }
        }
        let workers = try await network.refusedByWorkers()
        let status = try await network.status()
        #expect(areCounted, "\(before) to \(status.protocolErrors) errors, \(workers)")
        let got: RunDocument = try await stream.wait(atMost: .seconds(60)).document()
        #expect(got.tokens == undisturbed)
        // No session had to be replayed.
        #expect(status.epoch == epoch)
        withExtendedLifetime(peers) {}
        try await network.stop()
      }
    }

    /// Returns a peer that may connect to the coordinator.
    private func front(_ network: Network) throws -> CurvePeer {
      let secret = try network.east.secret
      return try CurvePeer(network.endpoint, secret: secret, server: network.hub.publicKey)
    }

    /// Returns peers that may hand steps to the workers, one for each.
    private func backs(_ network: Network) throws -> [CurvePeer] {
      let machines = [(network.east, network.west), (network.west, network.east)]
      return try zip(network.data, machines).map { endpoint, machines in
        let (owner, other) = machines
        return try CurvePeer(endpoint, secret: other.secret, server: owner.publicKey)
      }
    }

    private func step(epoch: UInt32, sequence: UInt64) throws -> [UInt8] {
      let row = StepRow(slot: 0, position: 0, token: 2, output: .none)
      let step = Step(
        epoch: epoch,
        sequence: sequence,
        cleared: [0, 1, 2, 3],
        rows: [row],
        stageMicroseconds: []
      )
      return try Message.step(step).encoded()
    }

    @Test func `frames that are no messages are refused and counted`() async throws {
      try await disturb { network in
        let (front, backs) = (try front(network), try backs(network))
        var flipped = try step(epoch: 1, sequence: 1)
        flipped[flipped.count / 2] ^= 0x80
        let good = try step(epoch: 1, sequence: 1)
        let frames: [[[UInt8]]] = [
          [[0xff, 0xff]], [[]], [flipped], [Array(good.dropLast(3))], [good, [1, 2, 3]],
        ]
        for peer in [front] + backs { frames.forEach(peer.send) }
        let counts = Counts(coordinator: frames.count, workers: [frames.count, frames.count])
        return ([front] + backs, counts)
      }
    }

    @Test func `frames over the limits are refused and counted`() async throws {
      try await disturb { network in
        let (front, backs) = (try front(network), try backs(network))
        let header = [UInt8](repeating: 8, count: Limits.headerBytes + 1)
        let good = try step(epoch: 1, sequence: 1)
        let many = [good] + Array(repeating: [0, 0, 0, 0], count: Limits.payloads + 1)
        for peer in [front] + backs {
          peer.send([header])
          peer.send(many)
        }
        return ([front] + backs, Counts(coordinator: 2, workers: [2, 2]))
      }
    }

    @Test func `messages of another epoch are refused and counted`() async throws {
      try await disturb { network in
        let (front, backs) = (try front(network), try backs(network))
        for epoch in [UInt32(0), 2, .max] {
          for peer in backs { peer.send([try step(epoch: epoch, sequence: .max)]) }
          let done = StepDone(epoch: epoch, sequence: 1, results: [], stageMicroseconds: [])
          front.send([try Message.stepDone(done).encoded()])
        }
        return ([front] + backs, Counts(coordinator: 3, workers: [3, 3]))
      }
    }

    @Test func `messages that come once more are refused and counted`() async throws {
      try await disturb { network in
        let (front, backs) = (try front(network), try backs(network))
        for sequence in UInt64(1)...4 {
          // Almost the step that the coordinator would send; if it ran, it would clear the slots in
          // use.
          for peer in backs { peer.send([try step(epoch: 1, sequence: sequence)]) }
          let result = RowResult(slot: 0, position: 5, token: 7, logProbability: 0)
          let done = StepDone(
            epoch: 1,
            sequence: sequence,
            results: [result],
            stageMicroseconds: [1, 1]
          )
          front.send([try Message.stepDone(done).encoded()])
        }
        return ([front] + backs, Counts(coordinator: 4, workers: [4, 4]))
      }
    }

    @Test func `a worker of another version is counted, one of other weights told`() async throws {
      try await disturb { network in
        let peer = try front(network)
        // The second byte of every header is the version.
        var header = try Message.goodbye(Goodbye(reason: "of tomorrow")).encoded()
        try #require(header[0] == 0x08 && header[1] == UInt8(protocolVersion))
        header[1] += 1
        for _ in 0..<3 { peer.send([header]) }
        let hello = Hello(
          name: "tomorrow",
          device: .unknown,
          pid: 1,
          fingerprint: Digest(of: []),
          modelName: "",
          layerCount: 30,
          dataEndpoint: "tcp://127.0.0.1:1",
          resultsIdentity: PeerID([1])
        )
        peer.send([try Message.hello(hello).encoded()])
        guard
          case .refused(let refused) = try Message(
            decoding: try #require(peer.receive(within: 5000))
          )
        else {
          Issue.record("not refused")
          return ([peer], Counts(coordinator: 3))
        }
        #expect(refused.code == .fingerprint, "\(refused)")
        return ([peer], Counts(coordinator: 3))
      }
    }
  }
}
