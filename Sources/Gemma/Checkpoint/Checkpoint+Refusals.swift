// Tensors that decide whether a model can be run: a separate output matrix, and tensors that must
// not be ignored silently because leaving them out would change the text.

internal import Compute
internal import ModelFiles

extension Checkpoint {
  /// Tensors that may be ignored in layers that share keys and values of another layer.
  private static let keysAndValues = [
    "attn_k.weight", "attn_v.weight", "attn_k_norm.weight", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.k_norm",
  ]
  /// Tensors that may be ignored in any layer: tables that are computed here, and a scale that the config
  /// switches off.
  private static let harmless = [
    "self_attn.rotary_emb.inv_freq", "altup_correct_scale.weight", "altup.correct_output_scale",
  ]
  /// Tensors outside the layers that change what a model computes.
  private static let outsideLayers: Set<String> = [
    "rope_freqs.weight", "output.bias", "output_norm.bias", "token_embd_norm.weight",
    "position_embd.weight", "norm.bias", "lm_head.bias",
  ]

  /// Checks that the factors which a GGUF file has for the frequencies of layers with full attention say the
  /// same as the config.
  ///
  /// Frequencies are divided by them: 1 for the pairs that are rotated, and a number so large that nothing
  /// remains for the others (`Gemma4Model.generate_extra_tensors` in llama.cpp's conversion). The op computes
  /// them from the config.
  static func checkRotation(_ file: GGUFFile, _ config: ModelConfig) throws(GemmaError) {
    guard let tensor = file.tensors.first(where: { $0.name == ropeFactors }),
      let layer = config.layers.first(where: { $0.rope.rotatedPairs != nil }),
      let rotated = layer.rope.rotatedPairs
    else { return }
    let pairs = layer.headDim / 2
    guard tensor.type == .f32, tensor.shape == [pairs] else {
      throw GemmaError(
        .tensor,
        "tensor \(tensor.name) is \(tensor.shape) of \(tensor.typeName); expected \(pairs) of F32",
        context: tensor.file.path
      )
    }
    let bytes = try tensor.file.read(offset: tensor.offset, count: tensor.byteCount)
    for pair in 0..<pairs {
      let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[4 * pair + $1]) << (8 * $1) }
      let factor = Float(bitPattern: bits)
      guard pair < rotated ? factor == 1 : factor > 1e20 else {
        throw GemmaError(
          .unsupported,
          "tensor \(tensor.name) divides the frequency of pair \(pair) by \(factor); supported is only the"
            + " rotation of the first \(rotated) of \(pairs) pairs, unscaled",
          context: tensor.file.path
        )
      }
    }
  }

  private static let ropeFactors = "rope_freqs.weight"

  /// Refuses unknown tensors of the text model, such as biases, because leaving them out would give
  /// wrong text.
  static func refuseUnknown(
    _ ignored: [StoredTensor],
    _ config: ModelConfig,
    _ format: Format
  ) throws(GemmaError) {
    for tensor in ignored {
      let name =
        format == .gguf ? tensor.name : WeightName.canonical(huggingFace: tensor.name)
      let isInLayer = name.hasPrefix(format == .gguf ? "blk." : "layers.")
      let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
      var isHarmless = false
      if parts.count == 3, let layer = Int(parts[1]), config.layers.indices.contains(layer) {
        let shares = config.layers[layer].kvSource != layer
        isHarmless = (shares ? harmless + keysAndValues : harmless).contains(String(parts[2]))
      }
      guard isInLayer && !isHarmless || outsideLayers.contains(name) else { continue }
      // These have been compared with the config.
      if name == ropeFactors, config.layers.contains(where: { $0.rope.rotatedPairs != nil }) {
        continue
      }
      throw GemmaError(
        .unsupported,
        "tensor \(tensor.name) does not belong to a Gemma model; ignoring it would give wrong text",
        context: tensor.file.path
      )
    }
  }
}

extension HuggingFaceDirectory {
  /// Returns whether the files have an output matrix besides the embedding.
  ///
  /// If they have one, it is used even if the config says that the two are tied. If it repeats the
  /// embedding, that changes nothing; otherwise it is the one that the model was saved with.
  /// Transformers 5 does the same.
  ///
  /// - Throws: `GemmaError.tensor` if the config says that there is one, but the files lack it.
  func hasOwnHead() throws(GemmaError) -> Bool {
    let name = WeightName.model(.head).canonical
    if tensors.contains(where: { WeightName.canonical(huggingFace: $0.name) == name }) {
      return true
    }
    for object in [config, try config.object("text_config") ?? config]
    where try object.bool("tie_word_embeddings") == false {
      throw GemmaError(
        .tensor,
        "tie_word_embeddings is false, but the output matrix lm_head.weight is missing; fetch it from"
          + " the source of the model, or set tie_word_embeddings to true if the embedding is"
          + " also the output matrix",
        context: object.place
      )
    }
    return false
  }
}
