// Reads a model's sizes and layers from a Hugging Face config.json. Keys and defaults are those
// of transformers 5.24: configuration_gemma3n.py and configuration_gemma3.py under models/.

internal import ModelFiles

extension ModelConfig {
  /// Reads the config of a Gemma 3 or Gemma 3n directory.
  ///
  /// - Parameters:
  ///   - config: `config.json`; the text model's part may be under `text_config`.
  ///   - generation: `generation_config.json`, whose end-of-turn tokens take precedence.
  /// - Throws: `GemmaError` that names the key that is out of range or not supported.
  init(huggingFace config: JSONObject, generation: JSONObject?) throws(GemmaError) {
    let architecture = try HuggingFaceKeys.architecture(config)
    let text = try config.object("text_config") ?? config
    let keys = HuggingFaceKeys(
      top: config,
      text: text,
      generation: generation,
      architecture: architecture,
      defaults: architecture == .gemma3n ? .gemma3n : .gemma3
    )
    try keys.refuseUnknownKinds()
    try keys.refuseUnsupported()
    let layerCount = try keys.integer("num_hidden_layers", \.layerCount)
    try ModelConfig.checkLayerCount(layerCount, "\(text.place), num_hidden_layers")
    let is3n = architecture == .gemma3n
    self.init(
      architecture: architecture,
      vocabularySize: try keys.integer("vocab_size", \.vocabularySize),
      hiddenSize: try keys.integer("hidden_size", \.hiddenSize),
      contextTokens: try keys.integer("max_position_embeddings", \.contextTokens),
      normEpsilon: Float(try text.double("rms_norm_eps") ?? 1e-6),
      normGainOffset: is3n ? 0 : 1,
      normsValues: is3n,
      finalSoftcap: try keys.finalSoftcap(),
      bosToken: try keys.bosToken(),
      eosTokens: try keys.eosTokens(),
      layers: try keys.layerTable(layerCount).records(text.place),
      altUp: is3n ? try keys.altUp() : nil,
      laurel: is3n ? LaurelConfig(rank: try text.integer("laurel_rank") ?? 64) : nil,
      perLayerInput: is3n ? try keys.perLayerInput() : nil
    )
    try validate(text.place)
  }
}
