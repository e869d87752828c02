// Reads a model's sizes and layers from GGUF metadata. Keys are interpreted as llama.cpp does:
// src/llama-model.cpp and gguf-py/gguf/constants.py in ggml-org/llama.cpp.

package import ModelFiles

extension ModelConfig {
  /// Reads the config of a file of one of the families of `Architecture`.
  ///
  /// - Throws: `GemmaError` that names the key that is missing, out of range or not supported.
  package init(gguf file: GGUFFile) throws(GemmaError) {
    let keys = try GGUFKeys(file)
    let layerCount = try keys.need("block_count")
    try ModelConfig.checkLayerCount(layerCount, "\(file.path), \(keys.name("block_count"))")
    let hiddenSize = try keys.need("embedding_length")
    let layers = try keys.layerTable(layerCount, hiddenSize: hiddenSize).records(file.path)
    let architecture = keys.architecture
    // llama.cpp caps the logits of Gemma 3n at 30 whatever the file says (llama_hparams).
    let softcap = try keys.float("final_logit_softcapping") ?? (architecture == .gemma3n ? 30 : 0)
    self.init(
      architecture: architecture,
      vocabularySize: try keys.vocabularySize(),
      hiddenSize: hiddenSize,
      contextTokens: try keys.need("context_length"),
      normEpsilon: try keys.needFloat("attention.layer_norm_rms_epsilon"),
      // The converter has already added Gemma 3's 1 to the gains.
      normGainOffset: 0,
      normsValues: architecture.normsValues,
      scalesLayers: architecture.scalesLayers,
      finalSoftcap: softcap == 0 ? nil : softcap,
      bosToken: try keys.token("bos_token_id") ?? 2,
      eosTokens: try keys.eosTokens(),
      layers: layers,
      altUp: architecture.hasStreams ? try keys.altUp() : nil,
      laurel: architecture.hasStreams
        ? LaurelConfig(rank: try keys.rowCount("blk.0.laurel_l.weight")) : nil,
      perLayerInput: try keys.perLayerInput()
    )
    try validate(file.path)
  }
}
