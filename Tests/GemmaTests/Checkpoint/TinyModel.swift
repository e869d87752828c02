// Tiny models, written out by hand in both file formats: names, shapes and config keys here are
// the expectation, so nothing is derived from the code under test.

import Foundation
import TestSupport
import Testing

/// A weight of a tiny model in all its spellings.
struct TinyWeight: Sendable {
  var canonical: String
  var gguf: String
  var shape: [Int]
  /// `F32`, `F16`, `BF16`; or `Q4_0`, `Q8_0` in GGUF, where safetensors say `BF16`.
  var type: String

  /// The content: bytes that follow from the name, so that no two weights are alike.
  func bytes(_ type: String) -> [UInt8] {
    let rows = shape.dropLast().reduce(1, *)
    let columns = shape[shape.count - 1]
    let rowByteCount =
      switch type {
      case "F32": columns * 4
      case "Q4_0": columns / 32 * 18
      case "Q8_0": columns / 32 * 34
      default: columns * 2
      }
    var seed: UInt64 = 1
    for byte in canonical.utf8 { seed = seed &* 131 &+ UInt64(byte) }
    // One tape of random bytes, cut anew for each weight: debug builds draw them slowly.
    let start = Int(seed % 50_000)
    return Array(TinyWeight.tape[start..<(start + rows * rowByteCount)])
  }

  private static let tape: [UInt8] = {
    var random = SeededRandom(1)
    return random.bytes(60_000)
  }()

  var ggufBytes: [UInt8] { bytes(type) }
  /// The type in a safetensors file, which knows no blocks.
  var safetensorsType: String { type.hasPrefix("Q") ? "BF16" : type }
  var safetensorsBytes: [UInt8] { bytes(safetensorsType) }
}

/// A tiny model: what its files hold.
struct TinyModel: Sendable, CustomTestStringConvertible {
  var weights: [TinyWeight]
  /// `config.json`.
  var config: [String: any Sendable]
  var metadata: [(key: String, value: GGUFBuilder.Value)]
  /// The prefix of tensor names in safetensors.
  var prefix = "model."
  /// GGUF keeps these weights of Gemma 3n in one tensor each.
  var stacks: [(name: String, canonicals: [String])] = []

  /// What a test's report calls the model.
  var testDescription: String { config["model_type"].map { "\($0)" } ?? "a tiny model" }

