// How files spell the canonical weight names. docs/MODEL.md has the table.

extension WeightName {
  /// The prefixes under which Hugging Face files keep the text model, longest first.
  private static let prefixes = [
    "language_model.model.", "model.language_model.", "model.", "language_model.",
  ]

  /// Returns the canonical name of a tensor in Hugging Face layout; the tensor may be unknown.
  static func canonical(huggingFace name: String) -> String {
    var name = Substring(name)
    if let prefix = prefixes.first(where: name.hasPrefix) { name.removeFirst(prefix.count) }
    if name.hasSuffix(".weight") { name.removeLast(".weight".count) }
    return String(name)
  }

  /// The name in a GGUF file, and which part along the outermost dimension if several weights are
  /// stacked in one tensor.
  package var gguf: (name: String, slice: Int?) {
    switch self {
    case .model(let weight):
      let (stem, slice) = weight.gguf
      return ("\(stem).weight", slice)
    case .layer(let layer, let weight):
      return ("blk.\(layer).\(weight.gguf).weight", nil)
    }
  }
}

extension ModelWeight {
  fileprivate var gguf: (stem: String, slice: Int?) {
    switch self {
    case .embedTokens: ("token_embd", nil)
    case .norm: ("output_norm", nil)
    case .head: ("output", nil)
    case .embedTokensPerLayer: ("per_layer_token_embd", nil)
    case .perLayerModelProjection: ("per_layer_model_proj", nil)
    case .perLayerProjectionNorm: ("per_layer_proj_norm", nil)
    case .altupProjection(let index): ("altup_proj", index)
    case .altupUnembedProjection(let index): ("altup_unembd_proj", index)
    }
  }
}

extension LayerWeight {
  fileprivate var gguf: String {
    switch self {
    case .inputNorm: "attn_norm"
    case .postAttentionNorm: "post_attention_norm"
    case .preFeedForwardNorm: "ffn_norm"
    case .postFeedForwardNorm: "post_ffw_norm"
    case .query: "attn_q"
    case .key: "attn_k"
    case .value: "attn_v"
    case .output: "attn_output"
    case .queryNorm: "attn_q_norm"
    case .keyNorm: "attn_k_norm"
    case .gate: "ffn_gate"
    case .up: "ffn_up"
    case .down: "ffn_down"
    case .altupRouter: "altup_router"
    case .altupRouterNorm: "altup_router_norm"
    case .altupPrediction: "altup_predict_coef"
    case .altupCorrection: "altup_correct_coef"
    case .altupOutputScale: "altup_correct_scale"
    case .laurelLeft: "laurel_l"
    case .laurelRight: "laurel_r"
    case .laurelNorm: "laurel_post_norm"
    case .perLayerGate: "inp_gate"
    case .perLayerProjection: "proj"
    case .perLayerNorm: "post_norm"
    case .outputScale: "layer_output_scale"
    }
  }
}
