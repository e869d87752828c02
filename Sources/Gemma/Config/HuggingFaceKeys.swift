// Looks up a model's sizes in a Hugging Face config.json, with the defaults of transformers 5.24.
// HuggingFaceKeys+Layers.swift has the layers; ModelConfig+HuggingFace.swift makes a config of them.

internal import ModelFiles

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
    // The 12B model has a type of its own; its text model is that of the others.
    case "gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text": return .gemma4
    case let type:
      throw GemmaError(
        .unsupported,
        "model_type is \(type ?? "missing"); supported are gemma3, gemma3n, gemma4 and gemma4_unified,"
          + " alone or with _text",
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
    if try text.bool("attention_bias") == true { throw refusal("attention_bias true") }
    switch text.value("use_bidirectional_attention") {
    case nil, .bool(false)?: break
    // Only the tokens of images see each other in both directions.
    case .string("vision")? where architecture == .gemma4: break
    case let value?:
      throw refusal(
        "use_bidirectional_attention \(value.kind): tokens of text may only see those before them"
      )
    }
    if try text.bool("enable_moe_block") == true {
      throw refusal(
        "enable_moe_block true: mixtures of experts (Gemma 4 26B-A4B) are not supported; use a dense model"
      )
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

  /// Returns the per-layer inputs; nil if the model has none.
  func perLayerInput() throws(GemmaError) -> PerLayerInputConfig? {
    guard architecture != .gemma3 else { return nil }
    let size = try integer("hidden_size_per_layer_input", \.perLayerInputSize)
    if size == 0, architecture == .gemma4 { return nil }
    return PerLayerInputConfig(
      size: size,
      vocabularySize: try text.integer("vocab_size_per_layer_input") ?? 262_144
    )
  }
}
