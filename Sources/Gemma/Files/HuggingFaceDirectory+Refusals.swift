// Model directories that hold something else than plain weights: quantised ones in formats of other
// programs, adapters, weights of PyTorch. Each is called what it is.

extension HuggingFaceDirectory {
  /// What other quantisers put beside the config.
  private static let quantiserFiles = [
    "quantize_config.json": "GPTQ", "quant_config.json": "AWQ", "quant_log.csv": "GPTQ",
  ]
  /// Endings of tensors that only quantised weights have.
  private static let quantisedEndings = [
    ".qweight": "GPTQ or AWQ", ".qzeros": "GPTQ or AWQ", ".g_idx": "GPTQ",
    ".weight_packed": "compressed-tensors", ".weight.absmax": "bitsandbytes",
    ".weight.quant_state.bitsandbytes__nf4": "bitsandbytes", ".weight_scale_inv": "FP8",
    ".weight_scale": "FP8", ".SCB": "bitsandbytes",
  ]

  /// Refuses weights that a config or a file beside it says are quantised.
  static func refuseQuantised(_ config: JSONObject, _ names: [String]) throws(GemmaError) {
    for object in [config, try config.object("text_config") ?? config] {
      if let settings = object.value("quantization_config") {
        let method = settings["quant_method"]?.string ?? "of an unknown method"
        throw quantised("quantization_config \(method)", object.place)
      }
      // The key of mlx-lm.
      if let settings = object.value("quantization") {
        let bits = settings["bits"]?.integer.map { " of \($0) bits" } ?? ""
        throw quantised("quantization\(bits): weights as MLX stores them", object.place)
      }
    }
    for (name, method) in quantiserFiles where names.contains(name) {
      throw quantised("\(name) beside the config: weights quantised with \(method)", config.place)
    }
  }

  /// Refuses tensors that only quantised weights have.
  static func refuseQuantised(_ tensors: [StoredTensor]) throws(GemmaError) {
    for tensor in tensors {
      for (ending, method) in quantisedEndings where tensor.name.hasSuffix(ending) {
        throw quantised("tensor \(tensor.name): weights quantised with \(method)", tensor.file.path)
      }
    }
  }

  private static func quantised(_ message: String, _ place: String) -> GemmaError {
    GemmaError(
      .unsupported,
      "\(message); of safetensors only F32, F16 and BF16 are read: give the model as it was before,"
        + " or a GGUF file in the size you want",
      context: place
    )
  }

  /// Returns the fault of a directory without weights.
  static func noWeights(_ path: String, _ names: [String]) -> GemmaError {
    if names.contains("adapter_config.json") {
      return GemmaError(
        .unsupported,
        "holds an adapter (LoRA), no model; merge it into its base model first"
          + " (peft: merge_and_unload) and give the merged one",
        context: path
      )
    }
    let candidates = names.filter { $0.hasSuffix(".safetensors") }
    var message = "no model.safetensors and no model.safetensors.index.json"
    if candidates.count > 1 {
      message += "; of \(candidates.count) others none says which to use"
    } else if let part = names.first(where: { $0.hasSuffix(".incomplete") || $0.hasSuffix(".part") }
    ) {
      message += "; the download of \(part) has not finished"
    } else if let file = names.first(where: { $0.hasSuffix(".gguf") }) {
      message += "; to use \(file), give that file"
    } else if names.contains(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pth") }) {
      message += "; PyTorch weights are not read, save the model as safetensors"
    }
    return GemmaError(.file, message, context: path)
  }
}

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
