// Workers that die or hang during generation: the client sees a pause, and every token is the same.

import Glibc
import TestSupport
import Testing

private let prompt = "KING RICHARD III:\nMy lord, "
private let options = [
  "--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "400",
]

extension Integration {
  @Suite struct `Loss of a worker` {
    /// Starts two requests, disturbs a worker while both are in flight, and expects the undisturbed
    /// run's tokens from both.
    private func disturb(
      _ cluster: Cluster,
      worker index: Int,
      with signal: CInt,
      undisturbed: RunDocument
    ) async throws {
      let before = try await cluster.workerPids()
      let streaming = try cluster.start(prompt, options)
      let other = try cluster.start(prompt, options + ["--json"])
      try await streaming.waitForOutput { $0.count > 60 }
      kill(pid_t(before[index]), signal)
      #expect(streaming.isRunning && other.isRunning, "the worker was to be lost before the end")
      let text = try await streaming.wait().output
      #expect(text == undisturbed.text + "\n", "worker \(index)")
      let document: RunDocument = try await other.wait().document()
      #expect(document.tokens == undisturbed.tokens, "worker \(index)")
      try await cluster.waitUntilHealthy()
      let after = try await cluster.workerPids()
      for place in before.indices {
        #expect((after[place] == before[place]) == (place != index), "place \(place)")
      }
      #expect(!ProcessTable.isRunning(before[index]))
    }

    @Test func `whichever worker is killed in mid-generation, no token changes`() async throws {
      try await withCluster { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        for index in 0..<3 {
          try await disturb(cluster, worker: index, with: SIGKILL, undisturbed: undisturbed)
        }
        #expect(try await cluster.status().epoch > 3)
      }
    }

    @Test func `a worker that is stopped is replaced, and no token changes`() async throws {
      try await withCluster { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        try await disturb(cluster, worker: 1, with: SIGSTOP, undisturbed: undisturbed)
        // The stop is noticed at once, before the heartbeat's timeout.
        try await cluster.process.waitForErrors("was stopped by signal \(SIGSTOP)")
        #expect(!cluster.process.errors.contains("no heartbeat"))
      }
    }

    @Test func `all workers may be lost at once`() async throws {
      try await withCluster { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        let before = try await cluster.workerPids()
        let client = try cluster.start(prompt, options + ["--json"])
        #expect(
          try await eventually(within: .seconds(5)) { try await cluster.status().sessions == 1 }
        )
        for pid in before { kill(pid_t(pid), SIGKILL) }
        let document: RunDocument = try await client.wait().document()
        #expect(document.tokens == undisturbed.tokens)
        try await cluster.waitUntilHealthy()
        #expect(Set(try await cluster.workerPids()).isDisjoint(with: before))
      }
    }
  }
}
