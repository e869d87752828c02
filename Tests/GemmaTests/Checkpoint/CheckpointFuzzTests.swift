// Good model files with random faults: opening one succeeds or throws, and what opens can be read.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Checkpoint under random faults` {
  private static let seed: UInt64 = 20_260_801

  /// Opens a path and reads every weight; the only error that may come out is ours.
  ///
  /// - Returns: Whether it opened.
  private func exercise(_ path: String, _ random: SeededRandom, _ round: Int) throws -> Bool {
    let checkpoint: Checkpoint
    do {
      checkpoint = try Checkpoint.open(path)
    } catch {
      #expect(!error.description.contains("\n"), "\(error)")
      return false
    }
    for weight in checkpoint.weights {
      let bytes = try contents(checkpoint, weight.name)
      #expect(bytes.count == weight.tensor.byteCount, "round \(round), \(random)")
    }
    // The tokenizer's arrays may be damaged too, and are decoded later.
    if let file = checkpoint.gguf {
      for key in file.keys {
        guard case .array(let array)? = file.value(key) else { continue }
        #expect(try (file.strings(ifStrings: key)?.count ?? array.count) == array.count)
      }
    }
    return true
  }

  @Test(.seeded(default: seed), arguments: [TinyModel.gemma3, .gemma3n, .gemma4])
  func `a damaged GGUF file is refused or read in bounds`(model: TinyModel) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    var builder = model.gguf
    builder["tokenizer.ggml.tokens"] = .array((0..<12).map { .string("token \($0)") })
    builder["tokenizer.ggml.scores"] = .array((0..<12).map { .float32(Float($0)) })
    let header = builder.header
    let data = builder.bytes[header.count...]
    var opened = 0
    try withTemporaryDirectory { directory in
      let path = "\(directory)/model.gguf"
      for round in 0..<fuzzIterations(default: 150) {
        // Faults in the header reach further than faults in the weights, which mean nothing.
        var bytes = random.corrupted(header) + data
        if round.isMultiple(of: 10) { bytes = random.corrupted(builder.bytes) }
        try bytes.write(to: path)
        if try exercise(path, random, round) { opened += 1 }
      }
    }
    #expect(opened > 0, "no damaged file opened: the faults are too coarse to test reading")
  }

  @Test(.seeded(default: seed), arguments: [TinyModel.gemma3, .gemma3n, .gemma4])
  func `a damaged directory is refused or read in bounds`(model: TinyModel) throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let config = Array(
      try JSONSerialization.data(withJSONObject: model.config, options: [.sortedKeys])
    )
    let builder = model.safetensors
    let headerEnd = 8 + builder.json.utf8.count
    let (header, data) = (Array(builder.bytes[..<headerEnd]), builder.bytes[headerEnd...])
    var opened = 0
    try withTemporaryDirectory { directory in
      for round in 0..<fuzzIterations(default: 150) {
        let damagesConfig = round.isMultiple(of: 2)
        try (damagesConfig ? random.corrupted(config) : config)
          .write(to: "\(directory)/config.json")
        try ((damagesConfig ? header : random.corrupted(header)) + data)
          .write(to: "\(directory)/model.safetensors")
        if try exercise(directory, random, round) { opened += 1 }
      }
    }
    #expect(opened > 0, "no damaged directory opened: the faults are too coarse to test reading")
  }

  @Test(.seeded(default: seed))
  func `random bytes behind a right beginning are refused`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let start = Array("GGUF".utf8) + littleEndian(UInt32(3))
    try withTemporaryDirectory { directory in
      let path = "\(directory)/model.gguf"
      for _ in 0..<fuzzIterations(default: 200) {
        // Small counts, or nothing behind them would ever be read.
        let counts =
          littleEndian(UInt64.random(in: 0...4, using: &random))
          + littleEndian(UInt64.random(in: 0...4, using: &random))
        let bytes = start + counts + random.bytes(Int.random(in: 0...400, using: &random))
        try bytes.write(to: path)
        do {
          _ = try Checkpoint.open(path)
          Issue.record("accepted")
        } catch is GemmaError {}
      }
    }
  }
}

extension GGUFFile {
  /// Returns the strings of a key; nil if it holds something else.
  fileprivate func strings(ifStrings key: String) throws -> [String]? {
    guard case .array(let array)? = value(key), array.elementType == .string else { return nil }
    return try strings(key)
  }
}
