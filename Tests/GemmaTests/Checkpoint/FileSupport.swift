// What the tests of models share: opening one that exists as bytes, and looking into it.

import Compute
import Gemma
import ModelFiles
import TestSupport
import Testing

/// Opens bytes as a GGUF model.
func openModel(_ builder: GGUFBuilder) throws -> Checkpoint {
  try withTemporaryModel(builder.bytes) { try Checkpoint.open($0) }
}

/// Opens a model as a Hugging Face directory.
func openModel(_ model: TinyModel) throws -> Checkpoint {
  try withTemporaryDirectory { directory in
    try model.write(to: directory)
    return try Checkpoint.open(directory)
  }
}

/// Returns all bytes of a weight.
func contents(_ checkpoint: Checkpoint, _ name: WeightName) throws -> [UInt8] {
  try contents(checkpoint, checkpoint.weight(name))
}

/// Returns the bytes that a program would get for a reference.
func contents(_ checkpoint: Checkpoint, _ ref: WeightRef) throws -> [UInt8] {
  let bytes = try checkpoint.bytes(of: ref)
  return withExtendedLifetime(bytes) { unsafe [UInt8](bytes.bytes) }
}

/// Expects a model's logits to be products with an output matrix of these bytes.
func expectOwnHead(
  _ checkpoint: Checkpoint,
  _ bytes: [UInt8],
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let (config, line) = (checkpoint.config, checkpoint.config.line)
  #expect(config.hasOwnHead, sourceLocation: sourceLocation)
  let head = try contents(checkpoint, .model(.head))
  #expect(head == bytes, sourceLocation: sourceLocation)
  #expect(try contents(checkpoint, .model(.embedTokens)) != bytes, sourceLocation: sourceLocation)
  // Only keys and values of layers that share those of another.
  let ignored = checkpoint.ignoredTensors.map(\.name)
  #expect(ignored.allSatisfy { $0.contains("attn_") }, sourceLocation: sourceLocation)
  #expect(checkpoint.decodeCost.head == Double(bytes.count), sourceLocation: sourceLocation)
  // Whole, and cut behind the last layer: the lookup stays with the embedding.
  let whole = try config.lower(line.slice(layers: 0..<line.layerCount), weights: checkpoint)
  let rows = 5..<line.vocabularySize
  let end = ModelSlice(layers: line.layerCount..<line.layerCount, vocabulary: rows)
  let cut = try config.lower(end, weights: checkpoint)
  for (program, vocabulary) in [(whole, 0..<line.vocabularySize), (cut, rows)] {
    let logits = program.ops.flatMap(\.weights).filter { $0.name == "lm_head" }
    #expect(logits.map(\.rows) == [vocabulary], sourceLocation: sourceLocation)
  }
  let table = whole.ops.first?.weights.map(\.name)
  #expect(table == ["embed_tokens"], sourceLocation: sourceLocation)
}
