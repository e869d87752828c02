// Which bytes of which files a part of a model is: copied alone into files full of holes, they must be
// enough.

import Compute
import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Files of a checkpoint` {
  /// Copies headers and some weights of a model into files that are zero elsewhere.
  private func copy(
    _ source: Checkpoint,
    _ refs: some Sequence<WeightRef>,
    to directory: String
  ) throws -> String {
    let extents = try source.extents(of: refs)
    let files = try source.files()
    for file in files {
      var bytes = [UInt8](repeating: 0, count: file.file.size)
      let header = 0..<file.headerByteCount
      for range in [header] + extents.filter({ $0.file == file.name }).map(\.bytes) {
        bytes.replaceSubrange(
          range,
          with: try file.file.read(offset: range.lowerBound, count: range.count)
        )
      }
      try Data(bytes).write(to: URL(filePath: "\(directory)/\(file.name)"))
    }
    return source.format == .gguf ? "\(directory)/\(files[0].name)" : directory
  }

  private func bytes(_ checkpoint: Checkpoint, _ ref: WeightRef) throws -> [UInt8] {
    let weight = try checkpoint.bytes(of: ref)
    return unsafe Array(weight.bytes)
  }

  private func check(_ source: Checkpoint, layers: Range<Int>) throws {
    let refs = Set(try source.config.lower(layers, weights: source).ops.flatMap(\.weights))
    try withTemporaryDirectory { directory in
      let path = try copy(source, refs, to: directory)
      let copy = try Checkpoint.open(
        path,
        as: Checkpoint.Identity(name: "a part", fingerprint: source.fingerprint())
      )
      #expect(copy.name == "a part")
      #expect(try copy.fingerprint() == source.fingerprint())
      #expect(copy.weights.count == source.weights.count)
      #expect(try copy.config.lower(layers, weights: copy).ops.count > 5)
      for ref in refs { #expect(try bytes(copy, ref) == bytes(source, ref), "\(ref.name)") }
    }
  }

  @Test(arguments: ["gemma3-random-a", "gemma3-random-b", "gemma3n-random-c"])
  func `headers and the weights of two layers are enough for these, in Hugging Face layout`(
    name: String
  ) throws {
    let source = try Checkpoint.open(Goldens.checkpoint(name).path)
    try check(source, layers: 1..<3)
    let names = try source.files().map(\.name)
    #expect(names.contains("config.json"))
    #expect(!names.contains { $0.hasPrefix("tokenizer") })
    let shards = names.filter { $0.hasSuffix(".safetensors") }
    #expect(shards.count == (name == "gemma3n-random-c" ? 3 : 1), "\(names)")
  }

  @Test(arguments: [TinyModel.gemma3, TinyModel.gemma3n])
  func `and in a GGUF file`(model: TinyModel) throws {
    try withTemporaryDirectory { directory in
      try model.gguf.bytes.write(to: "\(directory)/tiny.gguf")
      let source = try Checkpoint.open("\(directory)/tiny.gguf")
      try check(source, layers: 0..<1)
      #expect(try source.files().map(\.name) == ["tiny.gguf"])
    }
  }

  @Test func `weights that the model has not are refused by name`() throws {
    let source = try Checkpoint.open(Goldens.checkpoint("gemma3-random-a").path)
    let ref = WeightRef(name: "layers.99.mlp.up_proj", rows: 0..<1, columns: 1, type: .f32)
    expectRefusal(.tensor, "layers.99.mlp.up_proj") { _ = try source.extents(of: [ref]) }
    var some = try source.weight(.model(.norm))
    some.rows = 0..<2
    expectRefusal(.tensor, "norm has 1 rows, not 0..<2") { _ = try source.extents(of: [some]) }
  }
}
