// Looks up a model's sizes in a Hugging Face config.json, with the defaults of transformers 5.24
// (configuration_gemma3n.py and configuration_gemma3.py under models/).
// ModelConfig+HuggingFace.swift makes a config of them.

internal import ModelFiles

/// The defaults of transformers for keys that a config lacks.
struct HuggingFaceDefaults {
  var vocabularySize, hiddenSize, feedForwardSize, layerCount, headCount, kvHeadCount: Int
  var headDim, contextTokens, window, fullPeriod, sharingCount: Int
  var finalSoftcap: Double?

  static let gemma3 = HuggingFaceDefaults(
    vocabularySize: 262_208,
    hiddenSize: 2304,
    feedForwardSize: 9216,
    layerCount: 26,
    headCount: 8,
    kvHeadCount: 4,
    headDim: 256,
    contextTokens: 131_072,
    window: 4096,
    fullPeriod: 6,
    sharingCount: 0,
    finalSoftcap: nil
  )

  static let gemma3n = HuggingFaceDefaults(
    vocabularySize: 262_400,
    hiddenSize: 2048,
    feedForwardSize: 16_384,
    layerCount: 35,
    headCount: 8,
    kvHeadCount: 2,
    headDim: 256,
    contextTokens: 32_768,
    window: 512,
    fullPeriod: 5,
    sharingCount: 15,
    finalSoftcap: 30
  )
}

/// The keys of a config.
struct HuggingFaceKeys {
  let top: JSONObject
  let text: JSONObject
  let generation: JSONObject?
  let architecture: Architecture
  let defaults: HuggingFaceDefaults

  static func architecture(_ config: JSONObject) throws(GemmaError) -> Architecture {
    switch try config.string("model_type") {
    case "gemma3", "gemma3_text": return .gemma3
    case "gemma3n", "gemma3n_text": return .gemma3n
    case let type:
      throw GemmaError(
        .unsupported,
        "model_type is \(type ?? "missing"); supported are gemma3, gemma3_text, gemma3n,"
          + " gemma3n_text",
        context: config.place
      )
    }
  }

  func integer(
    _ key: String,
    _ fallback: KeyPath<HuggingFaceDefaults, Int>
  ) throws(GemmaError) -> Int {
    try text.integer(key) ?? defaults[keyPath: fallback]
  }

  /// Refuses models of a kind that is not supported, because running them would silently give wrong
  /// text.
  func refuseUnknownKinds() throws(GemmaError) {
    for key in ["attention_bias", "use_bidirectional_attention"] where try text.bool(key) == true {
      throw refusal("\(key) true")
    }
    if let cap = try text.double("attn_logit_softcapping") {
      throw refusal("attn_logit_softcapping \(cap)")
    }
    let activation = try text.string("hidden_activation") ?? "gelu_pytorch_tanh"
    guard activation == "gelu_pytorch_tanh" else {
      throw refusal("hidden_activation \(activation); only gelu_pytorch_tanh is supported")
    }
  }

  func refusal(_ message: String) -> GemmaError {
    GemmaError(.unsupported, message, context: text.place)
  }

  // MARK: Outside the layers

  func attentionScale() throws(GemmaError) -> Float {
    Float(1 / (try text.double("query_pre_attn_scalar") ?? 256).squareRoot())
  }

  func finalSoftcap() throws(GemmaError) -> Float? {
    let key = "final_logit_softcapping"
    // Null means no cap; only an absent key has the default.
    let cap = text.fields[key] == nil ? defaults.finalSoftcap : try text.double(key)
    return cap.map { Float($0) }
  }

  func bosToken() throws(GemmaError) -> Int32 {
    let key = "bos_token_id"
    for object in [text, top] {
      if let value = try object.integer(key) { return try token(key, value) }
    }
    return 2
  }

  func eosTokens() throws(GemmaError) -> [Int32] {
    let key = "eos_token_id"
    for object in [generation, top, text] {
      guard let values = try object?.integers(key) else { continue }
      var tokens: [Int32] = []
      for value in values { tokens.append(try token(key, value)) }
      return tokens
    }
    return [1]
  }

  private func token(_ key: String, _ value: Int) throws(GemmaError) -> Int32 {
    guard let token = Int32(exactly: value), token >= 0 else {
      throw GemmaError(.config, "\(key) is \(value)", context: text.place)
    }
    return token
  }

  func altUp() throws(GemmaError) -> AltUpConfig {
    AltUpConfig(
      streamCount: try text.integer("altup_num_inputs") ?? 4,
      activeStream: try text.integer("altup_active_idx") ?? 0,
      scalesActiveStream: try text.bool("altup_correct_scale") ?? true
    )
  }

