// `trestle plan`, and `up` when it chooses the placement.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Plans` {
    private let model = Goldens.demoModel.path
    private static let twoWorkers = ["--devices", "cpu,cpu", "--threads", "1,1"]

    private struct Document: Decodable {
      struct Request: Decodable {
        var promptTokens: Int
        var answerTokens: Int
        var ms: Double
        var simulatedMs: Double
      }
      struct Prefill: Decodable {
        var promptTokens: Int
        var tokensPerSecond: Double
        var firstTokenMs: Double
      }
      struct Phases: Decodable {
        var prompts: Alternative
        var answers: Alternative
        var reason: String
      }
      struct LayerCosts: Decodable {
        var device: String
        var promptUs: [Double]
        var decodeUs: [Double]
      }
      struct Stage: Decodable {
        var device: String
        var kind: String
        var layers: [Int]
        var stepMs: Double
        var busy: Double
        var memoryBytes: Int
      }
      struct Simulated: Decodable {
        var decodeTokensPerSecond: Double
        var prefillTokensPerSecond: Double
        var firstTokenMs: Double
        var bubbles: [Double]
      }
      struct Alternative: Decodable {
        var name: String
        var split: [Int]
        var tokensPerSecond: Double
        var reason: String
      }
      var kind: String
      var objective: String
      var streams: Int
      var slots: Int
      var stages: [Stage]
      var tokensPerSecond: Double
      var simulated: Simulated
      var alternatives: [Alternative]
      var request: Request?
      var prefill: Prefill
      var phases: Phases?
      var layerCosts: [LayerCosts]
    }

    private func plan(
      _ options: [String],
      cache: String
    ) async throws -> Outcome {
      try await TrestleProcess.run(
        ["plan", "--model", model] + options,
        environment: ["XDG_CACHE_HOME": cache]
      )
    }

    @Test func `a plan covers all layers, once, and says what else there was`() async throws {
      try await withTemporaryDirectory { cache in
        let outcome = try await plan(Self.twoWorkers + ["--streams", "4", "--json"], cache: cache)
        #expect(outcome.status == 0, "\(outcome)")
        let document = try outcome.document(Document.self)
        #expect(document.kind == "measured" && document.objective == "throughput")
        #expect(document.streams == 4 && document.slots == 8)
        #expect(document.stages.first?.layers.first == 0)
        #expect(document.stages.last?.layers.last == 30)
        for (one, next) in zip(document.stages, document.stages.dropFirst()) {
          #expect(one.layers[1] == next.layers[0])
        }
        #expect(document.stages.allSatisfy { $0.stepMs > 0 && (0...1.000001).contains($0.busy) })
        #expect(document.alternatives.map(\.name) == ["1 stage", "2 stages", "even split"])
        #expect(document.alternatives.contains { $0.reason == "chosen" })
        #expect(document.alternatives.last?.split == [15, 15])
        // The simulation uses the same costs.
        let share = document.simulated.decodeTokensPerSecond / document.tokensPerSecond
        #expect((0.5...1.1).contains(share), "\(share)")
        let prompts = document.simulated.prefillTokensPerSecond / document.prefill.tokensPerSecond
        #expect((0.8...1.2).contains(prompts), "\(prompts)")
        #expect(document.request == nil && document.prefill.promptTokens == 512)

        // Memory is counted for all streams.
        let crowd = try await plan(Self.twoWorkers + ["--streams", "32", "--json"], cache: cache)
        let many = try crowd.document(Document.self)
        #expect(many.streams == 32 && many.slots == 32)
        let memory = { (document: Document) in document.stages.reduce(0) { $0 + $1.memoryBytes } }
        #expect(memory(many) > memory(document), "\(memory(many))")

        let split = try await plan(
          Self.twoWorkers + ["--split", "12,18", "--json"],
          cache: cache
        ).document(Document.self)
        #expect(split.stages.map(\.layers) == [[0, 12], [12, 30]])
      }
    }

    @Test func `requests are planned for, and what either phase would choose is told`() async throws
    {
      try await withTemporaryDirectory { cache in
        let requests = ["--streams", "4", "--prompt-tokens", "96", "--explain", "--json"]
        let document = try await plan(Self.twoWorkers + requests, cache: cache)
          .document(Document.self)
        let request = try #require(document.request)
        #expect(request.promptTokens == 96 && request.answerTokens == 128 && request.ms > 0)
        #expect((0.5...2).contains(request.simulatedMs / request.ms), "\(request)")
        #expect(document.prefill.promptTokens == 96)
        #expect(
          (0.8...1.2).contains(document.simulated.firstTokenMs / document.prefill.firstTokenMs)
        )
        let phases = try #require(document.phases)
        #expect(phases.prompts.split.reduce(0, +) == 30 && phases.answers.split.reduce(0, +) == 30)
        #expect(!phases.reason.isEmpty)
        // A prompt's tokens end in layer 19 of the demo model.
        for device in document.layerCosts {
          #expect(device.promptUs.count == 30 && device.decodeUs.count == 30)
          #expect(device.promptUs[20...].allSatisfy { $0 == 0 })
        }

        let explained = try await plan(
          Self.twoWorkers + ["--objective", "latency", "--answer-tokens", "1", "--explain"],
          cache: cache
        )
        #expect(
          explained.output.contains("the latency of one stream with prompts of 512 tokens alone")
        )
        #expect(explained.output.contains("phases: prompts alone"), "\(explained)")

        let refused = try await plan(
          Self.twoWorkers + ["--prompt-tokens", "4000", "--answer-tokens", "500"],
          cache: cache
        )
        #expect(refused.status == 1 && refused.errors.contains("raise --context"), "\(refused)")
      }
    }

    @Test func `up refuses requests to plan for where nothing is planned, or answers alone decide`()
      async throws
    {
      for (other, says) in [
        (["--split", "15,15"], "--split leaves nothing to plan"),
        (["--auto-rebalance"], "goes by the times of answers alone"),
      ] {
        let outcome = try await TrestleProcess.run(
          ["up", "--model", model, "--prompt-tokens", "512"] + Self.twoWorkers + other
        )
        #expect(outcome.status == 64 && outcome.errors.contains(says), "\(outcome)")
      }
    }

    @Test func `profiles are kept, and measured again where they are broken`() async throws {
      try await withTemporaryDirectory { cache in
        let first = try await plan(Self.twoWorkers, cache: cache)
        #expect(first.status == 0, "\(first)")
        let directory = "\(cache)/trestle/profiles"
        let files = try FileManager.default.contentsOfDirectory(atPath: directory)
        // Both workers are equal, so one profile serves both.
        try #require(files.count == 1, "\(files)")
        let file = "\(directory)/\(files[0])"
        let bytes = try Data(contentsOf: URL(filePath: file))
        let second = try await plan(Self.twoWorkers, cache: cache)
        // Nothing was measured again, so the output is the same to the last digit.
        #expect(second.output == first.output && second.errors.isEmpty, "\(second)")

        try bytes.prefix(bytes.count / 2).write(to: URL(filePath: file))
        let third = try await plan(Self.twoWorkers, cache: cache)
        #expect(third.status == 0, "\(third)")
        #expect(third.errors.contains("cached profile cannot be used; measuring again"))
        let mended = try Data(contentsOf: URL(filePath: file))
        #expect(mended.count > bytes.count / 2)
      }
    }

    @Test func `every line from a projected profile says so`() async throws {
      try await withTemporaryDirectory { directory in
        let file = "\(directory)/profile.json"
        let saved = try await plan(Self.twoWorkers + ["--save", file], cache: directory)
        #expect(saved.status == 0, "\(saved)")
        let text = try String(contentsOfFile: file, encoding: .utf8)
          .replacingOccurrences(of: "\"measured\"", with: "\"projected\"")
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let outcome = try await plan(["--profile", file, "--explain"], cache: directory)
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome)")
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.count > 6)
        #expect(lines.allSatisfy { $0.contains("projected") }, "\(outcome)")
        let latency = ["--profile", file, "--objective", "latency", "--json"]
        let document = try await plan(latency, cache: directory).document(Document.self)
        #expect(document.kind == "projected" && document.streams == 1)
        #expect(document.stages.allSatisfy { $0.kind == "projected" })

        for (content, says) in [("{}", "version is missing"), ("no", "not the JSON")] {
          try content.write(toFile: file, atomically: true, encoding: .utf8)
          let refused = try await plan(["--profile", file], cache: directory)
          #expect(refused.status == 1 && refused.errors.contains(says), "\(refused)")
          #expect(refused.errors.contains(file))
        }
        let absent = try await plan(["--profile", "\(directory)/none"], cache: directory)
        #expect(absent.status == 1 && absent.errors.contains("none: cannot be read"), "\(absent)")
      }
    }

    @Test func `up without a split plans one, says why, and serves it`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let process = try TrestleProcess(
          ["up", "--model", model, "--endpoint", endpoint] + Self.twoWorkers,
          environment: ["XDG_CACHE_HOME": directory]
        )
        try await process.waitForOutput { $0 == "ready\n" }
        #expect(process.errors.contains("placement planned"), "\(process.errors)")
        #expect(process.errors.contains("tokens/s (measured costs)"), "\(process.errors)")
        let status: StatusDocument = try await TrestleProcess.run(
          ["status", "--json", "--endpoint", endpoint]
        ).document()
        #expect(status.workers.map { $0.layers[1] - $0.layers[0] }.reduce(0, +) == 30)
        process.signal(SIGTERM)
        #expect(try await process.wait().status == 0)
      }
    }
  }
}
