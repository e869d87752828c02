// What `quantize` says of outputs that cannot be, before it measures for minutes; and where its file goes.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Quantising to somewhere` {
    private static let model = Goldens.demoModel.path

    @Test func `what cannot be written, or be so small, is refused before anything is measured`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        try FileManager.default.createDirectory(
          atPath: "\(directory)/d.gguf",
          withIntermediateDirectories: false
        )
        unsafe mkfifo("\(directory)/f.gguf", 0o600)
        let long = "\(directory)/\(String(repeating: "x", count: 245)).gguf"
        let out = "\(directory)/o.gguf"
        let requests: [([String], String)] = [
          (["\(directory)/d.gguf"], "d.gguf: it is a directory"),
          (["\(directory)/f.gguf"], "f.gguf: it is a pipe or a device"),
          ([long], "File name too long"),
          ([out, "--report", directory], "\(directory): it is a directory"),
          ([out, "--size", "1"], "--size 1: too few bytes; with the smallest types the file has "),
          (
            [out, "--bits-per-weight", "1.5"],
            "--bits-per-weight 1.5: too few; with the smallest types it is "
          ),
        ]
        for (arguments, words) in requests {
          let outcome = try await TrestleProcess.run(
            // Measuring on so many tokens takes longer than is waited for.
            ["quantize", Self.model, "--probe-tokens", "8192"] + arguments
          )
          #expect(outcome.status == 1 && outcome.errors.contains(words), "\(outcome)")
        }
        #expect(
          Set(try FileManager.default.contentsOfDirectory(atPath: directory)) == [
            "d.gguf", "f.gguf",
          ]
        )
      }
    }

    @Test func `a tensor that its type cannot hold is warned of`() async throws {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        // 2¹²⁰: no scale in f16 gets there.
        try ChangedModel.write(
          Goldens.demoModel,
          to: model,
          tensor: "model.layers.24.mlp.down_proj.weight"
        ) { bits in
          for index in bits.indices { bits[index] = 0x7B80 }
        }
        let command = ["quantize", model, "\(directory)/out.gguf", "--type"]
        let ruined = try await TrestleProcess.run(command + ["q4_0"])
        #expect(ruined.status == 0, "\(ruined)")
        #expect(
          ruined.errors.contains("warning: blk.24.ffn_down.weight loses 100 % as q4_0"),
          "\(ruined)"
        )
        #expect(ruined.errors.ranges(of: "warning: ").count == 1, "\(ruined)")
        let held = try await TrestleProcess.run(command + ["bf16"])
        #expect(held.status == 0 && !held.errors.contains("warning"), "\(held)")
      }
    }

    @Test(arguments: [40, 130]) func `as many tokens are measured on as are asked for`(
      _ count: Int
    ) async throws {
      struct Report: Decodable {
        struct Sensitivity: Decodable { var tokens: Int }
        var sensitivity: Sensitivity
      }
      try await withTemporaryDirectory { directory in
        let outcome = try await TrestleProcess.run(
          ["quantize", Self.model, "\(directory)/o.gguf", "--probe-tokens", "\(count)", "--json"],
          atMost: .seconds(60)
        )
        #expect(try outcome.document(Report.self).sensitivity.tokens == count, "\(outcome)")
      }
    }

    @Test func `an interrupt ends it while it measures, and nothing is left`() async throws {
      try await withTemporaryDirectory { directory in
        let text = "\(directory)/text"
        try String(repeating: "All the world's a stage. ", count: 4000)
          .write(toFile: text, atomically: true, encoding: .utf8)
        let process = try TrestleProcess(
          [
            "quantize", Self.model, "\(directory)/out.gguf", "--probe-tokens", "8192", "--text",
            text,
          ]
        )
        try await Task.sleep(for: .seconds(2))
        try #require(process.isRunning, "\(process.errors)")
        process.signal(SIGINT)
        let ended = try await process.wait(atMost: .seconds(5))
        #expect(ended.status == 1 && ended.errors.hasSuffix("error: interrupted\n"), "\(ended)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["text"])
      }
    }

    @Test func `the size that is named is enough`() async throws {
      try await withTemporaryDirectory { directory in
        let quantize = [
          "quantize", Self.model, "\(directory)/o.gguf", "--probe-tokens", "16", "--size",
        ]
        let refused = try await TrestleProcess.run(quantize + ["1"])
        let least = try #require(
          refused.errors.split(separator: " ").last.flatMap { Int($0.dropLast()) }
        )
        let less = try await TrestleProcess.run(quantize + ["\(least - 1)"])
        #expect(less.status == 1 && less.errors.contains("--size \(least - 1): too few"), "\(less)")
        let enough = try await TrestleProcess.run(quantize + ["\(least)"], atMost: .seconds(60))
        #expect(enough.status == 0, "\(enough)")
        let size =
          try FileManager.default.attributesOfItem(atPath: "\(directory)/o.gguf")[.size] as? Int
        #expect(try #require(size) <= least)
      }
    }

    @Test func `a link leads to the file that is replaced, and a text may come through a pipe`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let (link, target) = ("\(directory)/link.gguf", "\(directory)/target.gguf")
        try Data("old".utf8).write(to: URL(filePath: target))
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
        let quantized = try await TrestleProcess.run([
          "quantize", Self.model, link, "--type", "q8_0",
        ])
        #expect(quantized.status == 0, "\(quantized)")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == target)
        #expect(try Data(contentsOf: URL(filePath: target)).prefix(4) == Data("GGUF".utf8))

        let text = "\(Self.model)/training/shakespeare.txt"
        let piped = "head -c 4000 '\(text)' | \"$0\" \"$@\""
        let perplexity = try await TrestleProcess.run(
          [
            "perplexity", "--model", Self.model, "--file", "/dev/stdin", "--context", "64",
            "--threads", "1",
          ],
          shell: piped
        )
        #expect(perplexity.status == 0, "\(perplexity)")
        let missing = try await TrestleProcess.run(
          ["perplexity", "--model", Self.model, "--file", "\(directory)/none"]
        )
        #expect(missing.errors.contains("none: No such file or directory"), "\(missing)")
      }
    }
  }
}