  static let typeNumbers: [String: UInt32] = ["F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "BF16": 30]

  func weight(_ canonical: String) -> TinyWeight {
    guard let weight = weights.first(where: { $0.canonical == canonical }) else {
      preconditionFailure("the tiny model has no weight \(canonical)")
    }
    return weight
  }

  /// The model as a GGUF file.
  var gguf: GGUFBuilder {
    var builder = GGUFBuilder()
    builder.metadata = metadata
    let stacked = Set(stacks.flatMap(\.canonicals))
    for weight in weights where !stacked.contains(weight.canonical) {
      builder.tensors.append(
        GGUFBuilder.Tensor(
          name: weight.gguf,
          dimensions: weight.shape.reversed().map { UInt64($0) },
          type: TinyModel.typeNumbers[weight.type] ?? 0,
          bytes: weight.ggufBytes
        )
      )
    }
    for (name, canonicals) in stacks {
      let parts = canonicals.map(weight)
      builder.tensors.append(
        GGUFBuilder.Tensor(
          name: name,
          dimensions: parts[0].shape.reversed().map { UInt64($0) } + [UInt64(parts.count)],
          type: TinyModel.typeNumbers[parts[0].type] ?? 0,
          bytes: parts.flatMap(\.ggufBytes)
        )
      )
    }
    return builder
  }

  /// The model's tensors as safetensors.
  var safetensors: SafetensorsBuilder {
    var builder = SafetensorsBuilder()
    for weight in weights {
      // These are plain parameters, without ".weight".
      let isPlain = ["correct_output_scale", "layer_scalar"].contains(
        where: weight.canonical.hasSuffix
      )
      let suffix = isPlain ? "" : ".weight"
      builder.tensors.append(
        SafetensorsBuilder.Tensor(
          name: prefix + weight.canonical + suffix,
          type: weight.safetensorsType,
          shape: weight.shape,
          bytes: weight.safetensorsBytes
        )
      )
    }
    return builder
  }

  /// Sets a key of the text model's config, wherever that stands; nil removes it.
  mutating func setText(_ key: String, to value: (any Sendable)?) {
    if var text = config["text_config"] as? [String: any Sendable] {
      text[key] = value
      config["text_config"] = text
    } else {
      config[key] = value
    }
  }

  /// Writes `config.json` and `model.safetensors` into a directory.
  func write(to directory: String) throws {
    try writeConfig(to: directory)
    try safetensors.write(to: "\(directory)/model.safetensors")
  }

  /// Writes `config.json`.
  func writeConfig(to directory: String) throws {
    let json = try JSONSerialization.data(withJSONObject: config, options: [.sortedKeys])
    try Array(json).write(to: "\(directory)/config.json")
  }
}

// MARK: Gemma 3

extension TinyModel {
  /// Two layers, width 32, two heads of 8 over one KV head; the second layer attends to everything.
  static let gemma3: TinyModel = {
    var weights = [
      TinyWeight(
        canonical: "embed_tokens",
        gguf: "token_embd.weight",
        shape: [12, 32],
        type: "Q8_0"
      ),
      TinyWeight(canonical: "norm", gguf: "output_norm.weight", shape: [32], type: "F32"),
    ]
    for layer in 0..<2 { weights += decoderWeights(layer, hidden: 32, head: 8, inner: 64) }
    return TinyModel(
      weights: weights,
      config: [
        "model_type": "gemma3_text", "vocab_size": 12, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "sliding_window": 4,
        "query_pre_attn_scalar": 16, "rope_theta": 500_000, "rope_local_base_freq": 20_000,
        "sliding_window_pattern": 2, "bos_token_id": 2, "eos_token_id": [1, 11],
      ],
      metadata: [
        ("general.architecture", .string("gemma3")), ("general.name", .string("Tiny 3")),
        ("gemma3.context_length", .uint32(128)), ("gemma3.embedding_length", .uint32(32)),
        ("gemma3.block_count", .uint32(2)), ("gemma3.feed_forward_length", .uint32(64)),
        ("gemma3.attention.head_count", .uint32(2)),
        ("gemma3.attention.head_count_kv", .uint32(1)),
        ("gemma3.attention.key_length", .uint32(8)),
        ("gemma3.attention.value_length", .uint32(8)),
        ("gemma3.attention.layer_norm_rms_epsilon", .float32(1e-5)),
        ("gemma3.attention.sliding_window", .uint32(4)),
        ("gemma3.attention.sliding_window_pattern", .uint32(2)),
        ("gemma3.rope.freq_base", .float32(500_000)),
        ("tokenizer.ggml.bos_token_id", .uint32(2)), ("tokenizer.ggml.eos_token_id", .uint32(1)),
        ("tokenizer.ggml.eot_token_id", .uint32(11)),
      ]
    )
  }()

