// What GGUF metadata says about the layers: attention kinds, heads, ropes, sparsity, sharing.

internal import ModelFiles

extension GGUFKeys {
  /// Returns the table of the layers.
  func layerTable(_ layerCount: Int, hiddenSize: Int) throws(GemmaError) -> LayerTable {
    guard let sizes = try perLayer("feed_forward_length", layerCount) else {
      throw missing(name("feed_forward_length"))
    }
    let window: Int
    if let stated = try uniform("attention.sliding_window", layerCount) {
      window = stated
    } else if architecture == .gemma3 {
      window = 0
    } else {
      throw missing(name("attention.sliding_window"))
    }
    // Without a window, all layers of Gemma 3 have full attention
    // (llama_model_gemma3::load_arch_hparams).
    let isSliding =
      window == 0 && architecture == .gemma3
      ? Array(repeating: false, count: layerCount) : try slidingPattern(layerCount)
    return LayerTable(
      isSliding: isSliding,
      window: window,
      heads: try heads(isSliding, hiddenSize: hiddenSize),
      feedForwardSizes: sizes,
      sparsityDeviations: architecture.hasStreams
        ? try sparsity(layerCount) : Array(repeating: nil, count: layerCount),
      sharingCount: try sharingCount(layerCount)
    )
  }

  // MARK: Heads

  /// Returns the heads of each layer, and refuses files with settings that are not supported.
  private func heads(
    _ isSliding: [Bool],
    hiddenSize: Int
  ) throws(GemmaError) -> [LayerTable.Heads] {
    let layerCount = isSliding.count
    guard let headCounts = try counts("attention.head_count", layerCount) else {
      throw missing(name("attention.head_count"))
    }
    let kvHeadCounts = try counts("attention.head_count_kv", layerCount) ?? headCounts
    let widths = try headWidths(layerCount, hiddenSize: hiddenSize, headCount: headCounts[0])
    try refuseUnsupported(widths, layerCount: layerCount)
    let scale = try float("attention.scale")
    // Gemma 4's larger models have no projection of values in layers with full attention
    // (attention_k_eq_v). No key says so; the tensors are absent. If one of them is there, the model has them.
    let valuesAreKeys =
      architecture == .gemma4
      && !isSliding.indices.contains { !isSliding[$0] && has("blk.\($0).attn_v.weight") }
    let ropes = try ropes(widths)
    var heads: [LayerTable.Heads] = []
    for layer in 0..<layerCount {
      let width = isSliding[layer] ? widths.sliding : widths.full
      heads.append(
        LayerTable.Heads(
          headCount: headCounts[layer],
          kvHeadCount: kvHeadCounts[layer],
          headDim: width,
          attentionScale: scale
            ?? attentionScale(layerCount, hiddenSize, headCounts[layer], width),
          rope: isSliding[layer] ? ropes.sliding : ropes.full,
          valuesAreKeys: valuesAreKeys && !isSliding[layer]
        )
      )
    }
    return heads
  }

  /// Returns a number of heads for each layer; only in Gemma 4 may layers differ.
  private func counts(_ key: String, _ layerCount: Int) throws(GemmaError) -> [Int]? {
    if architecture == .gemma4 { return try perLayer(key, layerCount) }
    return try uniform(key, layerCount).map { Array(repeating: $0, count: layerCount) }
  }

  private func has(_ tensor: String) -> Bool { tensorNames.contains(tensor) }

  /// Returns the head dimension of layers with full and with sliding attention.
  private func headWidths(
    _ layerCount: Int,
    hiddenSize: Int,
    headCount: Int
  ) throws(GemmaError) -> (full: Int, sliding: Int) {
    // llama.cpp's default if the file has no value (llama_model_base::load_hparams).
    let derived = headCount > 0 ? hiddenSize / headCount : 0
    let full =
      try spelled(["attention.key_length", "head_dim"]) { key throws(GemmaError) in
        try uniform(key, layerCount)
      }
    guard architecture == .gemma4 else { return (full ?? derived, full ?? derived) }
    guard let full else { throw missing(name("attention.key_length")) }
    guard let sliding = try uniform("attention.key_length_swa", layerCount) else {
      throw missing(name("attention.key_length_swa"))
    }
    return (full, sliding)
  }

