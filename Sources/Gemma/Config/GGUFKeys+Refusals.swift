// Metadata keys that change what a model computes and that Gemma's lowering does not support. A
// file in which such a key has any value other than the neutral one is refused with the key's name,
// because ignoring the key would silently give wrong text. The keys are those that llama.cpp reads:
// LLM_KV_NAMES in src/llama-arch.cpp.

internal import ModelFiles

extension GGUFKeys {
  /// The values of each key that change nothing.
  private static let neutralNumbers: [(key: String, values: [Double])] = [
    ("attention.max_alibi_bias", [0]), ("attention.clamp_kqv", [0]),
    ("attention.output_scale", [0, 1]), ("attention.temperature_scale", [0, 1]),
    ("attention.temperature_length", [0]), ("attn_logit_softcapping", [0]),
    ("attention.logit_softcapping", [0]), ("router_logit_softcapping", [0]),
    ("logit_scale", [0, 1]), ("residual_scale", [0, 1]), ("embedding_scale", [0, 1]),
    ("expert_used_count", [0]), ("leading_dense_block_count", [0]),
    ("pooling_type", [0]), ("nextn_predict_layers", [0]), ("rope.scaling.alpha", [0, 1]),
    ("rope.scaling.attn_factor", [1]), ("rope.scaling.yarn_attn_factor", [1]),
    ("rope.scaling.yarn_ext_factor", [0, -1]), ("rope.partial_rotary_factor", [1]),
  ]
  private static let neutralFlags: [(key: String, value: Bool)] = [
    ("attention.causal", true), ("use_parallel_residual", false), ("swin_norm", false),
    ("attention.use_bidirectional_attention", false),
  ]
  /// Widths that must equal the head dimension of layers with full or with sliding attention, because values
  /// are as wide as keys and pairs of values are those of whole heads.
  private static let fullWidths = ["attention.value_length", "rope.dimension_count"]
  private static let slidingWidths = [
    "attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa",
  ]
  private static let activations: Set<String> = ["gelu", "gelu_pytorch_tanh", "geglu"]

  /// Refuses files with settings that are not supported, because ignoring them would silently give
  /// wrong text.
  func refuseUnsupported(
    _ widths: (full: Int, sliding: Int),
    layerCount: Int
  ) throws(GemmaError) {
    if let experts = try integer("expert_count"), experts > 0 {
      throw GemmaError(
        .unsupported,
        "\(name("expert_count")) is \(experts): mixtures of experts (Gemma 4 26B-A4B) are not supported;"
          + " use a dense model",
        context: file.path
      )
    }
    for (key, values) in GGUFKeys.neutralNumbers {
      guard let number = try file.double(name(key)), !values.contains(number) else { continue }
      throw refusal("\(name(key)) \(number)")
    }
    for (key, value) in GGUFKeys.neutralFlags {
      guard let flag = try file.bool(name(key)), flag != value else { continue }
      throw refusal("\(name(key)) \(flag)")
    }
    let fullWidths = GGUFKeys.fullWidths.map { ($0, widths.full) }
    for (key, headDim) in fullWidths + GGUFKeys.slidingWidths.map({ ($0, widths.sliding) }) {
      guard let width = try uniform(key, layerCount), width != headDim else { continue }
      throw refusal("\(name(key)) \(width), which is not the key length \(headDim)")
    }
    for key in ["hidden_activation", "hidden_act"] {
      guard let activation = try file.string(name(key)),
        !GGUFKeys.activations.contains(activation)
      else { continue }
      throw refusal("\(name(key)) \(activation), not gelu_pytorch_tanh")
    }
    let sections = name("rope.dimension_sections")
    guard try file.integerOrIntegers(sections)?.allSatisfy({ $0 == 0 }) ?? true else {
      throw refusal(sections)
    }
  }

  private func refusal(_ message: String) -> GemmaError {
    GemmaError(
      .unsupported,
      "\(message): this setting is not supported, and without it the text would be wrong",
      context: file.path
    )
  }
}