  /// What a layer of every family has, with two heads and one KV head.
  static func decoderWeights(
    _ layer: Int,
    hidden: Int,
    head: Int,
    inner: Int
  ) -> [TinyWeight] {
    let rows: [(String, String, [Int], String)] = [
      ("input_layernorm", "attn_norm", [hidden], "F32"),
      ("post_attention_layernorm", "post_attention_norm", [hidden], "F32"),
      ("pre_feedforward_layernorm", "ffn_norm", [hidden], "F32"),
      ("post_feedforward_layernorm", "post_ffw_norm", [hidden], "F32"),
      ("self_attn.q_proj", "attn_q", [2 * head, hidden], "Q4_0"),
      ("self_attn.k_proj", "attn_k", [head, hidden], "Q4_0"),
      ("self_attn.v_proj", "attn_v", [head, hidden], "Q8_0"),
      ("self_attn.o_proj", "attn_output", [hidden, 2 * head], "F16"),
      ("self_attn.q_norm", "attn_q_norm", [head], "F32"),
      ("self_attn.k_norm", "attn_k_norm", [head], "F32"),
      ("mlp.gate_proj", "ffn_gate", [inner, hidden], "Q4_0"),
      ("mlp.up_proj", "ffn_up", [inner, hidden], "Q4_0"),
      ("mlp.down_proj", "ffn_down", [hidden, inner], "Q8_0"),
    ]
    return rows.map { canonical, gguf, shape, type in
      TinyWeight(
        canonical: "layers.\(layer).\(canonical)",
        gguf: "blk.\(layer).\(gguf).weight",
        shape: shape,
        type: type
      )
    }
  }

  /// What is outside the layers of a model of width 32 with four layers and per-layer inputs of 8.
  static func weightsOutsideLayers(perLayerRows: Int, projectionType: String) -> [TinyWeight] {
    [
      TinyWeight(
        canonical: "embed_tokens",
        gguf: "token_embd.weight",
        shape: [12, 32],
        type: "Q8_0"
      ),
      TinyWeight(canonical: "norm", gguf: "output_norm.weight", shape: [32], type: "F32"),
      TinyWeight(
        canonical: "embed_tokens_per_layer",
        gguf: "per_layer_token_embd.weight",
        shape: [perLayerRows, 4 * 8],
        type: "Q8_0"
      ),
      TinyWeight(
        canonical: "per_layer_model_projection",
        gguf: "per_layer_model_proj.weight",
        shape: [4 * 8, 32],
        type: projectionType
      ),
      TinyWeight(
        canonical: "per_layer_projection_norm",
        gguf: "per_layer_proj_norm.weight",
        shape: [8],
        type: "F32"
      ),
    ]
  }
}

// MARK: Gemma 3n

extension TinyModel {
  /// Four layers, sliding and full in turn, of which the last two share keys and values; three
  /// AltUp streams of width 32; feed-forward 32 or 64; the first two layers sparse.
  static let gemma3n: TinyModel = {
    var weights = weightsOutsideLayers(perLayerRows: 10, projectionType: "F16")
    var stacks: [(name: String, canonicals: [String])] = []
    for (canonical, gguf) in [
      ("altup_projections", "altup_proj"), ("altup_unembed_projections", "altup_unembd_proj"),
    ] {
      let names = (0..<2).map { "\(canonical).\($0)" }
      stacks.append(("\(gguf).weight", names))
      weights += names.map {
        TinyWeight(canonical: $0, gguf: "", shape: [32, 32], type: "F16")
      }
    }
    for layer in 0..<4 {
      weights += decoderWeights(layer, hidden: 32, head: 8, inner: layer % 2 == 0 ? 32 : 64)
      weights += gemma3nWeights(layer)
    }
    return TinyModel(
      weights: weights,
      config: gemma3nConfig,
      metadata: gemma3nMetadata,
      prefix: "model.language_model.",
      stacks: stacks
    )
  }()

