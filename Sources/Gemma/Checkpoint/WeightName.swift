// Canonical names of the weights: Hugging Face's, without prefix and `.weight`. The readers map a
// file's own spelling to these; the lowering asks for these.

/// The name of a weight, the same for every file format.
package enum WeightName: Sendable, Hashable {
  case model(ModelWeight)
  case layer(Int, LayerWeight)

  /// For example `layers.3.self_attn.q_proj`.
  package var canonical: String {
    switch self {
    case .model(let weight): weight.canonical
    case .layer(let layer, let weight): "layers.\(layer).\(weight.rawValue)"
    }
  }
}

/// Weights outside the layers.
package enum ModelWeight: Sendable, Hashable {
  case embedTokens
  case norm
  /// The output matrix, if it is not the embedding.
  case head
  case embedTokensPerLayer
  case perLayerModelProjection
  case perLayerProjectionNorm
  case altupProjection(Int)
  case altupUnembedProjection(Int)

  package var canonical: String {
    switch self {
    case .embedTokens: "embed_tokens"
    case .norm: "norm"
    case .head: "lm_head"
    case .embedTokensPerLayer: "embed_tokens_per_layer"
    case .perLayerModelProjection: "per_layer_model_projection"
    case .perLayerProjectionNorm: "per_layer_projection_norm"
    case .altupProjection(let index): "altup_projections.\(index)"
    case .altupUnembedProjection(let index): "altup_unembed_projections.\(index)"
    }
  }
}

/// Weights of a layer; the raw value is the canonical name after `layers.N.`.
package enum LayerWeight: String, Sendable, Hashable, CaseIterable {
  case inputNorm = "input_layernorm"
  case postAttentionNorm = "post_attention_layernorm"
  case preFeedForwardNorm = "pre_feedforward_layernorm"
  case postFeedForwardNorm = "post_feedforward_layernorm"
  case query = "self_attn.q_proj"
  case key = "self_attn.k_proj"
  case value = "self_attn.v_proj"
  case output = "self_attn.o_proj"
  case queryNorm = "self_attn.q_norm"
  case keyNorm = "self_attn.k_norm"
  case gate = "mlp.gate_proj"
  case up = "mlp.up_proj"
  case down = "mlp.down_proj"
  // Of AltUp and LAuReL.
  case altupRouter = "altup.modality_router"
  case altupRouterNorm = "altup.router_norm"
  case altupPrediction = "altup.prediction_coefs"
  case altupCorrection = "altup.correction_coefs"
  case altupOutputScale = "altup.correct_output_scale"
  case laurelLeft = "laurel.linear_left"
  case laurelRight = "laurel.linear_right"
  case laurelNorm = "laurel.post_laurel_norm"
  // Of per-layer inputs.
  case perLayerGate = "per_layer_input_gate"
  case perLayerProjection = "per_layer_projection"
  case perLayerNorm = "post_per_layer_input_norm"
  /// One number, by which the layer's result is multiplied.
  case outputScale = "layer_scalar"
}
