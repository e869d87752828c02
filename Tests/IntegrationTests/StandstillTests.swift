// Processes that are stopped and continue later, as by Ctrl-Z and fg, a suspended laptop, or a
// paused container: every answer is the same as without the stop.

import Foundation
import Glibc
import TestSupport
import Testing

private let prompt = "KING RICHARD III:\nMy lord, "
private let options = [
  "--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "900", "--json",
]

extension Integration {
  @Suite struct `Standstills` {
    private func stop(_ pids: [Int], for time: Duration) async throws {
      for pid in pids { kill(pid_t(pid), SIGSTOP) }
      try await Task.sleep(for: time)
      for pid in pids.reversed() { kill(pid_t(pid), SIGCONT) }
    }

    /// Starts four streams, runs `body` meanwhile, and expects their usual tokens and the same
    /// workers.
    private func disturb(
      _ cluster: Cluster,
      _ undisturbed: RunDocument,
      _ body: (_ clients: [Int]) async throws -> Void
    ) async throws {
      let before = try await cluster.workerPids()
      let clients = try (0..<4).map { _ in try cluster.start(prompt, options) }
      let areServed = try await eventually(within: .seconds(5)) {
        try await cluster.status().sessions == 4
      }
      #expect(areServed)
      try await body(clients.map { Int($0.pid) })
      for client in clients {
        let document: RunDocument = try await client.wait(atMost: .seconds(60)).document()
        #expect(document.tokens == undisturbed.tokens)
        #expect(document.finishReason == undisturbed.finishReason)
      }
      try await cluster.waitUntilHealthy()
      #expect(try await cluster.workerPids() == before)
    }

    @Test func `a coordinator that stands still for seconds beside streams goes on`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--context", "1024"]) { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        for milliseconds in [300, 2500] {
          try await disturb(cluster, undisturbed) { _ in
            try await stop([Int(cluster.process.pid)], for: .milliseconds(milliseconds))
          }
        }
        try await cluster.process.waitForErrors("was stopped for a while")
      }
    }

    @Test func `a machine that sleeps with all its processes goes on`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--context", "1024"]) { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        try await disturb(cluster, undisturbed) { clients in
          let workers = try await cluster.workerPids()
          // First the workers are stopped last and so continued first; then the other way round.
          try await stop(clients + [Int(cluster.process.pid)] + workers, for: .seconds(3))
          try await Task.sleep(for: .milliseconds(200))
          try await stop(workers + [Int(cluster.process.pid)] + clients, for: .seconds(3))
        }
        // The coordinator resumes workers that it finds stopped when it continues, and does not
        // kill them.
        #expect(!cluster.process.errors.contains("worker lost"))
      }
    }

    @Test func `a client that is stopped gets its whole answer when it goes on`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--context", "4096"]) { cluster in
        let long = [
          "--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "3000", "--json",
        ]
        let undisturbed = try await cluster.run(prompt, long)
        try #require(undisturbed.tokens.count > 600, "the answer ended too soon")
        let client = try cluster.start(prompt, long)
        let isServed = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 1
        }
        #expect(isServed)
        kill(client.pid, SIGSTOP)
        // The pause is longer than the whole answer would take, and the client reads nothing of it.
        try await Task.sleep(for: .seconds(5))
        #expect(try await cluster.status().sessions == 1)
        // Other clients are served meanwhile.
        #expect(try await cluster.run(prompt, options).tokens.count > 100)
        kill(client.pid, SIGCONT)
        let document: RunDocument = try await client.wait(atMost: .seconds(60)).document()
        #expect(document.tokens == undisturbed.tokens)
      }
    }

    @Test func `megabytes of line ends keep nobody waiting`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--context", "1024"]) { cluster in
        let undisturbed = try await cluster.run(prompt, options)
        try await disturb(cluster, undisturbed) { _ in
          let big = try TrestleProcess(
            ["run", "--endpoint", cluster.endpoint, "--raw", "--max-tokens", "1", "-"],
            input: [UInt8](repeating: 10, count: 8 << 20)
          )
          let began = ContinuousClock.now
          for _ in 0..<10 { _ = try await cluster.status() }
          // Ten answers, on a machine that may be busy with other tests.
          #expect(ContinuousClock.now - began < .seconds(20))
          let outcome = try await big.wait(atMost: .seconds(60))
          #expect(outcome.status == 1, "\(outcome)")
          #expect(outcome.errors.contains("8388608 bytes"), "\(outcome)")
        }
      }
    }
  }
}
