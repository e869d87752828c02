// Models whose numbers become infinite or NaN: every command names the layer and the cause, and
// ends with exit status 1 instead of repeating one token without end.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Numbers that are none` {
    private func expectFailure(
      _ arguments: [String],
      _ words: [String],
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let outcome = try await TrestleProcess.run(arguments, atMost: .seconds(20))
      #expect(outcome.status == 1, "\(outcome)", sourceLocation: sourceLocation)
      #expect(outcome.output.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
      let last = outcome.errors.split(separator: "\n").last ?? ""
      for word in ["error: "] + words {
        #expect(last.contains(word), "\(word): \(outcome)", sourceLocation: sourceLocation)
      }
    }

    private func commands(_ model: String, in directory: String) throws -> [[String]] {
      let text = "\(directory)/text"
      try Data("To be, or not to be, that is the question".utf8).write(to: URL(filePath: text))
      return [
        ["run", "--model", model, "--raw", "--max-tokens", "8", "To be or not"],
        ["logits", "--model", model, "--tokens", "2,300", "--output", "\(directory)/l.npy"],
        ["perplexity", "--model", model, "--context", "8", "--file", text],
      ]
    }

    @Test(arguments: [["--devices", "cpu"], ["--devices", "cpu,cpu", "--split", "20,10"]])
    func `one NaN in a weight ends every command with the weight's name`(
      _ devices: [String]
    ) async throws {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        let name = "layers.24.mlp.down_proj"
        try ChangedModel.write(
          Goldens.demoModel,
          to: model,
          tensor: "model.\(name).weight"
        ) { $0[77] = .nanOfBFloat16 }
        for arguments in try commands(model, in: directory) {
          let words = ["worker cpu", "layer 24, feedForward", name, "NaN"]
          try await expectFailure(arguments + devices, words)
        }
        #expect(!FileManager.default.fileExists(atPath: "\(directory)/l.npy"))
      }
    }

    @Test func `keys beyond f16 are told from numbers that are none, and f32 keeps them`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        try ChangedModel.write(
          Goldens.demoModel,
          to: model,
          tensor: "model.layers.3.self_attn.k_norm.weight"
        ) { $0 = $0.map { $0.scaled(byPowerOfTwo: 40) } }
        let commands = try commands(model, in: directory)
        for arguments in commands {
          let words = ["layer 3, appendKV", "65504", "f16", "--kv-cache f32"]
          try await expectFailure(arguments + ["--devices", "cpu", "--kv-cache", "f16"], words)
        }
        let outcome = try await TrestleProcess.run(
          commands[0] + ["--devices", "cpu", "--kv-cache", "f32"]
        )
        #expect(outcome.status == 0, "\(outcome)")
      }
    }

    @Test func `a request that meets them ends, and the others go on with the same tokens`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        // A token that no answer contains, because the model was trained on Shakespeare.
        let tokens = try await TrestleProcess.run([
          "tokenize", "--model", Goldens.demoModel.path, "@",
        ])
        let last = tokens.output.split { !$0.isNumber }.last
        let token = try #require(last.flatMap { Int($0) })
        try ChangedModel.write(
          Goldens.demoModel,
          to: model,
          tensor: "model.embed_tokens_per_layer.weight"
        ) { $0[token * ($0.count / 1024)] = .nanOfBFloat16 }
        try await withCluster(model: model) { cluster in
          let options = ["--raw", "--temperature", "0", "--max-tokens", "300", "--json"]
          let alone = try await cluster.run("KING:", options)
          let stream = try cluster.start("KING:", options)
          for _ in 0..<3 {
            let outcome = try await cluster.start("@", options).wait()
            #expect(outcome.status == 1 && outcome.errors.contains("perLayerInputs"), "\(outcome)")
          }
          let document: RunDocument = try await stream.wait().document()
          #expect(document.tokens == alone.tokens)
          let status = try await cluster.status()
          #expect(status.epoch == 1, "a worker was blamed: \(cluster.process.errors)")
        }
      }
    }
  }
}
