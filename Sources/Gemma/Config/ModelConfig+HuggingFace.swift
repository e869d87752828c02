// Reads a model's sizes and layers from a Hugging Face config.json. Keys and defaults are those
// of transformers 5.24: the configuration_*.py of each family under models/.

internal import ModelFiles

extension ModelConfig {
  /// Reads the config of a directory of one of the families of `Architecture`.
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
      defaults: HuggingFaceDefaults(architecture)
    )
    try keys.refuseUnknownKinds()
    try keys.refuseUnsupported()
    let layerCount = try keys.integer("num_hidden_layers", \.layerCount)
    try ModelConfig.checkLayerCount(layerCount, "\(text.place), num_hidden_layers")
    self.init(
      architecture: architecture,
      vocabularySize: try keys.integer("vocab_size", \.vocabularySize),
      hiddenSize: try keys.integer("hidden_size", \.hiddenSize),
      contextTokens: try keys.integer("max_position_embeddings", \.contextTokens),
      normEpsilon: Float(try text.double("rms_norm_eps") ?? 1e-6),
      normGainOffset: architecture.storesGainsZeroCentred ? 1 : 0,
      normsValues: architecture.normsValues,
      scalesLayers: architecture.scalesLayers,
      finalSoftcap: try keys.finalSoftcap(),
      bosToken: try keys.bosToken(),
      eosTokens: try keys.eosTokens(),
      layers: try keys.layerTable(layerCount).records(text.place),
      altUp: architecture.hasStreams ? try keys.altUp() : nil,
      laurel: architecture.hasStreams
        ? LaurelConfig(rank: try text.integer("laurel_rank") ?? 64) : nil,
      perLayerInput: try keys.perLayerInput()
    )
    try validate(text.place)
  }
}
