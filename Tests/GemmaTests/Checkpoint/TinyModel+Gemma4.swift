// A tiny Gemma 4, written out by hand like the others.

import TestSupport

extension TinyModel {
  /// Four layers, sliding and full in turn, of which the last two share keys and values and have twice the
  /// feed-forward; heads of 8, with full attention of 16; per-layer inputs of 8.
  static let gemma4: TinyModel = {
    var weights = weightsOutsideLayers(perLayerRows: 12, projectionType: "BF16")
    for layer in 0..<4 {
      weights += decoderWeights(
        layer,
        hidden: 32,
        head: layer % 2 == 0 ? 8 : 16,
        inner: layer < 2 ? 32 : 64
      )
      let own: [(String, String, [Int], String)] = [
        ("per_layer_input_gate", "inp_gate", [8, 32], "Q4_0"),
        ("per_layer_projection", "proj", [32, 8], "BF16"),
        ("post_per_layer_input_norm", "post_norm", [32], "F32"),
        ("layer_scalar", "layer_output_scale", [1], "F32"),
      ]
      weights += own.map { canonical, gguf, shape, type in
        TinyWeight(
          canonical: "layers.\(layer).\(canonical)",
          gguf: "blk.\(layer).\(gguf).weight",
          shape: shape,
          type: type
        )
      }
    }
    return TinyModel(
      weights: weights,
      config: gemma4Config,
      metadata: gemma4Metadata,
      prefix: "model.language_model."
    )
  }()

  /// The same with keys as values in layers with full attention, as the larger models have it.
  static var gemma4WithoutValues: TinyModel {
    var model = gemma4
    model.weights.removeAll {
      ["layers.1.self_attn.v_proj", "layers.3.self_attn.v_proj"].contains($0.canonical)
    }
    model.setText("attention_k_eq_v", to: true)
    return model
  }

  private static let gemma4Config: [String: any Sendable] = [
    "model_type": "gemma4", "eos_token_id": [1, 11],
    "text_config": [
      "model_type": "gemma4_text", "vocab_size": 12, "vocab_size_per_layer_input": 12,
      "hidden_size": 32, "hidden_size_per_layer_input": 8, "intermediate_size": 32,
      "use_double_wide_mlp": true, "num_hidden_layers": 4, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "global_head_dim": 16,
      "num_global_key_value_heads": nil as Int?, "attention_k_eq_v": false,
      "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "sliding_window": 4,
      "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention", "full_attention",
      ], "num_kv_shared_layers": 2, "final_logit_softcapping": 20, "bos_token_id": 2,
      "use_bidirectional_attention": nil as String?, "enable_moe_block": false,
      "rope_parameters": [
        "full_attention": [
          "rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 500_000,
        ] as [String: any Sendable],
        "sliding_attention": [
          "rope_type": "default", "rope_theta": 20_000,
        ] as [String: any Sendable],
      ],
    ] as [String: any Sendable],
    "vision_config": ["model_type": "gemma4_vision"], "audio_config": ["hidden_size": 16],
  ]

  private static let gemma4Metadata: [(key: String, value: GGUFBuilder.Value)] = [
    ("general.architecture", .string("gemma4")), ("general.name", .string("Tiny 4")),
    ("gemma4.context_length", .uint32(128)), ("gemma4.embedding_length", .uint32(32)),
    ("gemma4.block_count", .uint32(4)),
    ("gemma4.feed_forward_length", .array([32, 32, 64, 64].map { .int32($0) })),
    ("gemma4.attention.head_count", .uint32(2)),
    ("gemma4.attention.head_count_kv", .array([1, 1, 1, 1].map { .int32($0) })),
    ("gemma4.attention.key_length", .uint32(16)), ("gemma4.attention.value_length", .uint32(16)),
    ("gemma4.attention.key_length_swa", .uint32(8)),
    ("gemma4.attention.value_length_swa", .uint32(8)),
    ("gemma4.attention.layer_norm_rms_epsilon", .float32(1e-5)),
    ("gemma4.attention.sliding_window", .uint32(4)),
    (
      "gemma4.attention.sliding_window_pattern",
      .array([true, false, true, false].map { .bool($0) })
    ),
    ("gemma4.attention.shared_kv_layers", .uint32(2)),
    ("gemma4.rope.freq_base", .float32(500_000)),
    ("gemma4.rope.freq_base_swa", .float32(20_000)),
    ("gemma4.rope.dimension_count", .uint32(16)),
    ("gemma4.rope.dimension_count_swa", .uint32(8)),
    ("gemma4.final_logit_softcapping", .float32(20)),
    ("gemma4.embedding_length_per_layer_input", .uint32(8)),
    ("tokenizer.ggml.bos_token_id", .uint32(2)), ("tokenizer.ggml.eos_token_id", .uint32(1)),
    ("tokenizer.ggml.eot_token_id", .uint32(11)),
  ]
}
