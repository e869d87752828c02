// What the tests of exported models share: a model written to a GGUF file, and opened from it.

import Compute
import Gemma
import ModelFiles
import TestSupport
import Testing

/// Writes a model to a GGUF file, all tensors as f32, and calls the body with what is read from it.
func withExport<Result>(
  of model: Checkpoint,
  _ body: (Checkpoint) throws -> Result
) throws -> Result {
  try withTemporaryDirectory { directory in
    var writer = GGUFWriter()
    writer.metadata = try model.ggufMetadata()
    for tensor in model.ggufTensors {
      let type = GGUFTensorType(.f32)
      writer.tensors.append(
        GGUFWriter.Tensor(tensor.name, shape: tensor.shape, type: type) { sink in
          for row in 0..<tensor.rowCount {
            let values = try tensor.values(rows: row..<(row + 1))
            try unsafe values.withUnsafeBytes { try unsafe sink.append($0) }
          }
        }
      )
    }
    let path = "\(directory)/export.gguf"
    try writer.write(to: path)
    return try body(try Checkpoint.open(path))
  }
}

/// Returns the values of a weight as a backend decodes them.
func values(_ model: Checkpoint, _ name: WeightName, plus offset: Float = 0) throws -> [Float] {
  let ref = try model.weight(name)
  let bytes = try contents(model, ref)
  let rowByteCount = bytes.count / ref.rows.count
  var values: [Float] = []
  for row in 0..<ref.rows.count {
    let slice = bytes[(row * rowByteCount)..<((row + 1) * rowByteCount)]
    values += unsafe slice.withUnsafeBytes {
      unsafe Dequantize.values($0, type: ref.type, start: 0, count: ref.columns)
    }
  }
  return offset == 0 ? values : values.map { $0 + offset }
}

extension ModelConfig {
  /// What a GGUF file of a model with this config says.
  ///
  /// Its norm gains are whole, and its table of per-layer inputs has a row for each token.
  var inGGUF: ModelConfig {
    var config = self
    config.normGainOffset = 0
    config.perLayerInput?.vocabularySize = vocabularySize
    return config
  }
}
