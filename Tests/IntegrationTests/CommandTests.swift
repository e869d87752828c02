// The commands apart from `up` and `run`: what they print, and that they agree with one another.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Commands` {
    private let model = Goldens.demoModel.path

    private static let names = [
      "up", "coordinate", "work", "serve", "run", "status", "health", "top", "rebalance", "drain",
      "logits",
      "perplexity", "tokenize", "detokenize", "bench", "inspect", "doctor", "plan", "keys",
      "quantize", "calibrate", "compare", "pull", "models", "rm",
    ]

    @Test func `every command explains itself`() async throws {
      let overview = try await TrestleProcess.run(["--help"])
      #expect(overview.status == 0, "\(overview)")
      for name in Self.names {
        #expect(overview.output.contains("  \(name) "), "\(name)")
        let help = try await TrestleProcess.run([name, "--help"])
        #expect(help.status == 0 && help.errors.isEmpty, "\(help)")
        #expect(help.output.contains("USAGE: trestle \(name)"), "\(help)")
      }
      let version = try await TrestleProcess.run(["--version"])
      #expect(version.output.wholeMatch(of: #/\d+\.\d+\.\d+\n/#) != nil, "\(version)")
    }

    /// Paragraphs are filled: a line ends where the next word would not fit.
    @Test func `explanations are wrapped once, at the terminal's width`() async throws {
      let nested = ["bench pipeline", "bench kernels", "keys allow", "keys forget", "keys list"]
      for name in Self.names + nested {
        let words = name.split(separator: " ").map(String.init)
        let help = try await TrestleProcess.run(words + ["--help"])
        let overview = help.output.prefix(
          upTo: try #require(help.output.firstRange(of: "USAGE:")).lowerBound
        )
        let lines = overview.split(separator: "\n", omittingEmptySubsequences: false)
        for (line, next) in zip(lines, lines.dropFirst()) {
          guard let word = next.split(separator: " ").first, !line.isEmpty else { continue }
          guard !next.hasPrefix(" ") else { continue }
          // Commands are set as they are, and are no wider.
          #expect(
            !line.hasPrefix(" ") && line.count + 1 + word.count >= 80,
            "\(name): \(line) | \(next)"
          )
        }
      }
    }

    @Test func `perplexity is finite, repeatable, and the same for every split`() async throws {
      try await withTemporaryDirectory { directory in
        let play = Goldens.demoModel.appending(path: "training/shakespeare.txt")
        let text = try String(contentsOf: play, encoding: .utf8).prefix(2000)
        let file = "\(directory)/text"
        try String(text).write(toFile: file, atomically: true, encoding: .utf8)
        func perplexity(_ options: [String]) async throws -> PerplexityDocument {
          try await TrestleProcess.run(
            ["perplexity", "--model", model, "--file", file, "--context", "128", "--json"] + options
          ).document()
        }
        let whole = try await perplexity(["--devices", "cpu", "--threads", "1"])
        // The model was trained on this text, so the loss is about 2 nats a token.
        #expect(whole.perplexity > 2 && whole.perplexity < 50)
        #expect(whole.windows > 3 && whole.scoredTokens == whole.windows * (128 - 65))
        #expect(try await perplexity(["--devices", "cpu", "--threads", "1"]) == whole)
        #expect(try await perplexity(Cluster.threeWorkers) == whole)
        let odd = ["--devices", "cpu,cpu", "--split", "7,23", "--threads", "1,1"]
        #expect(try await perplexity(odd) == whole)

        let long = try await TrestleProcess.run(
          ["perplexity", "--model", model, "--file", file, "--context", "4000"]
        )
        #expect(long.status == 1 && long.errors.contains("4000"), "\(long)")
      }
    }

    @Test func `bench measures every stream count and every stage`() async throws {
      let outcome = try await TrestleProcess.run(
        ["bench", "--model", model, "--devices", "cpu,cpu", "--split", "15,15", "--threads", "1,1"]
          + ["--prompt-tokens", "32", "--decode-tokens", "16", "--streams", "1,3", "--repeat", "1"]
          + ["--json"]
      )
      #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome)")
      let bench: BenchDocument = try outcome.document()
      #expect(bench.model == "demo-model")
      #expect(bench.placement.map(\.layers) == [[0, 15], [15, 30]])
      #expect(bench.results.map(\.streams) == [1, 3])
      for result in bench.results {
        #expect(result.prefillTokensPerSecond > 0 && result.decodeTokensPerSecond > 0)
        #expect(result.stages.map(\.worker) == ["cpu-0", "cpu-1"])
        for stage in result.stages {
          #expect((0...1).contains(stage.busy) && (0...1).contains(stage.bubble))
        }
        #expect(result.interToken.p50Ms > 0 && result.interToken.p99Ms >= result.interToken.p50Ms)
        #expect(result.arrival == nil)
      }
    }

    @Test func `bench counts what prompts are spared, and feels a prompt that arrives`()
      async throws
    {
      let options =
        ["bench", "--model", model, "--devices", "cpu,cpu", "--split", "15,15", "--threads", "1,1"]
        + ["--prompt-tokens", "64", "--decode-tokens", "200", "--streams", "1", "--repeat", "1"]
        + ["--json"]
      let outcome = try await TrestleProcess.run(options + ["--arriving-prompt", "150"])
      let bench: BenchDocument = try outcome.document()
      let arrival = try #require(bench.results[0].arrival)
      #expect(arrival.promptTokens == 150)
      #expect(arrival.firstTokenMs > 0 && arrival.interToken.p99Ms > 0)
      // Three prompts of 64 tokens, the first to warm up, one of 16 twice, and one of 150, each without its last token.
      // Their rows leave keys and values in layer 19, the last layer with a cache of its own, and
      // skip the layers after it.
      let spared = (3 * 63 + 2 * 15 + 149) * (30 - 19)
      #expect(bench.skipped.map(\.skippedLayerRows) == [0, spared])
      let first = try #require(bench.skipped.first).layerRows
      #expect(first % 15 == 0)
      #expect(bench.skipped.map(\.layerRows) == [first, first - spared])

      let all = try await TrestleProcess.run(options + ["--all-layers"])
      let whole: BenchDocument = try all.document()
      #expect(whole.skipped.map(\.skippedLayerRows) == [0, 0])
    }

    @Test func `bench kernels sets an op against the limits it measures`() async throws {
      struct Document: Decodable {
        struct Limits: Decodable { var bytesPerSecond: Double }
        struct Result: Decodable {
          var op: String
          var rows: Int
          var bytesPerSecond: Double
          var shareOfLimit: Double
        }
        var limits: Limits
        var results: [Result]
      }
      let options = ["--threads", "1", "--only", "feedForward, cut q4_0", "--rows", "1,16"]
      let outcome = try await TrestleProcess.run(["bench", "kernels", "--json"] + options)
      #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome)")
      let document: Document = try outcome.document()
      #expect(document.limits.bytesPerSecond > 0)
      #expect(document.results.map(\.op) == ["feedForward, cut", "feedForward, cut"])
      #expect(document.results.map(\.rows) == [1, 16])
      for result in document.results {
        #expect(result.bytesPerSecond > 0 && result.shareOfLimit > 0)
      }
      let unknown = try await TrestleProcess.run(["bench", "kernels", "--only", "q9"])
      #expect(unknown.status == 1 && unknown.errors.contains("--only q9"), "\(unknown)")
    }

    @Test func `inspect shows a model and the program of its layers`() async throws {
      let text = try await TrestleProcess.run(["inspect", model])
      #expect(text.status == 0 && text.output.contains("gemma3n"), "\(text)")
      let json = try await TrestleProcess.run(["inspect", model, "--json"])
      let document = try json.document(Inspection.self)
      #expect(document.layers.count == 30 && document.vocabularySize == 1024)
      #expect(text.output.contains(document.fingerprint))
      // The last ten layers have no keys and values of their own.
      #expect(Set(document.layers.suffix(10).map(\.kvSource)).isSubset(of: 0..<20))

      let program = ["inspect", model, "--program"]
      let stage = try await TrestleProcess.run(program + ["0..<10"])
      #expect(stage.status == 0 && stage.output.count > 1000, "\(stage)")
      let again = try await TrestleProcess.run(program + ["0..<10", "--json"])
      #expect(try again.document(StageProgram.self).layers == [0, 10])
      let beyond = try await TrestleProcess.run(program + ["0..<31"])
      #expect(beyond.status == 1, "\(beyond)")
      #expect(beyond.errors.contains("0..<31") && beyond.errors.contains("30 layers"), "\(beyond)")
    }

    private struct Inspection: Decodable {
      struct Layer: Decodable { var kvSource: Int }
      var fingerprint: String
      var vocabularySize: Int
      var layers: [Layer]
    }

    private struct StageProgram: Decodable { var layers: [Int] }

    @Test func `doctor lists every device, and what up uses by default`() async throws {
      let text = try await TrestleProcess.run(["doctor"])
      #expect(text.status == 0 && text.errors.isEmpty, "\(text)")
      let json = try await TrestleProcess.run(["doctor", "--json"])
      let diagnosis = try json.document(Diagnosis.self)
      // A Vulkan device has its number; where there is none, `vulkan` says why.
      let kinds = diagnosis.devices.map { String($0.device.prefix { $0 != ":" }) }
      #expect(Set(kinds) == ["cpu", "vulkan", "npu"])
      #expect(kinds.first == "cpu" && kinds.last == "npu")
      #expect(diagnosis.devices[0].available)
      for device in diagnosis.devices {
        #expect(text.output.contains(device.detail))
        #expect(device.available || device.remedy != nil, "\(device)")
      }
      let usable = diagnosis.devices.filter(\.available).map(\.device)
      #expect(Set(diagnosis.defaultDevices).isSubset(of: usable))
      let next = try #require(text.output.split(separator: "\n").last)
      #expect(
        next.hasPrefix("next: trestle up --devices \(diagnosis.defaultDevices[0])"),
        "\(next)"
      )
    }

    @Test func `up takes the only model in its directory, and says what there is to choose from`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let there = "cd '\(directory)' && exec \"$0\" \"$@\""
        let environment = ["HF_HUB_CACHE": "\(directory)/hub"]
        let none = try await TrestleProcess.run(["up"], environment: environment, shell: there)
        #expect(none.status == 1 && none.errors.contains("no model in this directory"), "\(none)")

        try FileManager.default.createSymbolicLink(
          atPath: "\(directory)/one",
          withDestinationPath: model
        )
        let doctor = try await TrestleProcess.run(
          ["doctor"],
          environment: environment,
          shell: there
        )
        #expect(doctor.output.hasSuffix(" --model one\n"), "\(doctor)")
        let arguments = ["up", "--endpoint", "ipc://\(directory)/front", "--threads", "1"]
        let up = try TrestleProcess(arguments, environment: environment, shell: there)
        try await up.waitForOutput { $0.contains("ready") }
        up.signal(SIGINT)
        let outcome = try await up.wait()
        #expect(outcome.status == 0 && outcome.errors.contains("model: one"), "\(outcome)")

        try FileManager.default.createSymbolicLink(
          atPath: "\(directory)/two",
          withDestinationPath: model
        )
        let several = try await TrestleProcess.run(["up"], environment: environment, shell: there)
        #expect(several.status == 1 && several.errors.contains("there are one, two"), "\(several)")
      }
    }

    private struct Diagnosis: Decodable {
      struct Device: Decodable {
        var device: String
        var available: Bool
        var detail: String
        var remedy: String?
      }
      var devices: [Device]
      var defaultDevices: [String]
    }

    @Test func `tokenize and detokenize undo one another`() async throws {
      struct Tokens: Decodable { var tokens: [Int] }
      struct Text: Decodable { var text: String }
      for item in try Goldens.load("demo-model").cases where item.kind == "plain" {
        let text = item.text ?? ""
        let plain = try await TrestleProcess.run(["tokenize", "--model", model, "--", text])
        let ids = item.ids.map(String.init).joined(separator: ",")
        #expect(plain.output == ids + "\n", "\(plain)")
        let json = try await TrestleProcess.run(
          ["tokenize", "--model", model, "--json", "-"],
          input: Array(text.utf8)
        )
        #expect(try json.document(Tokens.self).tokens == item.ids)
        let back = try await TrestleProcess.run(
          ["detokenize", "--model", model, "--tokens", ids, "--json"]
        )
        #expect(try back.document(Text.self).text == text)
      }
      let chat = try #require(try Goldens.load("demo-model").cases.first { $0.kind == "chat" })
      let special = try await TrestleProcess.run(
        ["detokenize", "--model", model, "--special", "--json"]
          + ["--tokens", chat.ids.map(String.init).joined(separator: ",")]
      )
      #expect(try special.document(Text.self).text == chat.rendered)
    }
  }
}
