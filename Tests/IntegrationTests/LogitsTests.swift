// Logits through worker processes: they match the goldens, and have the same bits for every split.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Logits` {
    private static let seed: UInt64 = 41

    /// Runs `trestle logits` with one worker for each stage.
    private func logits(_ model: String, _ ids: [Int], split: [Int]) async throws -> NPYFile {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let outcome = try await TrestleProcess.run([
          "logits", "--model", Goldens.checkpoint(model).path,
          "--tokens", ids.map(String.init).joined(separator: ","), "--output", path,
          "--devices", split.map { _ in "cpu" }.joined(separator: ","),
          "--split", split.map(String.init).joined(separator: ","),
          "--threads", split.map { _ in "1" }.joined(separator: ","),
        ])
        try #require(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.isEmpty && outcome.errors.isEmpty, "\(outcome)")
        return try NPYFile(path)
      }
    }

    /// Returns a random split of the layers into non-empty stages.
    private func split(_ layers: Int, stages: Int, _ random: inout SeededRandom) -> [Int] {
      let cuts = (1..<layers).shuffled(using: &random).prefix(stages - 1).sorted()
      return zip([0] + cuts, cuts + [layers]).map { $1 - $0 }
    }

    @Test(
      .seeded(default: seed),
      arguments: [
        ("gemma3n-random-a", 30, "len61"), ("gemma3n-random-c", 30, "len17"),
        ("gemma3-random-a", 14, "len61"), ("gemma4-random-a", 12, "len61"),
        ("gemma4-random-c", 12, "len17"), ("demo-model", 30, ""),
      ]
    )
    func `every split gives the same bits, and they are the reference implementation's values`(
      _ model: String,
      _ layers: Int,
      _ name: String
    ) async throws {
      var random = SeededRandom(testSeed(default: Self.seed))
      let golden = try Goldens.load(model)
      let item = try #require(golden.cases.first { $0.name == name || name.isEmpty })
      let whole = try await logits(model, item.ids, split: [layers])
      #expect(whole.shape == item.shape)
      let report = compare(
        whole.values,
        try golden.logits(item),
        tolerance: 1e-3,
        shape: item.shape,
        name: "\(model) \(item)"
      )
      #expect(report.matches, "\(report)")
      for stages in 2...4 {
        let split = split(layers, stages: stages, &random)
        let parts = try await logits(model, item.ids, split: split)
        #expect(
          parts.values.map(\.bitPattern) == whole.values.map(\.bitPattern),
          "\(model) split \(split) departs from one stage"
        )
      }
    }

    @Test func `a failure leaves no file behind`() async throws {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let outcome = try await TrestleProcess.run([
          "logits", "--model", Goldens.demoModel.path, "--tokens", "2,99999", "--output", path,
        ])
        #expect(outcome.status == 1, "\(outcome)")
        #expect(!FileManager.default.fileExists(atPath: path))
      }
    }
  }
}
