// A model with an output matrix of its own, which is the negated embedding, so that every logit is
// exactly the negative of the embedding's.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `An output matrix of its own` {
    private let original = Goldens.checkpoint("gemma3-random-a")

    private func logits(_ model: String, _ options: [String]) async throws -> NPYFile {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let ids = try #require(try Goldens.load("gemma3-random-a").cases.first).ids
        let outcome = try await TrestleProcess.run(
          [
            "logits", "--model", model, "--tokens", ids.map(String.init).joined(separator: ","),
            "--output", path,
          ] + options
        )
        try #require(outcome.status == 0, "\(outcome)")
        return try NPYFile(path)
      }
    }

    @Test func `it gives the logits, over every cut`() async throws {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        try ChangedModel.write(
          original,
          to: model,
          tensor: "model.embed_tokens.weight",
          addedAs: "lm_head.weight"
        ) { $0 = $0.map { $0 ^ 0x8000 } }
        let alone = ["--devices", "cpu", "--threads", "1"]
        let tied = try await logits(original.path, alone)
        #expect(tied.values.contains { abs($0) > 0.1 })
        let wanted = tied.values.map { (0 - $0).bitPattern }
        let two = ["--devices", "cpu,cpu", "--threads", "1,1"]
        let three = ["--devices", "cpu,cpu,cpu", "--threads", "1,1,1"]
        for options in [
          alone, two + ["--split", "6,8"], two + ["--split", "14,0", "--logits-split", "1,3"],
          three + ["--split", "5,9,0", "--logits-split", "2,1"],
          three + ["--split", "14,0,0", "--logits-split", "0,1,1"],
        ] {
          let got = try await logits(model, options)
          #expect(got.shape == tied.shape)
          #expect(got.values.map { (0 + $0).bitPattern } == wanted, "\(options)")
        }
      }
    }

    @Test func `a copy of the embedding changes no bit`() async throws {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        try ChangedModel.write(
          original,
          to: model,
          tensor: "model.embed_tokens.weight",
          addedAs: "lm_head.weight"
        ) { _ in }
        let alone = ["--devices", "cpu", "--threads", "1"]
        let (tied, own) = (try await logits(original.path, alone), try await logits(model, alone))
        #expect(tied.values.map(\.bitPattern) == own.values.map(\.bitPattern))
      }
    }
  }
}