  func perLayerInput() throws(GemmaError) -> PerLayerInputConfig {
    PerLayerInputConfig(
      size: try text.integer("hidden_size_per_layer_input") ?? 256,
      vocabularySize: try text.integer("vocab_size_per_layer_input") ?? 262_144
    )
  }

  // MARK: The layers

  func layerTable(_ layerCount: Int) throws(GemmaError) -> LayerTable {
    let sizes = try text.integers("intermediate_size") ?? [defaults.feedForwardSize]
    let isSliding = try slidingPattern(layerCount)
    if case .null? = text.fields["sliding_window"], isSliding.contains(true) {
      throw refusal("sliding_window null, but layers with sliding attention")
    }
    var full = try heads()
    var sliding = full
    full.rope = try rope(
      "full_attention",
      theta: try text.double("rope_theta") ?? 1_000_000,
      legacyScaling: try text.object("rope_scaling")
    )
    try refuseFlatRope(theta: full.rope.theta)
    sliding.rope = try rope(
      "sliding_attention",
      theta: try text.double("rope_local_base_freq") ?? 10_000,
      legacyScaling: nil
    )
    return LayerTable(
      isSliding: isSliding,
      window: try integer("sliding_window", \.window),
      full: full,
      sliding: sliding,
      feedForwardSizes: try LayerTable.perLayer(
        sizes,
        "intermediate_size",
        layerCount: layerCount,
        text.place
      ),
      sparsityDeviations: try sparsity(layerCount),
      sharingCount: architecture == .gemma3n
        ? try integer("num_kv_shared_layers", \.sharingCount) : 0
    )
  }

  /// Returns the heads that all layers have; `layerTable` replaces the rope.
  private func heads() throws(GemmaError) -> LayerTable.Kind {
    LayerTable.Kind(
      headCount: try integer("num_attention_heads", \.headCount),
      kvHeadCount: try integer("num_key_value_heads", \.kvHeadCount),
      headDim: try integer("head_dim", \.headDim),
      attentionScale: architecture == .gemma3n ? 1 : try attentionScale(),
      rope: LayerRecord.RopeParameters(theta: 10_000)
    )
  }

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

  /// Reads the RoPE of one attention kind from `rope_parameters` (transformers 5), or from the
  /// fields of version 4.
  ///
  /// `rope_scaling` applies to full attention only, and its keys are added to those of
  /// `rope_parameters` (`Gemma3TextConfig.convert_rope_params_to_dict`).
  private func rope(
    _ kind: String,
    theta: Double,
    legacyScaling: JSONObject?
  ) throws(GemmaError) -> LayerRecord.RopeParameters {
    let own = try text.object("rope_parameters")?.object(kind)
    let parameters = JSONObject(
      fields: (own?.fields ?? [:]).merging(legacyScaling?.fields ?? [:]) { $1 },
      place: legacyScaling?.place ?? own?.place ?? text.place
    )
    // Before version 4.43 the key was `type`.
    let (type, oldType) = (try parameters.string("rope_type"), try parameters.string("type"))
    if let type, let oldType, type != oldType {
      throw refusal("RoPE of \(kind): rope_type is \(type), but type is \(oldType)")
    }
    let share = try parameters.double("partial_rotary_factor") ?? 1
    guard share == 1 else { throw refusal("partial_rotary_factor \(share) of \(kind)") }
    let theta = Float(try parameters.double("rope_theta") ?? theta)
    switch type ?? oldType ?? "default" {
    case "default":
      return LayerRecord.RopeParameters(theta: theta)
    case "linear":
      guard let factor = try parameters.double("factor") else {
        throw GemmaError(.config, "rope_type linear without a factor", context: parameters.place)
      }
      return LayerRecord.RopeParameters(theta: theta, positionScale: Float(1 / factor))
    case let type:
      throw refusal("rope_type \(type); only default and linear are supported")
    }
  }

  /// Refuses parameters beside those of the attention kinds.
  ///
  /// Transformers ignores them, but the author of the file must have meant something by them.
  private func refuseFlatRope(theta: Float) throws(GemmaError) {
    guard let parameters = try text.object("rope_parameters") else { return }
    for (key, value) in parameters.fields.sorted(by: { $0.key < $1.key }) {
      switch (key, value) {
      case ("full_attention", _), ("sliding_attention", _), (_, .null): continue
      case ("rope_type", .string("default")), ("type", .string("default")): continue
      case ("rope_theta", .integer(let number)) where Float(number) == theta: continue
      case ("rope_theta", .double(let number)) where Float(number) == theta: continue
      default:
        throw refusal(
          "rope_parameters.\(key) \(value.kind); it must be inside full_attention and sliding_attention"
        )
      }
    }
  }

  private func sparsity(_ layerCount: Int) throws(GemmaError) -> [Float?] {
    let dense = [Float?](repeating: nil, count: layerCount)
    guard architecture == .gemma3n else { return dense }
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
