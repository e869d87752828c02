// Reads a model's sizes and layers from GGUF metadata. Keys are interpreted as llama.cpp does:
// src/llama-model.cpp and gguf-py/gguf/constants.py in ggml-org/llama.cpp.

package import ModelFiles

extension ModelConfig {
  /// Reads the config of a Gemma 3 or Gemma 3n file.
  ///
  /// - Throws: `GemmaError` that names the key that is missing, out of range or not supported.
  package init(gguf file: GGUFFile) throws(GemmaError) {
    let keys = try GGUFKeys(file)
    let layerCount = try keys.need("block_count")
    try ModelConfig.checkLayerCount(layerCount, "\(file.path), \(keys.name("block_count"))")
    let headCount = try keys.needUniform("attention.head_count", layerCount)
    let hiddenSize = try keys.need("embedding_length")
    // llama.cpp's default if the file has no value (llama_model_base::load_hparams).
    let derived = headCount > 0 ? hiddenSize / headCount : 0
    let headDim =
      try keys.spelled(["attention.key_length", "head_dim"]) { key throws(GemmaError) in
        try keys.uniform(key, layerCount)
      } ?? derived
    try keys.refuseUnsupported(headDim: headDim, layerCount: layerCount)
    let is3n = keys.architecture == .gemma3n
    let heads = LayerTable.Kind(
      headCount: headCount,
      kvHeadCount: try keys.uniform("attention.head_count_kv", layerCount) ?? headCount,
      headDim: headDim,
      attentionScale: try keys.float("attention.scale")
        ?? (is3n ? 1 : keys.attentionScale(layerCount, hiddenSize, headCount, headDim)),
      rope: LayerRecord.RopeParameters(theta: 10_000)
    )
    // llama.cpp caps the logits of Gemma 3n at 30 whatever the file says (llama_hparams).
    let softcap = try keys.float("final_logit_softcapping") ?? (is3n ? 30 : 0)
    self.init(
      architecture: keys.architecture,
      vocabularySize: try keys.vocabularySize(),
      hiddenSize: hiddenSize,
      contextTokens: try keys.need("context_length"),
      normEpsilon: try keys.needFloat("attention.layer_norm_rms_epsilon"),
      // The converter has already added Gemma 3's 1 to the gains.
      normGainOffset: 0,
      normsValues: is3n,
      finalSoftcap: softcap == 0 ? nil : softcap,
      bosToken: try keys.token("bos_token_id") ?? 2,
      eosTokens: try keys.eosTokens(),
      layers: try keys.layerTable(layerCount, heads).records(file.path),
      altUp: is3n ? try keys.altUp() : nil,
      laurel: is3n ? LaurelConfig(rank: try keys.rowCount("blk.0.laurel_l.weight")) : nil,
      perLayerInput: is3n ? try keys.perLayerInput() : nil
    )
    try validate(file.path)
  }
}
