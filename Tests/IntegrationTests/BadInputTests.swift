// Mistakes of a user: each ends the command soon, with one line that names the value at fault.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Bad input` {
    private let model = Goldens.demoModel.path

    /// Expects exit status 1, nothing on stdout, and one line on stderr that contains all of
    /// `words`.
    private func expectFailure(
      _ arguments: [String],
      _ words: String...,
      input: [UInt8] = [],
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let outcome = try await TrestleProcess.run(arguments, input: input, atMost: .seconds(12))
      #expect(outcome.status == 1, "\(outcome)", sourceLocation: sourceLocation)
      #expect(outcome.output.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
      let lines = outcome.errors.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(
        lines.count == 2 && lines[0].hasPrefix("error: ") && lines[1].isEmpty,
        "\(outcome)",
        sourceLocation: sourceLocation
      )
      for word in words {
        #expect(
          outcome.errors.contains(word),
          "\(word): \(outcome)",
          sourceLocation: sourceLocation
        )
      }
    }

    /// Expects exit status 64 and a usage text that contains all of `words`.
    private func expectUsage(
      _ arguments: [String],
      _ words: String...,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let outcome = try await TrestleProcess.run(arguments)
      #expect(outcome.status == 64, "\(outcome)", sourceLocation: sourceLocation)
      #expect(outcome.output.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
      for word in words {
        #expect(
          outcome.errors.contains(word),
          "\(word): \(outcome)",
          sourceLocation: sourceLocation
        )
      }
    }

    private func commands(_ model: String, in directory: String) -> [[String]] {
      [
        ["up", "--model", model, "--endpoint", "ipc://\(directory)/front"],
        ["run", "--model", model, "Hello"],
        ["logits", "--model", model, "--tokens", "2", "--output", "\(directory)/logits.npy"],
        ["inspect", model],
        ["bench", "--model", model],
      ]
    }

    @Test func `a model that is absent or empty is named by every command`() async throws {
      try await withTemporaryDirectory { directory in
        let absent = "\(directory)/absent.gguf"
        let empty = "\(directory)/empty"
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: false)
        for arguments in commands(absent, in: directory) {
          try await expectFailure(arguments, absent)
        }
        for arguments in commands(empty, in: directory) {
          try await expectFailure(arguments, empty, "config.json")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["empty"])
      }
    }

    @Test func `a truncated safetensors file is named`() async throws {
      try await withTemporaryDirectory { directory in
        let broken = "\(directory)/model"
        try FileManager.default.copyItem(atPath: model, toPath: broken)
        let file = URL(filePath: "\(broken)/model.safetensors")
        let whole = try Data(contentsOf: file)
        for count in [0, 7, 100, whole.count / 2, whole.count - 1] {
          try whole.prefix(count).write(to: file)
          try await expectFailure(["run", "--model", broken, "Hello"], "model.safetensors")
        }
      }
    }

    @Test func `a corrupt GGUF file is named`() async throws {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/model.gguf"
        let huge = [UInt8](repeating: 0xFF, count: 8)
        let start = Array("GGUF".utf8) + [3, 0, 0, 0]
        let contents: [[UInt8]] = [
          [], Array("GG".utf8), Array("GGUF".utf8), Array("GGUF".utf8) + [99, 0, 0, 0],
          start + huge + huge, start + Array(repeating: 0, count: 7) + [1] + huge,
          start + Array(repeating: 0, count: 16), Array("PK\u{3}\u{4}".utf8) + huge,
        ]
        for bytes in contents {
          try Data(bytes).write(to: URL(filePath: path))
          try await expectFailure(["run", "--model", path, "Hello"], path)
        }
      }
    }

    @Test func `a text for a model without tokenizer is refused, tokens are not`() async throws {
      let model = Goldens.checkpoint("gemma3-random-a").path
      try await expectFailure(["run", "--model", model, "--raw", "Hello"], "tokenizer")
      try await expectFailure(["tokenize", "--model", model, "Hello"], "tokenizer")
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let outcome = try await TrestleProcess.run(
          ["logits", "--model", model, "--tokens", "2,3", "--output", path]
        )
        #expect(outcome.status == 0, "\(outcome)")
      }
    }

    @Test func `a split that does not fit says what would`() async throws {
      func run(_ devices: String, _ split: String) -> [String] {
        ["run", "--model", model, "--devices", devices, "--split", split, "Hello"]
      }
      try await expectFailure(run("cpu,cpu,cpu", "10,10,9"), "10,10,9", "29", "30")
      try await expectFailure(run("cpu,cpu", "10,10,10"), "10,10,10", "3 stages", "2 devices")
      try await expectFailure(run("cpu,cpu,cpu", "15,0,15"), "15,0,15", "without layers")
      let huge = "9223372036854775807,1"
      try await expectFailure(run("cpu,cpu", huge), huge)
      try await expectUsage(run("cpu", "ten"), "ten")
      try await expectUsage(["run", "--split=-1,31", "Hi"], "-1,31")
      try await expectFailure(
        ["run", "--model", model, "--devices", "cpu,cpu", "--threads", "1", "Hello"],
        "--threads 1",
        "2 devices"
      )
    }

    @Test func `a device that is unknown is named`() async throws {
      for devices in ["tpu", "cpu,tpu"] {
        try await expectFailure(["run", "--model", model, "--devices", devices, "Hi"], "\"tpu\"")
      }
      try await expectFailure(["run", "--model", model, "--devices", "cpu,", "Hi"], "\"\"")
      try await expectFailure(["work", "--model", model, "--device", "tpu"], "\"tpu\"")
    }

    @Test func `token ids that are none, or not the model's, are named`() async throws {
      try await withTemporaryDirectory { directory in
        func logits(_ tokens: String) -> [String] {
          let path = "\(directory)/logits.npy"
          return ["logits", "--model", model, "--tokens", tokens, "--output", path]
        }
        try await expectFailure(logits("2,x"), "\"x\"")
        try await expectFailure(logits("2,99999"), "99999", "1024")
        try await expectFailure(logits("2,99999999999999999999"), "\"99999999999999999999\"")
        try await expectFailure(logits(""), "--tokens")
        try await expectFailure(logits("2,,3"), "\"\"")
        try await expectFailure(
          ["detokenize", "--model", model, "--tokens", "2,99999"],
          "99999"
        )
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
      }
    }

    @Test func `files that cannot be read or written are named`() async throws {
      let logits = ["logits", "--model", model, "--tokens", "2", "--output"]
      try await expectFailure(logits + ["/nowhere/logits.npy"], "/nowhere/logits.npy")
      let perplexity = ["perplexity", "--model", model, "--file"]
      try await expectFailure(perplexity + ["/nowhere/text"], "/nowhere/text")
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/text"
        try Data([0x61, 0xFF]).write(to: URL(filePath: path))
        try await expectFailure(perplexity + [path], path, "UTF-8")
        try Data("short".utf8).write(to: URL(filePath: path))
        try await expectFailure(perplexity + [path], path, "512")
      }
    }

    @Test func `numbers out of range are usage errors that name them`() async throws {
      try await expectUsage(["run", "--max-tokens", "0", "Hi"], "--max-tokens 0")
      try await expectUsage(["run", "--temperature=-1", "Hi"], "--temperature -1")
      try await expectUsage(["run", "--temperature", "nan", "Hi"], "--temperature")
      try await expectUsage(["run", "--top-p", "0", "Hi"], "--top-p 0")
      try await expectUsage(["run", "--stop", "", "Hi"], "--stop")
      let stops = Array(repeating: ["--stop", "x"], count: 65).joined()
      try await expectUsage(["run"] + stops + ["Hi"], "--stop is given 65 times; give at most 64")
      let long = String(repeating: "x", count: 4097)
      try await expectUsage(
        ["run", "--stop", long, "Hi"],
        "a text has 4097 bytes; give at most 4096"
      )
      try await expectUsage(["run", "--special", "Hi"], "--special", "--raw")
      try await expectUsage(["run", "--system", "", "Hi"], "--system")
      try await expectUsage(["run", "--raw", "--system", "Be brief.", "Hi"], "--system")
      try await expectUsage(["run", "--seed", "many", "Hi"], "many")
      try await expectUsage(["up", "--model", model, "--slots", "0"], "--slots 0")
      try await expectUsage(["up", "--model", model, "--context", "1"], "--context 1")
      try await expectUsage(["up", "--model", model, "--threads", "0"], "--threads")
      try await expectFailure(
        ["run", "--model", model, "--context", "999999", "Hi"],
        "999999",
        "4096"
      )
      try await expectUsage(["fly"], "fly")
    }

    @Test func `an endpoint that is none, or has nobody behind it, is named`() async throws {
      try await withTemporaryDirectory { directory in
        let dead = "ipc://\(directory)/front"
        for command in [["run", "Hi"], ["status"], ["health"]] {
          try await expectFailure(command + ["--endpoint", dead], dead, "trestle up")
        }
        try await expectFailure(["status", "--endpoint", "http://localhost"], "http://localhost")
        try await expectFailure(["status", "--endpoint", "ipc://relative"], "ipc://relative")
        try await expectFailure(["status", "--endpoint", "tcp://localhost:0"], "\"0\"")
      }
    }

    @Test func `a client gives up on a socket that nobody serves, and on one that says nothing`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let stale = "\(directory)/stale"
        close(try unixSocket(stale, binds: true))
        for command in [["run", "Hi"], ["status"], ["health"]] {
          try await expectFailure(command + ["--endpoint", "ipc://\(stale)"], stale, "trestle up")
        }
        let mute = "\(directory)/mute"
        let descriptor = try unixSocket(mute, binds: true)
        defer { close(descriptor) }
        try #require(listen(descriptor, 8) == 0)
        let arguments = ["status", "--timeout", "2", "--endpoint", "ipc://\(mute)"]
        try await expectFailure(arguments, mute, "no answer")
      }
    }
  }
}
