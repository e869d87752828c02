// Gemma 4's config from both file formats: what differs between layers, the forms that converters write,
// and what is refused.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Gemma 4 config` {
  private func gguf(
    _ model: TinyModel = .gemma4,
    _ change: (inout GGUFBuilder) -> Void = { _ in }
  ) throws -> ModelConfig {
    var builder = model.gguf
    change(&builder)
    return try openModel(builder).config
  }

  private func directory(
    _ change: [String: (any Sendable)?] = [:],
    of model: TinyModel = .gemma4
  ) throws -> ModelConfig {
    var model = model
    change.forEach { model.setText($0, to: $1) }
    return try openModel(model).config
  }

  /// Expects that a change of config.json is refused with these words.
  private func refuse(
    _ code: GemmaError.Code,
    _ change: [String: (any Sendable)?],
    _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for word in words {
      expectRefusal(code, word, sourceLocation: sourceLocation) { _ = try directory(change) }
    }
  }

  /// The factors of the frequencies as llama.cpp's converter writes them: 2 of 8 pairs are rotated.
  private func ropeFactors(_ factors: [Float]) -> GGUFBuilder.Tensor {
    GGUFBuilder.Tensor(
      name: "rope_freqs.weight",
      dimensions: [UInt64(factors.count)],
      type: 0,
      bytes: factors.flatMap { factor in
        (0..<4).map { UInt8(truncatingIfNeeded: factor.bitPattern >> (8 * $0)) }
      }
    )
  }

  private let published = [1, 1] + [Float](repeating: 1e30, count: 6)

  @Test func `both formats say the same, layer by layer`() throws {
    var sliding = LayerRecord(
      attention: .sliding(window: 4),
      headCount: 2,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 1,
      rope: .init(theta: 20_000),
      kvSource: 0,
      feedForwardSize: 32
    )
    var full = sliding
    full.attention = .full
    full.headDim = 16
    full.rope = .init(theta: 500_000, rotatedPairs: 2)
    full.kvSource = 1
    var layers = [sliding, full]
    sliding.feedForwardSize = 64
    full.feedForwardSize = 64
    layers += [sliding, full]
    let expected = ModelConfig(
      architecture: .gemma4,
      vocabularySize: 12,
      hiddenSize: 32,
      contextTokens: 128,
      normEpsilon: 1e-5,
      normGainOffset: 0,
      normsValues: true,
      scalesLayers: true,
      finalSoftcap: 20,
      bosToken: 2,
      eosTokens: [1, 11],
      layers: layers,
      perLayerInput: PerLayerInputConfig(size: 8, vocabularySize: 12)
    )
    #expect(try gguf() == expected)
    #expect(try directory() == expected)
    #expect(expected.firstSharedLayer == 2)
  }

  @Test func `larger models have keys as values, and no inputs for each layer`() throws {
    let file = try gguf(.gemma4WithoutValues)
    #expect(file.layers.map(\.valuesAreKeys) == [false, true, false, true])
    #expect(try directory(of: .gemma4WithoutValues) == file)
    // Only layers with full attention may lack the tensor.
    var model = TinyModel.gemma4
    model.weights.removeAll { $0.canonical == "layers.0.self_attn.v_proj" }
    expectRefusal(.tensor, "blk.0.attn_v.weight is missing") { _ = try gguf(model) }
    // All of them, or none.
    model = .gemma4
    model.weights.removeAll { $0.canonical == "layers.1.self_attn.v_proj" }
    expectRefusal(.tensor, "blk.1.attn_v.weight is missing") { _ = try gguf(model) }
    refuse(.unsupported, ["attention_k_eq_v": true], "layers.1.self_attn.v_proj")
    expectRefusal(.config, "gemma4.embedding_length_per_layer_input is 0 or missing") {
      _ = try gguf { $0["gemma4.embedding_length_per_layer_input"] = nil }
    }
    model = .gemma4
    model.weights.removeAll { $0.canonical.contains("per_layer") }
    #expect(try directory(["hidden_size_per_layer_input": 0], of: model).perLayerInput == nil)
    #expect(
      try gguf(model) { $0["gemma4.embedding_length_per_layer_input"] = .uint32(0) }.perLayerInput
        == nil
    )
    #expect(
      try gguf(model) { $0["gemma4.embedding_length_per_layer_input"] = nil }.perLayerInput == nil
    )
  }

  @Test func `heads of full attention come in two forms`() throws {
    // Newer versions of transformers write what differs, by numbers padded to equal length.
    let changes: [String: any Sendable] = ["01": ["head_dim": 16], "03": ["head_dim": 16]]
    let form: [String: (any Sendable)?] = [
      "global_head_dim": nil, "num_global_key_value_heads": nil, "per_layer_config": changes,
    ]
    #expect(try directory(form) == directory())
    refuse(
      .config,
      ["per_layer_config": ["4": ["head_dim": 16]]],
      "per_layer_config has 4",
      "4 layers"
    )
    refuse(.config, ["per_layer_config": ["one": [String: Int]()]], "per_layer_config has one")
    refuse(
      .config,
      ["per_layer_config": ["1": ["head_dim": 16], "01": ["head_dim": 8]]],
      "layer 1 twice, as 01 and as 1"
    )
    refuse(
      .unsupported,
      ["per_layer_config": ["1": ["rope_theta": 5]]],
      "per_layer_config.1 has rope_theta"
    )
    // The other form's numbers of KV heads hold only where values are keys.
    #expect(try directory(["num_global_key_value_heads": 2]) == directory())
    expectRefusal(.tensor, "k_proj", "[32, 32]") {
      _ = try directory(["num_global_key_value_heads": 2], of: .gemma4WithoutValues)
    }
  }

  @Test func `a wider feed-forward is that of the layers that share`() throws {
    expectRefusal(.tensor, "layers.2.mlp.gate_proj", "[32, 32]") {
      _ = try directory(["use_double_wide_mlp": false])
    }
    expectRefusal(.tensor, "blk.2.ffn_gate", "[32, 32]") {
      _ = try gguf { $0["gemma4.feed_forward_length"] = .uint32(32) }
    }
  }

  @Test func `the last layer has full attention whatever its type says`() throws {
    let types = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]
    #expect(try directory(["layer_types": types]) == directory())
    // Without types, every sixth layer; of four only the last one, which then has no owner.
    refuse(.config, ["layer_types": nil], "layer 3 shares", "full")
  }

  @Test func `rotation is proportional in full attention`() throws {
    func full(_ parameters: [String: any Sendable]) throws -> LayerRecord.RopeParameters {
      try directory(["rope_parameters": ["full_attention": parameters]]).layers[1].rope
    }
    let proportional = ["rope_type": "proportional"] as [String: any Sendable]
    #expect(try full(proportional).rotatedPairs == nil)
    let half = proportional.merging(["partial_rotary_factor": 0.5, "factor": 4.0]) { $1 }
    #expect(try full(half) == .init(theta: 1_000_000, positionScale: 0.25, rotatedPairs: 4))
    #expect(try full(["rope_type": "default", "rope_theta": 7]) == .init(theta: 7))
    let absent = try directory(["rope_parameters": nil]).layers
    #expect(absent[1].rope == .init(theta: 1_000_000, rotatedPairs: 2))
    #expect(absent[0].rope == .init(theta: 10_000))
    for share in [-0.25, 1.5] {
      refuse(
        .config,
        [
          "rope_parameters": [
            "full_attention": proportional.merging(["partial_rotary_factor": share]) { $1 }
          ]
        ],
        "partial_rotary_factor \(share) of full_attention"
      )
    }
    refuse(
      .unsupported,
      ["rope_parameters": ["full_attention": ["partial_rotary_factor": 0.25]]],
      "partial_rotary_factor 0.25 of full_attention, whose rope_type is default"
    )
    refuse(
      .unsupported,
      ["rope_parameters": ["full_attention": proportional.merging(["rope_type": "yarn"]) { $1 }]],
      "rope_type yarn"
    )
  }

  @Test func `the file's factors of frequencies are compared with the rule`() throws {
    #expect(try gguf { $0.tensors.append(ropeFactors(published)) } == gguf())
    for (change, pair) in [([1, 1, 1], 2), ([1], 1), ([1, 2], 1), ([0.5], 0)] {
      var factors = published
      factors.replaceSubrange(..<change.count, with: change.map { Float($0) })
      if change.count == 1, change[0] == 1 { factors[1] = 1e30 }
      expectRefusal(.unsupported, "rope_freqs.weight", "pair \(pair)", "first 2 of 8") {
        _ = try gguf { $0.tensors.append(ropeFactors(factors)) }
      }
    }
    expectRefusal(.tensor, "rope_freqs.weight", "expected 8 of F32") {
      _ = try gguf { $0.tensors.append(ropeFactors([1, 1])) }
    }
  }

  @Test func `what makes another model is refused by name`() throws {
    let experts: [String: (any Sendable)?] = ["enable_moe_block": true, "num_experts": 128]
    refuse(.unsupported, experts, "enable_moe_block", "26B-A4B")
    expectRefusal(.unsupported, "gemma4.expert_count is 128", "26B-A4B") {
      _ = try gguf { $0["gemma4.expert_count"] = .uint32(128) }
    }
    refuse(
      .unsupported,
      ["use_bidirectional_attention": "all"],
      "use_bidirectional_attention \"all\""
    )
    refuse(.unsupported, ["use_bidirectional_attention": true], "use_bidirectional_attention true")
    #expect(try directory(["use_bidirectional_attention": "vision"]) == directory())
    for key in ["attention.key_length", "attention.key_length_swa", "attention.sliding_window"] {
      expectRefusal(.config, "gemma4.\(key) is missing") {
        _ = try gguf { $0["gemma4.\(key)"] = nil }
      }
    }
    // Its models have full attention in every fifth or sixth layer; a guess would give wrong text.
    expectRefusal(.config, "gemma4.attention.sliding_window_pattern is missing") {
      _ = try gguf { $0["gemma4.attention.sliding_window_pattern"] = nil }
    }
    expectRefusal(.config, "sliding window is 0") {
      _ = try gguf { $0["gemma4.attention.sliding_window"] = .uint32(0) }
    }
    for (key, width) in [
      ("attention.value_length", 16), ("attention.value_length_swa", 8),
      ("rope.dimension_count", 16), ("rope.dimension_count_swa", 8),
    ] {
      expectRefusal(.unsupported, "gemma4.\(key) 4", "key length \(width)") {
        _ = try gguf { $0["gemma4.\(key)"] = .uint32(4) }
      }
    }
    expectRefusal(.unsupported, "blk.0.attn_qkv.weight", "in one") {
      _ = try gguf { builder in
        guard let index = builder.tensors.firstIndex(where: { $0.name == "blk.0.attn_q.weight" })
        else { return }
        builder.tensors[index].name = "blk.0.attn_qkv.weight"
      }
    }
  }

  @Test func `the dense model of 12 billion weights has a type of its own`() throws {
    var model = TinyModel.gemma4
    model.config["model_type"] = "gemma4_unified"
    #expect(try openModel(model).config == directory())
  }
}
