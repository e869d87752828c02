// Layers that move between worker processes while requests run, and workers that come and go at the
// user's request: every client gets what it would have got undisturbed.

import Foundation
import Glibc
import TestSupport
import Testing

private let prompt = "KING RICHARD III:\nMy lord, "

private func options(seed: Int) -> [String] {
  ["--raw", "--temperature", "0.8", "--seed", "\(seed)", "--max-tokens", "400", "--json"]
}

extension Integration {
  @Suite struct `Live rebalance` {
    /// Returns the undisturbed tokens of each stream, by seed.
    private func undisturbed(_ cluster: Cluster, _ seeds: Range<Int>) async throws -> [[Int]] {
      var tokens: [[Int]] = []
      for seed in seeds { tokens.append(try await cluster.run(prompt, options(seed: seed)).tokens) }
      return tokens
    }

    private func rebalance(
      _ cluster: Cluster,
      _ arguments: String...
    ) async throws
      -> RebalanceDocument
    {
      try await TrestleProcess.run(
        ["rebalance", "--json", "--endpoint", cluster.endpoint] + arguments
      ).document()
    }

    @Test func `layers move under live streams, and no token changes`() async throws {
      try await withCluster { cluster in
        let wanted = try await undisturbed(cluster, 0..<4)
        let streams = try (0..<4).map { try cluster.start(prompt, options(seed: $0)) }
        let areRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 4
        }
        try #require(areRunning)
        var moved: [RebalanceDocument] = []
        for split in ["12,8,10", "1,28,1", "30", "20,0,10", "10,10,10"] {
          moved.append(try await rebalance(cluster, "--split", split))
        }
        #expect(moved.map(\.epoch) == [2, 3, 4, 5, 6])
        // A worker that has stood by comes last in the next order, so the last move changes two
        // workers.
        #expect(moved.map(\.layersMoved) == [2, 20, 29, 10, 20])
        // The streams were live, so keys and values were moved, too.
        #expect(moved[0].kvBytesMoved > 0)
        for (stream, tokens) in zip(streams, wanted) {
          let document: RunDocument = try await stream.wait().document()
          #expect(document.tokens == tokens)
        }
        let layers = try await cluster.status().workers.map(\.layers)
        #expect(layers == [[0, 10], [10, 20], [20, 30]])
      }
    }

    @Test func `a split that does not fit is refused with what would, and nothing moves`()
      async throws
    {
      try await withCluster { cluster in
        for (split, part) in [
          ("10,10", "adds up to 20 layers, but the model has 30"),
          ("10,10,5,5", "there are 3 workers: cpu-0, cpu-1, cpu-2"),
        ] {
          let outcome = try await TrestleProcess.run(
            ["rebalance", "--split", split, "--endpoint", cluster.endpoint]
          )
          #expect(outcome.status == 1)
          #expect(outcome.errors.contains(part), "\(outcome)")
        }
        #expect(try await cluster.status().epoch == 1)
      }
    }

    @Test func `a worker joins later, takes over layers, and is drained again`() async throws {
      try await withCluster(["--devices", "cpu,cpu", "--split", "15,15", "--threads", "1,1"]) {
        cluster in
        let wanted = try await undisturbed(cluster, 0..<2)
        let streams = try (0..<2).map { try cluster.start(prompt, options(seed: $0)) }
        let late = try TrestleProcess([
          "work", "--model", Goldens.demoModel.path, "--device", "cpu", "--threads", "1",
          "--coordinator", cluster.endpoint, "--name", "late",
        ])
        let hasJoined = try await eventually(within: .seconds(5)) {
          try await cluster.status().workers.contains { $0.name == "late" }
        }
        try #require(hasJoined, "\(late.errors)")
        let joined = try await rebalance(cluster, "--split", "10,10,10")
        #expect(joined.layersMoved == 15)
        let outcome = try await TrestleProcess.run(
          ["drain", "late", "--json", "--endpoint", cluster.endpoint]
        )
        let drained: RebalanceDocument = try outcome.document()
        #expect(drained.epoch == 3)
        #expect(try await late.wait(atMost: .seconds(5)).status == 0)
        #expect(try await cluster.status().workers.map(\.name).contains("late") == false)
        for (stream, tokens) in zip(streams, wanted) {
          let document: RunDocument = try await stream.wait().document()
          #expect(document.tokens == tokens)
        }
      }
    }

    @Test func `a worker killed in the middle of a rebalance costs no token`() async throws {
      try await withCluster { cluster in
        let wanted = try await undisturbed(cluster, 0..<2)
        let streams = try (0..<2).map { try cluster.start(prompt, options(seed: $0)) }
        let areRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 2
        }
        try #require(areRunning)
        let pids = try await cluster.workerPids()
        let move = try TrestleProcess([
          "rebalance", "--split", "2,26,2", "--endpoint", cluster.endpoint,
        ])
        kill(pid_t(pids[1]), SIGKILL)
        // The move ended before the worker died, or was aborted with the reason; both are correct.
        let outcome = try await move.wait(atMost: .seconds(20))
        #expect(
          outcome.status == 0 || outcome.errors.contains("stay where they are")
            || outcome.errors.contains("not serving")
            || outcome.errors.contains("the pipeline waits for cpu-1"),
          "\(outcome)"
        )
        for (stream, tokens) in zip(streams, wanted) {
          let document: RunDocument = try await stream.wait().document()
          #expect(document.tokens == tokens)
        }
        try await cluster.waitUntilHealthy()
      }
    }

    @Test func `layers move by themselves if the user says so, and no token changes`() async throws
    {
      // The split is so uneven that no other load of the machine hides it: the last stage does
      // nearly all the work.
      let uneven = ["--devices", "cpu,cpu", "--split", "1,29", "--threads", "1,1"]
      try await withCluster(uneven + ["--auto-rebalance"]) { cluster in
        let wanted = try await undisturbed(cluster, 0..<1)
        // The imbalance must last for twenty seconds.
        var hasMoved = false
        let deadline = ContinuousClock.now + .seconds(60)
        while !hasMoved, ContinuousClock.now < deadline {
          #expect(try await cluster.run(prompt, options(seed: 0)).tokens == wanted[0])
          hasMoved = try await cluster.status().epoch > 1
        }
        #expect(hasMoved, "\(cluster.process.errors)")
        let status = try await cluster.status()
        #expect(status.workers[0].layers[1] > 1)
        #expect(status.autoRebalance.enabled)
        #expect(status.autoRebalance.lastDecision?.contains("a step takes cpu-0") == true)
        try await cluster.process.waitForErrors("decision=move")
        #expect(try await cluster.run(prompt, options(seed: 0)).tokens == wanted[0])
      }
    }

    @Test func `a prompt that begins like an earlier one gets the same answer`() async throws {
      try await withCluster { cluster in
        let cold = try await cluster.run(prompt + "what news?", options(seed: 3))
        let warm = try await cluster.run(prompt + "what news?", options(seed: 3))
        #expect(warm.tokens == cold.tokens)
        let longer = try await cluster.run(prompt + "what news? Speak!", options(seed: 3))
        try await withCluster { fresh in
          let alone = try await fresh.run(prompt + "what news? Speak!", options(seed: 3))
          #expect(longer.tokens == alone.tokens)
        }
      }
    }
  }
}

/// The output of `rebalance --json`.
struct RebalanceDocument: Decodable, Sendable {
  var epoch: Int
  var layersMoved: Int
  var kvBytesMoved: Int
  var pauseMs: Double
}
