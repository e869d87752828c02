// Observability of a pipeline: top, the timeline, self-tests.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Insight` {
    private let model = Goldens.demoModel.path

    @Test func `status tells of latencies and caches after a request`() async throws {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let before = try await status(cluster)
        #expect(before.ttft.count == 0 && before.ttft.p50Ms == nil)
        #expect(before.kvPositions == 0 && before.kvCapacityPositions > 0)
        _ = try await answer(cluster)
        let after = try await status(cluster)
        #expect(after.ttft.count == 1 && after.interToken.count >= 8)
        #expect(try #require(after.interToken.p99Ms) >= #require(after.interToken.p50Ms))
        #expect(after.workers.allSatisfy { $0.bubble >= 0 && $0.bubble <= 1 })
        try await cluster.stop()
      }
    }

    @Test func `status counts requests and tokens, and what was taken from the caches`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let options = ["--temperature", "0", "--max-tokens", "9"]
        let prompt = "What news of the king, my lord?"
        let first = try await cluster.run(prompt, options)
        let again = try await cluster.run(prompt, options)
        #expect(again.tokens == first.tokens)
        #expect(first.cachedTokens == 0 && (1..<again.promptTokens).contains(again.cachedTokens))
        let refused = try await TrestleProcess.run(
          ["run", "--raw", "--endpoint", cluster.endpoint, String(repeating: "king ", count: 9000)]
        )
        #expect(refused.status == 1, "\(refused)")
        let counters = try await cluster.status().counters
        #expect(counters.requests.stop + counters.requests.length == 2)
        let failures = counters.requests.failed.filter { $0.count > 0 }
        #expect(failures.map(\.code) == ["too_long"] && failures.map(\.count) == [1])
        #expect(counters.promptTokens == 2 * first.promptTokens)
        #expect(counters.cachedTokens == again.cachedTokens)
        #expect(counters.generatedTokens == 2 * first.tokens.count)
        #expect(counters.epochs == 1 && counters.lostWorkers == 0 && counters.steps > 2)
        try await cluster.stop()
      }
    }

    @Test func `top prints a frame, or a document a refresh until it is interrupted`() async throws
    {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let frame = try await TrestleProcess.run(["top", "--once", "--endpoint", cluster.endpoint])
        #expect(frame.status == 0 && frame.errors.isEmpty, "\(frame)")
        #expect(frame.output.contains("cpu-2") && frame.output.contains("demo-model  ready"))
        #expect(!frame.output.contains("\u{1B}"))
        let top = try TrestleProcess(["top", "--json", "--endpoint", cluster.endpoint])
        try await top.waitForOutput { $0.count(where: { $0 == "\n" }) >= 3 }
        top.signal(SIGINT)
        let end = try await top.wait(atMost: .seconds(3))
        #expect(end.status == 0 && end.errors.isEmpty, "\(end)")
        for line in end.output.split(separator: "\n") {
          let decoder = JSONDecoder()
          decoder.keyDecodingStrategy = .convertFromSnakeCase
          let document = try decoder.decode(StatusDocument.self, from: Data(line.utf8))
          #expect(document.workers.count == 3)
        }
        try await cluster.stop()
      }
      let nobody = try await TrestleProcess.run(["top", "--endpoint", "ipc:///tmp/nobody/here"])
      #expect(nobody.status == 1 && nobody.output.isEmpty, "\(nobody)")
    }

    @Test func `workers test their devices at the start and on request`() async throws {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let atStart = try await cluster.health()
        #expect(atStart.workers.allSatisfy { $0.selfTest?.run == 0 && $0.selfTest?.passed == true })
        for run in 1...2 {
          let outcome = try await TrestleProcess.run(
            ["health", "--self-test", "--json", "--endpoint", cluster.endpoint]
          )
          #expect(outcome.status == 0, "\(outcome)")
          let health = try outcome.document(HealthDocument.self)
          #expect(health.workers.count == 3)
          for worker in health.workers {
            let test = try #require(worker.selfTest)
            #expect(test.run == run && test.passed)
            #expect(try #require(test.maxError) < test.tolerance)
            #expect(worker.residentBytes > 0 && worker.availableBytes > 0)
          }
        }
        try await cluster.stop()
      }
    }

    @Test func `a timeline has a slice for every micro-batch of every stage`() async throws {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/trace.json"
        let cluster = try await Cluster(in: directory, Cluster.threeWorkers + ["--trace", path])
        let count = try await answer(cluster).count
        try await cluster.stop()
        let events = try timeline(path)
        let slices = events.filter { $0.ph == "X" }
        for stage in 1...3 {
          let own = slices.filter { $0.tid == stage }.sorted { $0.ts < $1.ts }
          // One step for each token, and one that clears the slot.
          #expect(own.count >= count, "stage \(stage)")
          for (before, after) in zip(own, own.dropFirst()) {
            #expect(before.ts + (before.dur ?? 0) <= after.ts + 2, "stage \(stage)")
          }
        }
        #expect(events.contains { $0.ph == "i" && $0.name == "serving" })
      }
    }

    @Test func `run and bench write one too, and a client of another pipeline cannot`() async throws
    {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/run.json"
        let devices = ["--model", model, "--devices", "cpu", "--threads", "1"]
        let run = try await TrestleProcess.run(
          ["run", "--raw", "--max-tokens", "4", "--trace", path, "ROMEO:"] + devices
        )
        #expect(run.status == 0, "\(run)")
        #expect(try timeline(path).count { $0.ph == "X" } >= 4)
        let refused = try await TrestleProcess.run(["run", "--trace", path, "Hi"])
        #expect(refused.status == 64 && refused.errors.contains("--trace"), "\(refused)")
        let nowhere = try await TrestleProcess.run(
          ["run", "--trace", "\(directory)/no/such.json", "Hi"] + devices
        )
        #expect(nowhere.status == 1 && nowhere.errors.contains("such.json"), "\(nowhere)")
      }
    }

    private struct Event: Decodable {
      var ph: String
      var name: String
      var tid: Int
      var ts: Double
      var dur: Double?
    }

    private func timeline(_ path: String) throws -> [Event] {
      try JSONDecoder().decode([Event].self, from: Data(contentsOf: URL(filePath: path)))
    }

    private func status(_ cluster: Cluster) async throws -> StatusDocument {
      try await TrestleProcess.run(["status", "--json", "--endpoint", cluster.endpoint]).document()
    }

    /// Returns the tokens of a short answer.
    private func answer(_ cluster: Cluster) async throws -> [Int] {
      let outcome = try await TrestleProcess.run(
        ["run", "--endpoint", cluster.endpoint, "--temperature", "0", "--raw", "--json"]
          + ["--max-tokens", "10", "ROMEO:"]
      )
      return try outcome.document(RunDocument.self).tokens
    }
  }
}
