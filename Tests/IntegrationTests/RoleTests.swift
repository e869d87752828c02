// Coordinator and workers that are started separately, as by other supervisors or on other
// machines.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Separate roles` {
    private let model = Goldens.demoModel.path

    private func coordinate(_ endpoint: String, _ options: [String] = []) throws -> TrestleProcess {
      try TrestleProcess(
        ["coordinate", "--model", model, "--endpoint", endpoint, "--devices", "cpu,cpu"]
          + ["--split", "12,18"] + options
      )
    }

    private func work(_ endpoint: String, _ options: [String] = []) throws -> TrestleProcess {
      try TrestleProcess(
        ["work", "--model", model, "--device", "cpu", "--threads", "1", "--coordinator", endpoint]
          + options
      )
    }

    private func answer(_ endpoint: String, _ options: [String] = []) async throws -> [Int] {
      let outcome = try await TrestleProcess.run(
        ["run", "--endpoint", endpoint, "--temperature", "0", "--json"] + options
          + ["Who are you?"]
      )
      return try outcome.document(RunDocument.self).tokens
    }

    private func answerOfReference() throws -> [Int] {
      let item = try Goldens.load("demo-model").cases.first { $0.text == "Who are you?" }
      return Array(try #require(item).greedy.prefix { $0 != 6 })
    }

    @Test func `workers may be started before and after their coordinator`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let early = try work(endpoint)
        try await Task.sleep(for: .milliseconds(300))
        let coordinator = try coordinate(endpoint)
        let health = ["health", "--json", "--endpoint", endpoint]
        let isUp = try await eventually(within: .seconds(10)) {
          FileManager.default.fileExists(atPath: "\(directory)/front")
        }
        try #require(isUp, "\(coordinator.errors)")
        let incomplete = try await TrestleProcess.run(health)
        #expect(incomplete.status == 1, "\(incomplete)")
        let missing = try incomplete.document(HealthDocument.self)
        #expect(!missing.healthy && missing.workers.contains { $0.state == "lost" })
        #expect(coordinator.output.isEmpty)

        let late = try work(endpoint, ["--name", "cpu-1"])
        try await coordinator.waitForOutput { $0 == "ready\n" }
        #expect(try await answer(endpoint) == answerOfReference())
        let complete = try await TrestleProcess.run(health)
        #expect(complete.status == 0, "\(complete)")
        #expect(
          try complete.document(HealthDocument.self).workers.map(\.pid) == [
            Int(early.pid), Int(late.pid),
          ]
        )

        // After SIGTERM a worker says goodbye; the coordinator shuts down the other one itself.
        late.signal(SIGTERM)
        #expect(try await late.wait(atMost: .seconds(3)).status == 0)
        #expect(try await TrestleProcess.run(health).status == 1)
        coordinator.signal(SIGTERM)
        #expect(try await coordinator.wait(atMost: .seconds(5)).status == 0)
        let end = try await early.wait(atMost: .seconds(5))
        #expect(end.status == 0, "\(end)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
      }
    }

    @Test func `a worker with other weights is refused, with both fingerprints`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint)
        let other = Goldens.checkpoint("gemma3n-random-a").path
        let worker = try TrestleProcess(
          ["work", "--model", other, "--device", "cpu", "--coordinator", endpoint]
        )
        let refused = try await worker.wait(atMost: .seconds(15))
        #expect(refused.status == 1, "\(refused)")
        let reason = try #require(
          refused.errors.split(separator: "\n").first { $0.hasPrefix("error: ") }
        )
        for path in [model, other] {
          let inspected = try await TrestleProcess.run(["inspect", "--json", path])
          let fingerprint = try inspected.document(Fingerprint.self).fingerprint
          #expect(reason.contains(fingerprint), "\(refused)")
        }
        #expect(coordinator.isRunning && coordinator.output.isEmpty)
      }
    }

    private struct Fingerprint: Decodable { var fingerprint: String }

    @Test func `when a coordinator is killed its workers and clients notice and end`() async throws
    {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint)
        let workers = try (0..<2).map { _ in try work(endpoint) }
        try await coordinator.waitForOutput { $0 == "ready\n" }
        let client = try TrestleProcess(
          ["run", "--endpoint", endpoint, "--raw", "--max-tokens", "3000", "--seed", "2", "ROMEO:"]
        )
        try await client.waitForOutput { !$0.isEmpty }
        coordinator.signal(SIGKILL)
        // No message tells them, so they give up after a timeout of ten seconds.
        for process in workers + [client] {
          let outcome = try await process.wait(atMost: .seconds(14))
          #expect(outcome.status == 1, "\(outcome)")
          let reasons = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("error: ") }
          #expect(reasons.count == 1, "\(outcome)")
        }
      }
    }

    @Test func `a tcp endpoint needs keys, or --insecure`() async throws {
      let endpoint = "tcp://127.0.0.1:\(try freePort())"
      let worker = ["work", "--model", model, "--device", "cpu", "--coordinator", endpoint]
      for arguments in [
        ["up", "--model", model, "--endpoint", endpoint],
        ["coordinate", "--model", model, "--endpoint", endpoint],
        worker + ["--listen", "tcp://127.0.0.1:*"],
        ["status", "--endpoint", endpoint],
        ["run", "--endpoint", endpoint, "Hello"],
      ] {
        let refused = try await TrestleProcess.run(arguments + ["--keys", "/nowhere/keys"])
        #expect(refused.status == 1, "\(refused)")
        #expect(refused.errors.contains(endpoint), "\(refused)")
        #expect(refused.errors.contains("--insecure"), "\(refused)")
        #expect(refused.errors.contains("trestle keys"), "\(refused)")
        #expect(refused.errors.contains("/nowhere/keys"), "\(refused)")
      }
    }

    @Test func `with --insecure a pipeline runs over tcp`() async throws {
      let endpoint = "tcp://127.0.0.1:\(try freePort())"
      let coordinator = try coordinate(endpoint, ["--insecure"])
      let workers = try (0..<2).map { _ in
        try work(endpoint, ["--listen", "tcp://127.0.0.1:*", "--insecure"])
      }
      try await coordinator.waitForOutput { $0 == "ready\n" }
      #expect(try await answer(endpoint, ["--insecure"]) == answerOfReference())
      coordinator.signal(SIGINT)
      #expect(try await coordinator.wait(atMost: .seconds(5)).status == 0)
      for worker in workers {
        let end = try await worker.wait(atMost: .seconds(5))
        #expect(end.status == 0, "\(end)")
      }
    }
  }
}