  // The file lacks Gemma 3's `query_pre_attn_scalar`. It is the head dimension, except in the 27B
  // model, where it is the hidden size divided by the heads. Like llama.cpp, this recognises that
  // model by its 62 layers (models/gemma3.cpp).
  private func attentionScale(
    _ layerCount: Int,
    _ hiddenSize: Int,
    _ headCount: Int,
    _ headDim: Int
  ) -> Float {
    if architecture.hasUnitAttentionScale { return 1 }
    let scalar = layerCount == 62 ? Float(hiddenSize) / Float(headCount) : Float(headDim)
    return 1 / scalar.squareRoot()
  }

  // MARK: Ropes

  private func ropes(
    _ widths: (full: Int, sliding: Int)
  ) throws(GemmaError) -> (full: LayerRecord.RopeParameters, sliding: LayerRecord.RopeParameters) {
    let share = architecture.rotatedShareOfFullAttention
    let full = LayerRecord.RopeParameters(
      theta: try spelled(["rope.freq_base", "rope.global.freq_base"], float) ?? 10_000,
      positionScale: try ropeScale(),
      rotatedPairs: share == 1 ? nil : Int(share * Double(widths.full / 2))
    )
    let slidingKeys = ["rope.freq_base_swa", "rope.freq_base_local", "rope.local.freq_base"]
    let sliding = LayerRecord.RopeParameters(theta: try spelled(slidingKeys, float) ?? 10_000)
    return (full, sliding)
  }

  // A factor without a type is linear. There is an older key for it
  // (llama_model_base::load_hparams).
  private func ropeScale() throws(GemmaError) -> Float {
    let older = try float("rope.scale_linear")
    let factor = try float("rope.scaling.factor") ?? older
    switch try file.string(name("rope.scaling.type")) {
    case "none": return 1
    case nil: return factor.map { 1 / $0 } ?? 1
    case "linear":
      guard let factor else { throw missing(name("rope.scaling.factor")) }
      return 1 / factor
    case let type?:
      throw GemmaError(
        .unsupported,
        "\(name("rope.scaling.type")) is \(type); only none and linear are supported",
        context: file.path
      )
    }
  }

  // MARK: Sharing, kinds and sparsity

  /// Without the key, llama.cpp lets the first 20 layers of Gemma 3n own keys and values
  /// (llama_model_gemma3n::load_arch_hparams), and all of the others.
  private func sharingCount(_ layerCount: Int) throws(GemmaError) -> Int {
    guard architecture != .gemma3 else { return 0 }
    let fallback = architecture == .gemma3n ? max(0, layerCount - 20) : 0
    return try spelled(["attention.shared_kv_layers", "num_kv_shared_layers"], integer) ?? fallback
  }

  private func slidingPattern(_ layerCount: Int) throws(GemmaError) -> [Bool] {
    let key = name("attention.sliding_window_pattern")
    if case .array? = file.value(key) {
      let pattern = try file.bools(key) ?? []
      guard pattern.count == layerCount else {
        throw GemmaError(
          .config,
          "\(key) has \(pattern.count) values for \(layerCount) layers",
          context: file.path
        )
      }
      return pattern
    }
    // The models of the Gemma 4 family have different periods, so there is no default.
    guard let period = try file.integer(key) ?? [.gemma3: 6, .gemma3n: 5][architecture] else {
      throw missing(key)
    }
    guard period > 0 else {
      throw GemmaError(.config, "\(key) is \(period)", context: file.path)
    }
    return LayerTable.slidingPattern(period: period, layerCount: layerCount)
  }

  /// The file stores standard deviations, and minus infinity for dense layers.
  private func sparsity(_ layerCount: Int) throws(GemmaError) -> [Float?] {
    let key = name("activation_sparsity_scale")
    guard let values = try file.doubles(key) else {
      // llama.cpp's constants (llm_build_gemma3n, n_layer_sparsity and f_sparsity_std_mul).
      return (0..<layerCount).map { $0 < 10 ? 1.6448533535003662 : nil }
    }
    guard values.count == layerCount else {
      throw GemmaError(
        .config,
        "\(key) has \(values.count) values for \(layerCount) layers",
        context: file.path
      )
    }
    return values.map { $0 == -.infinity ? nil : Float($0) }
  }
}
