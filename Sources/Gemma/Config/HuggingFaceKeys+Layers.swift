// What a config.json says about the layers: attention kinds, heads, feed-forward widths, sharing,
// sparsity. HuggingFaceKeys+Rope.swift has the ropes.

internal import ModelFiles

extension HuggingFaceKeys {
  func layerTable(_ layerCount: Int) throws(GemmaError) -> LayerTable {
    var isSliding = try slidingPattern(layerCount)
    // Gemma4TextConfig.__post_init__ gives the last layer full attention whatever the file says.
    if architecture == .gemma4 { isSliding[layerCount - 1] = false }
    if case .null? = text.fields["sliding_window"], isSliding.contains(true) {
      throw refusal("sliding_window null, but layers with sliding attention")
    }
    let sharingCount =
      architecture == .gemma3 ? 0 : try integer("num_kv_shared_layers", \.sharingCount)
    return LayerTable(
      isSliding: isSliding,
      window: try integer("sliding_window", \.window),
      heads: try heads(isSliding),
      feedForwardSizes: try feedForwardSizes(layerCount, sharingCount: sharingCount),
      sparsityDeviations: try sparsity(layerCount),
      sharingCount: sharingCount
    )
  }

  // MARK: Heads

  /// Returns the heads of each layer.
  ///
  /// Gemma 4 has other heads in layers with full attention, and two forms to say so: `global_head_dim` and
  /// `num_global_key_value_heads`, or, written by newer versions of transformers, `per_layer_config`, an
  /// object with an entry for each layer that differs.
  private func heads(_ isSliding: [Bool]) throws(GemmaError) -> [LayerTable.Heads] {
    let ropes = try ropes()
    let kvHeadCount = try integer("num_key_value_heads", \.kvHeadCount)
    let headDim = try integer("head_dim", \.headDim)
    let valuesAreKeys = architecture == .gemma4 ? try text.bool("attention_k_eq_v") ?? false : false
    let changes = architecture == .gemma4 ? try text.object("per_layer_config") : nil
    var (fullHeadDim, fullKVHeadCount) = (headDim, kvHeadCount)
    if architecture == .gemma4, changes == nil {
      fullHeadDim = try text.integer("global_head_dim") ?? defaults.fullHeadDim ?? headDim
      if valuesAreKeys {
        fullKVHeadCount = try text.integer("num_global_key_value_heads") ?? kvHeadCount
      }
    }
    var heads: [LayerTable.Heads] = []
    for isSliding in isSliding {
      heads.append(
        LayerTable.Heads(
          headCount: try integer("num_attention_heads", \.headCount),
          kvHeadCount: isSliding ? kvHeadCount : fullKVHeadCount,
          headDim: isSliding ? headDim : fullHeadDim,
          attentionScale: try attentionScale(),
          rope: LayerRecord.RopeParameters(theta: 10_000),
          valuesAreKeys: valuesAreKeys && !isSliding
        )
      )
    }
    if let changes { try apply(changes, to: &heads) }
    for (layer, isSliding) in isSliding.enumerated() {
      heads[layer].rope = (isSliding ? ropes.sliding : ropes.full)
        .parameters(headDim: heads[layer].headDim)
    }
    return heads
  }

  /// Changes the heads as `per_layer_config` says.
  ///
  /// Its keys are layer numbers, padded with zeros to equal length.
  private func apply(
    _ changes: JSONObject,
    to heads: inout [LayerTable.Heads]
  ) throws(GemmaError) {
    var changed: [Int: String] = [:]
    for key in changes.fields.keys.sorted() {
      guard let layer = Int(key), heads.indices.contains(layer) else {
        throw GemmaError(
          .config,
          "per_layer_config has \(key), which is none of \(heads.count) layers",
          context: text.place
        )
      }
      if let other = changed.updateValue(key, forKey: layer) {
        throw GemmaError(
          .config,
          "per_layer_config has layer \(layer) twice, as \(other) and as \(key)",
          context: text.place
        )
      }
      guard let own = try changes.object(key) else { continue }
      for name in own.fields.keys.sorted() {
        switch name {
        case "head_dim": heads[layer].headDim = try own.integer(name) ?? heads[layer].headDim
        case "num_key_value_heads":
          heads[layer].kvHeadCount = try own.integer(name) ?? heads[layer].kvHeadCount
        default:
          throw refusal(
            "per_layer_config.\(key) has \(name); only head_dim and num_key_value_heads may differ"
          )
        }
      }
    }
  }

  private func attentionScale() throws(GemmaError) -> Float {
    if architecture.hasUnitAttentionScale { return 1 }
    return Float(1 / (try text.double("query_pre_attn_scalar") ?? 256).squareRoot())
  }

  // MARK: Kinds, widths and sparsity

  private func slidingPattern(_ layerCount: Int) throws(GemmaError) -> [Bool] {
    guard let types = try text.strings("layer_types") else {
      let period = try text.integer("sliding_window_pattern") ?? defaults.fullPeriod
      guard period > 0 else {
        throw GemmaError(.config, "sliding_window_pattern is \(period)", context: text.place)
      }
      return LayerTable.slidingPattern(period: period, layerCount: layerCount)
    }
    guard types.count == layerCount else {
      throw GemmaError(
        .config,
        "layer_types has \(types.count) values for \(layerCount) layers",
        context: text.place
      )
    }
    var pattern: [Bool] = []
    for type in types {
      guard type == "sliding_attention" || type == "full_attention" else {
        throw refusal(
          "layer_types has \(type); only full_attention and sliding_attention are supported"
        )
      }
      pattern.append(type == "sliding_attention")
    }
    return pattern
  }

  /// Returns the width of each layer's feed-forward.
  ///
  /// In Gemma 4 with `use_double_wide_mlp`, layers that share keys and values have twice the width
  /// (Gemma4TextMLP.__init__).
  private func feedForwardSizes(
    _ layerCount: Int,
    sharingCount: Int
  ) throws(GemmaError) -> [Int] {
    let sizes = try LayerTable.perLayer(
      try text.integers("intermediate_size") ?? [defaults.feedForwardSize],
      "intermediate_size",
      layerCount: layerCount,
      text.place
    )
    guard architecture == .gemma4, try text.bool("use_double_wide_mlp") == true else {
      return sizes
    }
    return sizes.enumerated().map { layer, size in
      let isOwner = layerCount - layer > sharingCount
      return isOwner ? size : size.multipliedReportingOverflow(by: 2).partialValue
    }
  }

  private func sparsity(_ layerCount: Int) throws(GemmaError) -> [Float?] {
    let dense = [Float?](repeating: nil, count: layerCount)
    guard architecture.hasStreams else { return dense }
    let key = "activation_sparsity_pattern"
    // The default of Gemma3nTextConfig: the first ten layers are sparse if the model has more than
    // ten.
    let fallback = (0..<layerCount).map { layerCount > 10 && $0 < 10 ? 0.95 : 0 }
    let shares = try LayerTable.perLayer(
      try text.doubles(key) ?? fallback,
      key,
      layerCount: layerCount,
      text.place
    )
    var deviations = dense
    for (layer, share) in shares.enumerated() where share != 0 {
      guard share > 0, share < 1 else {
        throw GemmaError(
          .config,
          "\(key) has \(share), which is outside 0..<1",
          context: text.place
        )
      }
      deviations[layer] = Float(normalQuantile(share))
    }
    return deviations
  }
}
