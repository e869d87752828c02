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
  static func refuseQuantised(_ config: JSONObject, _ names: [String]) throws(ModelFilesError) {
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
  static func refuseQuantised(_ tensors: [StoredTensor]) throws(ModelFilesError) {
    for tensor in tensors {
      for (ending, method) in quantisedEndings where tensor.name.hasSuffix(ending) {
        throw quantised("tensor \(tensor.name): weights quantised with \(method)", tensor.file.path)
      }
    }
  }

  private static func quantised(_ message: String, _ place: String) -> ModelFilesError {
    ModelFilesError(
      .unsupported,
      "\(message); of safetensors only F32, F16 and BF16 are read: give the model as it was before,"
        + " or a GGUF file in the size you want",
      context: place
    )
  }

  /// Returns the fault of a directory without weights.
  static func noWeights(_ path: String, _ names: [String]) -> ModelFilesError {
    if names.contains("adapter_config.json") {
      return ModelFilesError(
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
    return ModelFilesError(.file, message, context: path)
  }
}
