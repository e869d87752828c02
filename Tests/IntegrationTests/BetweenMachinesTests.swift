// Pipelines over encrypted tcp. Each machine is a directory with keys of its own.

import Content
import Foundation
import Glibc
import TestSupport
import Testing
import Wire

extension Integration {
  @Suite struct `Between machines` {
    private let model = Goldens.demoModel.path

    private func answer(_ process: TrestleProcess) async throws -> [Int] {
      let outcome = try await process.wait(atMost: .seconds(60))
      try #require(outcome.status == 0, "\(outcome)")
      return try outcome.document(RunDocument.self).tokens
    }

    @Test func `three machines give the tokens that one process gives`() async throws {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        let item = try Goldens.load("demo-model").cases[0]
        let got = try await answer(network.start(item.text ?? "", tokens: 40))
        #expect(got == Array(item.greedy.prefix(40)))
        #expect(try await network.status().protocolErrors == 0)
        try await network.stop()
      }
    }

    @Test func `up serves a tcp endpoint with keys, to those it allows`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let asker = try await Machine("asker", in: directory)
        let endpoint = "tcp://127.0.0.1:\(try freePort())"
        let up = try TrestleProcess(
          ["up", "--model", model, "--endpoint", endpoint, "--keys", hub.directory]
            + Cluster.threeWorkers
        )
        try await up.waitForOutput { $0 == "ready\n" }
        let status = ["status", "--json", "--endpoint", endpoint]
        // A command on the coordinator's own machine needs no option for the server's key.
        let own = try await TrestleProcess.run(status + ["--keys", hub.directory])
        #expect(try own.document(StatusDocument.self).workers.count == 3)
        // A client that retries gets in as soon as its key is allowed.
        let waiting = try TrestleProcess(status + asker.options(to: hub))
        try await up.waitForErrors("unknown key \(asker.publicKey)")
        try await hub.allow(asker, name: "asker")
        let outcome = try await waiting.wait()
        #expect(try outcome.document(StatusDocument.self).protocolErrors > 0, "\(outcome)")
        up.signal(SIGTERM)
        #expect(try await up.wait(atMost: .seconds(8)).status == 0)
      }
    }

    @Test func `who has no key, a wrong one, or a right one and no manners disturbs nobody`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        let stranger = try await Machine("stranger", in: directory)
        let undisturbed = try await answer(network.start("KING:", tokens: 3000))
        let before = try await network.status().protocolErrors
        let generation = try network.start("KING:", tokens: 3000)
        let doors = [
          (network.endpoint, network.hub), (network.data[0], network.east),
          (network.data[1], network.west),
        ]
        var refused: [CurvePeer] = []
        for (endpoint, owner) in doors {
          let server = owner.publicKey
          refused += [
            try CurvePeer(endpoint, secret: nil, server: server),
            try CurvePeer(endpoint, secret: stranger.secret, server: server),
            try CurvePeer(endpoint, secret: network.asker.secret, server: stranger.publicKey),
          ]
        }
        // A client's key may connect to the coordinator, but to no worker.
        let west = network.west.publicKey
        refused.append(
          try CurvePeer(network.data[1], secret: network.asker.secret, server: west)
        )
        for peer in refused {
          peer.send([try Message.healthRequest(HealthRequest(request: 1)).encoded()])
        }
        let unmannerly = try misbehave(network)
        #expect(generation.isRunning, "the peers came too late")
        #expect(try await answer(generation) == undisturbed)
        for peer in refused + unmannerly { #expect(peer.receive(within: 10) == nil) }
        let after = try await network.status().protocolErrors
        #expect(after >= before + 5, "\(before) to \(after)")
        for worker in network.workers {
          try await worker.waitForErrors("unknown key \(stranger.publicKey)")
        }
        try await network.workers[1].waitForErrors("unknown key \(network.asker.publicKey)")
        try await network.stop()
      }
    }

    @Test(arguments: ["test-between-namespaces", "test-lossy-links"])
    func `a link that is cut, late or lossy changes no token`(_ script: String) throws {
      let (status, text) = try runScript(
        script,
        environment: ["TRESTLE_BINARY": TrestleProcess.program]
      )
      if status == 77 { try Test.cancel("\(text)") }
      #expect(status == 0, "\(text)")
    }

    /// What a worker's own key can do: noise, frames beyond the limits, another version, other weights.
    ///
    /// - Returns: The peers, which stay connected for as long as they are held.
    private func misbehave(_ network: Network) throws -> [CurvePeer] {
      let secret = try network.east.secret
      let front = try CurvePeer(network.endpoint, secret: secret, server: network.hub.publicKey)
      front.send([[0xff, 0xff, 0xff]])
      front.send([[0x08, 0x63]])
      front.send([[UInt8](repeating: 0, count: Limits.headerBytes + 1)])
      let hello = Hello(
        name: "",
        device: .unknown,
        pid: 1,
        fingerprint: Digest(of: []),
        modelName: "",
        layerCount: 30,
        dataEndpoint: "tcp://127.0.0.1:1",
        resultsIdentity: PeerID([1])
      )
      front.send([try Message.hello(hello).encoded()])
      let reply = try #require(front.receive(within: 5000))
      let message = try unsafe reply.withUnsafeBytes { bytes throws -> Message in
        try unsafe Message(decoding: bytes)
      }
      guard case .refused(let refused) = message else {
        Issue.record("\(message)")
        return []
      }
      #expect(refused.code == .fingerprint, "\(refused)")
      let data = try CurvePeer(network.data[1], secret: secret, server: network.west.publicKey)
      data.send([[0xff], [1, 2, 3]])
      data.send([[UInt8](repeating: 0, count: Limits.headerBytes + 1)])
      return [front, data]
    }
  }
}