  private static func gemma3nWeights(_ layer: Int) -> [TinyWeight] {
    let rows: [(String, String, [Int], String)] = [
      ("altup.modality_router", "altup_router", [3, 32], "F16"),
      ("altup.router_norm", "altup_router_norm", [32], "F32"),
      ("altup.prediction_coefs", "altup_predict_coef", [9, 3], "F32"),
      ("altup.correction_coefs", "altup_correct_coef", [3, 3], "F32"),
      ("altup.correct_output_scale", "altup_correct_scale", [32], "F32"),
      ("laurel.linear_left", "laurel_l", [4, 32], "F16"),
      ("laurel.linear_right", "laurel_r", [32, 4], "F16"),
      ("laurel.post_laurel_norm", "laurel_post_norm", [32], "F32"),
      ("per_layer_input_gate", "inp_gate", [8, 32], "Q4_0"),
      ("per_layer_projection", "proj", [32, 8], "BF16"),
      ("post_per_layer_input_norm", "post_norm", [32], "F32"),
    ]
    return rows.map { canonical, gguf, shape, type in
      TinyWeight(
        canonical: "layers.\(layer).\(canonical)",
        gguf: "blk.\(layer).\(gguf).weight",
        shape: shape,
        type: type
      )
    }
  }

  private static let fullRope: [String: any Sendable] = [
    "rope_type": "default", "rope_theta": 500_000,
  ]
  private static let slidingRope: [String: any Sendable] = [
    "rope_type": "default", "rope_theta": 20_000,
  ]

  private static let gemma3nConfig: [String: any Sendable] = [
    "model_type": "gemma3n", "eos_token_id": [1, 11],
    "text_config": [
      "model_type": "gemma3n_text", "vocab_size": 12, "vocab_size_per_layer_input": 10,
      "hidden_size": 32, "hidden_size_per_layer_input": 8, "intermediate_size": [32, 64, 32, 64],
      "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
      "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "sliding_window": 4,
      "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention", "full_attention",
      ], "num_kv_shared_layers": 2, "laurel_rank": 4, "altup_num_inputs": 3, "altup_active_idx": 1,
      "altup_correct_scale": true, "activation_sparsity_pattern": [0.95, 0.75, 0, 0],
      "final_logit_softcapping": 20, "bos_token_id": 2,
      "rope_parameters": [
        "full_attention": fullRope, "sliding_attention": slidingRope,
      ],
    ] as [String: any Sendable],
    "vision_config": ["model_type": "gemma3n_vision"], "audio_config": ["hidden_size": 1536],
  ]

  private static let gemma3nMetadata: [(key: String, value: GGUFBuilder.Value)] = [
    ("general.architecture", .string("gemma3n")), ("general.name", .string("Tiny 3n")),
    ("gemma3n.context_length", .uint32(128)), ("gemma3n.embedding_length", .uint32(32)),
    ("gemma3n.block_count", .uint32(4)),
    ("gemma3n.feed_forward_length", .array([32, 64, 32, 64].map { .int32($0) })),
    ("gemma3n.attention.head_count", .uint32(2)), ("gemma3n.attention.head_count_kv", .uint32(1)),
    ("gemma3n.attention.key_length", .uint32(8)), ("gemma3n.attention.value_length", .uint32(8)),
    ("gemma3n.attention.layer_norm_rms_epsilon", .float32(1e-5)),
    ("gemma3n.attention.sliding_window", .uint32(4)),
    (
      "gemma3n.attention.sliding_window_pattern",
      .array([true, false, true, false].map { .bool($0) })
    ),
    ("gemma3n.attention.shared_kv_layers", .float32(2)),
    ("gemma3n.rope.freq_base", .float32(500_000)),
    ("gemma3n.rope.freq_base_swa", .float32(20_000)),
    ("gemma3n.final_logit_softcapping", .float32(20)),
    ("gemma3n.altup.num_inputs", .uint32(3)), ("gemma3n.altup.active_idx", .uint32(1)),
    ("gemma3n.embedding_length_per_layer_input", .uint32(8)),
    (
      "gemma3n.activation_sparsity_scale",
      .array([1.6448536, 0.67448975, -Float.infinity, -Float.infinity].map { .float32($0) })
    ),
    ("tokenizer.ggml.bos_token_id", .uint32(2)), ("tokenizer.ggml.eos_token_id", .uint32(1)),
    ("tokenizer.ggml.eot_token_id", .uint32(11)),
  ]
}
