// Tensors that decide whether a model can be run: an output matrix of its own, and those that no weight
// needs and that must not be left out without a word.

internal import ModelFiles

extension Checkpoint {
  /// What may stand in a layer and is not used: keys and values of layers that share those of another,
  /// tables that are computed, and a scale that the config switches off.
  private static let harmless = [
    "attn_k.weight", "attn_v.weight", "attn_k_norm.weight", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.k_norm", "self_attn.rotary_emb.inv_freq", "altup_correct_scale.weight",
    "altup.correct_output_scale",
  ]
  /// Tensors outside the layers that change what a model computes.
  private static let outsideLayers: Set<String> = [
    "rope_freqs.weight", "output.bias", "output_norm.bias", "token_embd_norm.weight",
    "position_embd.weight", "norm.bias", "lm_head.bias",
  ]

  /// Refuses tensors of the text model that no weight needs, such as biases: leaving them out would
  /// give wrong text.
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
      let isHarmless =
        parts.count == 3 && harmless.contains(String(parts[2]))
        && Int(parts[1]).map(config.layers.indices.contains) ?? false
      guard isInLayer && !isHarmless || outsideLayers.contains(name) else { continue }
      throw GemmaError(
        .unsupported,
        "tensor \(tensor.name) is none of a Gemma model's; without it the text would be wrong",
        context: tensor.file.path
      )
    }
  }
}

extension HuggingFaceDirectory {
  /// Returns whether there is an output matrix beside the embedding.
  ///
  /// One that is there is used, even if the config calls the two tied: if it repeats the embedding, that
  /// changes nothing, and else it is what the model was saved with (transformers 5 reads it so too).
  ///
  /// - Throws: `GemmaError.tensor` if the config says that there is one, and there is none.
  func hasOwnHead() throws(GemmaError) -> Bool {
    let name = WeightName.model(.head).canonical
    if tensors.contains(where: { WeightName.canonical(huggingFace: $0.name) == name }) {
      return true
    }
    for object in [config, try config.object("text_config") ?? config]
    where try object.bool("tie_word_embeddings") == false {
      throw GemmaError(
        .tensor,
        "tie_word_embeddings is false, and the output matrix lm_head.weight is missing; copy it from"
          + " where the model comes from, or set tie_word_embeddings to true if the embedding is"
          + " also the output matrix",
        context: object.place
      )
    }
    return false
  }
}
