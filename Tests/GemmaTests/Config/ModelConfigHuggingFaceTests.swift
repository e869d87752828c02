// From config.json to a config: old and new spellings, defaults, and what is refused.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Model config from Hugging Face` {
  /// Opens the model with changed config keys; of the text model's part where there is one.
  private func config(
    _ model: TinyModel,
    _ change: [String: (any Sendable)?] = [:],
    top: [String: (any Sendable)?] = [:],
    generation: String? = nil
  ) throws -> ModelConfig {
    var model = model
    for (key, value) in top { model.config[key] = value }
    change.forEach { model.setText($0, to: $1) }
    return try withTemporaryDirectory { directory in
      try model.write(to: directory)
      if let generation {
        try Array(generation.utf8).write(to: "\(directory)/generation_config.json")
      }
      return try Checkpoint.open(directory).config
    }
  }

  private func refuse(
    _ model: TinyModel,
    _ code: GemmaError.Code,
    _ change: [String: (any Sendable)?],
    _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    // A refusal over a tensor names the file that holds it.
    for word in words + [code == .tensor ? "tensor" : "config.json"] {
      expectRefusal(code, word, sourceLocation: sourceLocation) { _ = try config(model, change) }
    }
  }

  private func rope(_ theta: Float, _ scale: Float = 1) -> LayerRecord.RopeParameters {
    .init(theta: theta, positionScale: scale)
  }

  @Test func `a flat Gemma 3 config`() throws {
    let layer = LayerRecord(
      attention: .sliding(window: 4),
      headCount: 2,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 0.25,
      rope: rope(20_000),
      kvSource: 0,
      feedForwardSize: 64,
      sparsityDeviations: nil
    )
    var full = layer
    full.attention = .full
    full.rope = rope(500_000)
    full.kvSource = 1
    let expected = ModelConfig(
      architecture: .gemma3,
      vocabularySize: 12,
      hiddenSize: 32,
      contextTokens: 128,
      normEpsilon: 1e-5,
      normGainOffset: 1,
      normsValues: false,
      finalSoftcap: nil,
      bosToken: 2,
      eosTokens: [1, 11],
      layers: [layer, full]
    )
    #expect(try config(.gemma3) == expected)
  }

  @Test func `a nested config is the flat one`() throws {
    var flat = TinyModel.gemma3n
    let text = try #require(flat.config["text_config"] as? [String: any Sendable])
    flat.config = text
    flat.config["eos_token_id"] = [1, 11]
    #expect(try config(flat) == config(.gemma3n))
    var nested = TinyModel.gemma3
    nested.config = ["model_type": "gemma3", "text_config": nested.config]
    #expect(try config(nested) == config(.gemma3))
  }

  @Test func `one feed-forward size holds for all layers`() throws {
    #expect(
      try config(.gemma3, ["intermediate_size": [64, 64]]).layers.map(\.feedForwardSize)
        == [64, 64]
    )
    refuse(.gemma3, .config, ["intermediate_size": [64, 64, 64]], "3 values for 2 layers")
    refuse(.gemma3, .config, ["intermediate_size": [Int]()], "0 values for 2 layers")
    refuse(.gemma3, .config, ["intermediate_size": "64"], "intermediate_size", "\"64\"")
  }

  // Quantiles to seven digits: Abramowitz and Stegun, table 26.5; R's qnorm.
  @Test(arguments: [
    (0.95, Float(1.6448536)), (0.5, 0), (0.975, 1.9599640), (0.99, 2.3263479), (0.9, 1.2815516),
    (0.001, -3.0902323), (0.999999, 4.7534243), (0.25, -0.6744898),
  ])
  func `a sparsity becomes the quantile of the normal distribution`(
    share: Double,
    expected: Float
  ) throws {
    let config = try config(.gemma3n, ["activation_sparsity_pattern": [share, 0, 0, 0]])
    let deviations = try #require(config.layers[0].sparsityDeviations)
    #expect(abs(deviations - expected) <= 4e-7 * max(1, abs(expected)), "\(deviations)")
    #expect(config.layers[1...].allSatisfy { $0.sparsityDeviations == nil })
  }

  @Test func `a sparsity is a list, a number, or by default the first ten of more layers`() throws {
    let all = try config(.gemma3n, ["activation_sparsity_pattern": 0.95])
    #expect(all.layers.allSatisfy { $0.sparsityDeviations == 1.6448536 })
    let none = try config(.gemma3n, ["activation_sparsity_pattern": NSNull()])
    #expect(none.layers.allSatisfy { $0.sparsityDeviations == nil })
    let key = "activation_sparsity_pattern"
    refuse(.gemma3n, .config, [key: [0.95] + [0.95]], key, "2 values for 4 layers")
    for share in [1, -0.5, 1.5, 1e300] {
      refuse(.gemma3n, .config, [key: [share, 0, 0, 0]], key, "outside 0..<1")
    }
  }

  @Test func `older RoPE fields say the same as rope_parameters`() throws {
    let older: [String: (any Sendable)?] = [
      "rope_parameters": nil as (any Sendable)?, "rope_theta": 500_000,
      "rope_local_base_freq": 20_000,
      "rope_scaling": NSNull(),
    ]
    #expect(try config(.gemma3n, older) == config(.gemma3n))
    #expect(
      try config(.gemma3n, ["rope_parameters": nil as (any Sendable)?]).layers.map(\.rope)
        == [rope(10_000), rope(1_000_000), rope(10_000), rope(1_000_000)]
    )
  }

  @Test func `linear scaling holds for full attention, under either key and in rope_parameters`()
    throws
  {
    for key in ["rope_type", "type"] {
      let scaled = try config(
        .gemma3,
        ["rope_scaling": [key: "linear", "factor": 8.0] as [String: any Sendable]]
      )
      #expect(scaled.layers.map(\.rope) == [rope(20_000), rope(500_000, 0.125)])
    }
    let parameters: [String: any Sendable] = [
      "full_attention": ["rope_type": "linear", "factor": 4, "rope_theta": 300_000]
        as [String: any Sendable],
      "sliding_attention": ["rope_type": "default"],
    ]
    #expect(
      try config(.gemma3, ["rope_parameters": parameters]).layers.map(\.rope)
        == [rope(20_000), rope(300_000, 0.25)]
    )
    refuse(.gemma3, .unsupported, ["rope_scaling": ["rope_type": "yarn"]], "yarn")
    refuse(.gemma3, .config, ["rope_scaling": ["rope_type": "linear"]], "factor", "rope_scaling")
    refuse(
      .gemma3,
      .config,
      ["rope_scaling": ["type": "linear", "factor": 0] as [String: any Sendable]],
      "position scale"
    )
    refuse(.gemma3, .config, ["rope_scaling": "linear"], "rope_scaling", "an object")
  }

  // Gemma3TextConfig.convert_rope_params_to_dict: rope_scaling is added to full_attention.
  @Test func `rope_scaling beside rope_parameters is added to full attention`() throws {
    func parameters(_ full: [String: any Sendable]) -> [String: any Sendable] {
      [
        "full_attention": full,
        "sliding_attention": ["rope_theta": 30_000] as [String: any Sendable],
      ]
    }
    let linear: [String: any Sendable] = ["rope_type": "linear", "factor": 8.0]
    let scaled = try config(
      .gemma3,
      [
        "rope_parameters": parameters(["rope_type": "default", "rope_theta": 300_000]),
        "rope_scaling": linear,
      ]
    )
    #expect(scaled.layers.map(\.rope) == [rope(30_000), rope(300_000, 0.125)])
    // transformers lets the newer key win without a word; a file that says both is refused.
    let older: [String: any Sendable] = ["type": "linear", "factor": 8.0]
    refuse(
      .gemma3,
      .unsupported,
      ["rope_parameters": parameters(["rope_type": "default"]), "rope_scaling": older],
      "rope_type is default, but type is linear"
    )
  }

  @Test func `RoPE of a part of a head, and of no attention kind, is refused`() throws {
    refuse(.gemma3, .unsupported, ["partial_rotary_factor": 0.5], "partial_rotary_factor 0.5")
    let half: [String: any Sendable] = ["partial_rotary_factor": 0.5]
    refuse(.gemma3, .unsupported, ["rope_parameters": ["full_attention": half]], "0.5")
    refuse(
      .gemma3,
      .unsupported,
      ["rope_parameters": ["rope_theta": 9]],
      "rope_parameters.rope_theta"
    )
    refuse(
      .gemma3,
      .unsupported,
      ["rope_parameters": ["rope_type": "linear", "factor": 8] as [String: any Sendable]],
      "rope_parameters.factor"
    )
    let same: [String: any Sendable] = ["rope_type": "default", "rope_theta": 500_000]
    #expect(try config(.gemma3, ["rope_parameters": same]) == config(.gemma3))
  }

  @Test func `layer types decide, else a pattern, else every sixth or fifth layer is full`() throws
  {
    let types = ["full_attention", "sliding_attention"]
    #expect(
      try config(.gemma3, ["layer_types": types]).layers.map(\.attention)
        == [.full, .sliding(window: 4)]
    )
    #expect(
      try config(.gemma3, ["sliding_window_pattern": nil as (any Sendable)?]).layers.map(
        \.attention
      )
        == [.sliding(window: 4), .sliding(window: 4)]
    )
    refuse(.gemma3, .config, ["layer_types": ["full_attention"]], "1 values for 2 layers")
    refuse(
      .gemma3,
      .unsupported,
      ["layer_types": ["full_attention", "chunked_attention"]],
      "chunked_attention"
    )
    refuse(.gemma3, .config, ["sliding_window_pattern": 0], "sliding_window_pattern is 0")
    refuse(.gemma3, .config, ["layer_types": [1, 2]], "layer_types")
  }

  @Test func `end-of-turn tokens come from the generation config, else the config, else are 1`()
    throws
  {
    #expect(try config(.gemma3, generation: "{\"eos_token_id\": [1, 6]}").eosTokens == [1, 6])
    #expect(try config(.gemma3, generation: "{\"eos_token_id\": 7}").eosTokens == [7])
    #expect(try config(.gemma3, generation: "{\"eos_token_id\": null}").eosTokens == [1, 11])
    #expect(try config(.gemma3, generation: "{}").eosTokens == [1, 11])
    #expect(try config(.gemma3, ["eos_token_id": 4]).eosTokens == [4])
    #expect(try config(.gemma3, ["eos_token_id": nil as (any Sendable)?]).eosTokens == [1])
    // The text model's own is the last resort.
    let nested = try config(
      .gemma3n,
      ["eos_token_id": 9],
      top: ["eos_token_id": nil as (any Sendable)?]
    )
    #expect(nested.eosTokens == [9])
    refuse(.gemma3, .config, ["eos_token_id": -1], "eos_token_id is -1")
    refuse(.gemma3, .config, ["eos_token_id": 1 << 40], "eos_token_id")
    expectRefusal(.format, "generation_config.json") { _ = try config(.gemma3, generation: "{") }
  }

  @Test func `a null is an absent key, but no soft cap where one is the default`() throws {
    #expect(try config(.gemma3n, ["final_logit_softcapping": NSNull()]).finalSoftcap == nil)
    #expect(
      try config(.gemma3n, ["final_logit_softcapping": nil as (any Sendable)?]).finalSoftcap == 30
    )
    #expect(try config(.gemma3, ["final_logit_softcapping": 12.5]).finalSoftcap == 12.5)
    #expect(
      try config(.gemma3, ["final_logit_softcapping": nil as (any Sendable)?]).finalSoftcap == nil
    )
    #expect(try config(.gemma3, ["rms_norm_eps": NSNull()]).normEpsilon == 1e-6)
    #expect(
      try config(.gemma3, ["query_pre_attn_scalar": NSNull()]).layers[0].attentionScale == 0.0625
    )
  }

  @Test func `sizes that the config leaves out are the library's defaults`() {
    // The tensors then have other shapes, which the refusal shows.
    let model = TinyModel.gemma3
    refuse(model, .tensor, ["hidden_size": nil as (any Sendable)?], "[12, 2304]")
    refuse(model, .tensor, ["vocab_size": nil as (any Sendable)?], "[262208, 32]")
    refuse(model, .tensor, ["intermediate_size": nil as (any Sendable)?], "[9216, 32]")
    refuse(model, .tensor, ["num_attention_heads": nil as (any Sendable)?], "[64, 32]")
    refuse(model, .tensor, ["head_dim": nil as (any Sendable)?], "[512, 32]")
    refuse(model, .tensor, ["num_hidden_layers": nil as (any Sendable)?], "layers.2")
    let gemma3n = TinyModel.gemma3n
    refuse(gemma3n, .tensor, ["hidden_size": nil as (any Sendable)?], "[12, 2048]")
    refuse(gemma3n, .tensor, ["vocab_size": nil as (any Sendable)?], "[262400, 32]")
    refuse(gemma3n, .tensor, ["vocab_size_per_layer_input": nil as (any Sendable)?], "[262144, 32]")
    refuse(gemma3n, .tensor, ["hidden_size_per_layer_input": nil as (any Sendable)?], "[10, 1024]")
    refuse(gemma3n, .tensor, ["laurel_rank": nil as (any Sendable)?], "[64, 32]")
    refuse(gemma3n, .tensor, ["altup_num_inputs": nil as (any Sendable)?], "altup_projections.2")
    refuse(gemma3n, .config, ["num_kv_shared_layers": nil as (any Sendable)?], "15 of 4 layers")
  }

  @Test func `without altup_correct_scale the scale is not needed`() throws {
    var model = TinyModel.gemma3n
    model.weights.removeAll { $0.canonical.hasSuffix("correct_output_scale") }
    let config = try config(model, ["altup_correct_scale": false])
    #expect(config.altUp?.scalesActiveStream == false)
    expectRefusal(.tensor, "correct_output_scale is missing") { _ = try self.config(model) }
  }

  // MARK: Refusals

  @Test func `another model's type is refused with the known ones`() {
    refuse(.gemma3, .unsupported, ["model_type": "gemma2"], "gemma2", "gemma3n, gemma4")
    refuse(.gemma3, .unsupported, ["model_type": nil as (any Sendable)?], "missing")
    refuse(.gemma3, .config, ["model_type": 3], "model_type")
  }

  @Test func `what would silently give wrong text is refused`() {
    refuse(.gemma3, .unsupported, ["attention_bias": true], "attention_bias")
    refuse(.gemma3, .unsupported, ["is_causal": false], "is_causal false")
    refuse(.gemma3, .unsupported, ["is_encoder_decoder": true], "is_encoder_decoder")
    refuse(.gemma3, .unsupported, ["sliding_window": NSNull()], "sliding_window null")
    refuse(
      .gemma3,
      .unsupported,
      ["architectures": ["Gemma3ForSequenceClassification"]],
      "Gemma3ForSequenceClassification"
    )
    refuse(.gemma3, .unsupported, ["use_bidirectional_attention": true], "bidirectional")
    refuse(.gemma3, .unsupported, ["attn_logit_softcapping": 50], "attn_logit_softcapping")
    refuse(.gemma3, .unsupported, ["hidden_activation": "gelu"], "hidden_activation gelu")
    refuse(
      .gemma3,
      .unsupported,
      ["quantization_config": ["bits": 4]],
      "quantization_config"
    )
  }

  @Test func `no output matrix though the config speaks of one is refused with what to do`() {
    refuse(
      .gemma3,
      .tensor,
      ["tie_word_embeddings": false],
      "tie_word_embeddings",
      "lm_head.weight"
    )
    expectRefusal(.tensor, "tie_word_embeddings", "lm_head.weight is missing") {
      _ = try config(.gemma3n, top: ["tie_word_embeddings": false])
    }
  }

  @Test(arguments: [
    #""begin_suppress_tokens":[1,2]"#, #""bad_words_ids":[[5]]"#, #""forced_eos_token_id":1"#,
    #""stop_strings":["x"]"#, #""sequence_bias":[[[1],2.0]]"#, #""guidance_scale":1.5"#,
  ])
  func `what a generation config forbids or forces is refused by name`(setting: String) {
    let key = String(setting.dropFirst().prefix { $0 != "\"" })
    expectRefusal(.unsupported, key, "generation_config.json") {
      _ = try config(.gemma3, generation: "{\(setting)}")
    }
  }

  @Test func `how a generation config samples is the request's to say`() throws {
    let generation = #"""
      {"do_sample":true,"temperature":0.7,"top_k":64,"top_p":0.95,"repetition_penalty":1.1,
      "max_length":99,"suppress_tokens":[],"guidance_scale":1,"bad_words_ids":null}
      """#
    #expect(try config(.gemma3, generation: generation) == config(.gemma3))
  }

  @Test(arguments: [
    "layers.0.self_attn.q_proj.bias", "layers.1.mlp.experts.0.down_proj.weight", "norm.bias",
  ])
  func `a tensor of the text model that no weight needs is refused by name`(name: String) throws {
    let model = TinyModel.gemma3
    var builder = model.safetensors
    builder.tensors.append(
      .init(name: "model.\(name)", type: "F32", shape: [1], bytes: [0, 0, 0, 0])
    )
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try builder.write(to: "\(directory)/model.safetensors")
      expectRefusal(.unsupported, "model.\(name)", "wrong") { _ = try Checkpoint.open(directory) }
    }
  }

  @Test func `whole numbers with a fraction are integers`() throws {
    #expect(try config(.gemma3, ["head_dim": 8.0, "sliding_window": 4.0]) == config(.gemma3))
    refuse(.gemma3, .config, ["head_dim": 8.5], "head_dim")
  }

  @Test(arguments: [Bool?.none, true, false], ["lm_head", "language_model.lm_head"])
  func `an output matrix of its own gives the logits, whatever the config calls tied`(
    isTied: Bool?,
    name: String
  ) throws {
    var model = TinyModel.gemma3
    model.setText("tie_word_embeddings", to: isTied)
    var builder = model.safetensors
    var head = builder.tensors[0]
    head.name = "\(name).weight"
    head.bytes[0] ^= 1
    builder.tensors.append(head)
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try builder.write(to: "\(directory)/model.safetensors")
      try expectOwnHead(try Checkpoint.open(directory), head.bytes)
    }
  }

  @Test(arguments: [
    ("num_hidden_layers", 0), ("num_hidden_layers", -1), ("num_hidden_layers", 1025),
    ("num_hidden_layers", .max), ("vocab_size", 0), ("vocab_size", 1 << 25), ("hidden_size", 0),
    ("hidden_size", -32), ("hidden_size", 1 << 21), ("num_attention_heads", 0),
    ("num_attention_heads", 2048), ("num_attention_heads", .min), ("num_key_value_heads", 0),
    ("num_key_value_heads", 3), ("head_dim", 0), ("head_dim", 7), ("head_dim", .max),
    ("max_position_embeddings", 0), ("max_position_embeddings", .max), ("sliding_window", 0),
    ("sliding_window", -4), ("intermediate_size", 0), ("intermediate_size", .max),
    ("query_pre_attn_scalar", 0), ("query_pre_attn_scalar", -4), ("rms_norm_eps", 0),
    ("rope_theta", 0), ("rope_local_base_freq", -1), ("final_logit_softcapping", 0),
    ("bos_token_id", -1), ("bos_token_id", 12),
  ])
  func `a size that no model has is refused with its value`(key: String, value: Int) {
    refuse(.gemma3, .config, [key: value])
  }

  @Test(arguments: [
    ("altup_num_inputs", 1), ("altup_num_inputs", 17), ("altup_active_idx", 3),
    ("altup_active_idx", -1), ("laurel_rank", 0), ("hidden_size_per_layer_input", 0),
    ("vocab_size_per_layer_input", -1), ("num_kv_shared_layers", 4), ("num_kv_shared_layers", -1),
    ("num_kv_shared_layers", 3),
  ])
  func `a size of Gemma 3n that no model has is refused`(key: String, value: Int) {
    refuse(.gemma3n, .config, [key: value])
  }

  @Test func `heads that cannot share KV heads evenly are refused`() {
    refuse(
      .gemma3,
      .config,
      ["num_attention_heads": 3, "num_key_value_heads": 2],
      "3 heads cannot share 2 KV heads"
    )
  }

  @Test func `text that is no JSON object is refused`() throws {
    for text in [
      "", "{", "[]", "3", "null", "{\"a\":}", "{\"a\":1e999}", "\u{FEFF}", "{\"a\":NaN}",
    ] {
      try withTemporaryDirectory { directory in
        let path = "\(directory)/config.json"
        try Array(text.utf8).write(to: path)
        do {
          _ = try Checkpoint.open(directory)
          Issue.record("accepted: \(text)")
        } catch let error as GemmaError {
          #expect(error.description.contains(path), "\(error)")
        }
      }
    }
    let nested = String(repeating: "{\"a\":", count: 100_000)
    try withTemporaryDirectory { directory in
      try Array(nested.utf8).write(to: "\(directory)/config.json")
      expectRefusal(.format, "config.json") { _ = try Checkpoint.open(directory) }
    }
  }

  /// Every key with every absurd value: a refusal or a model, never a trap.
  @Test(arguments: [TinyModel.gemma3, .gemma3n, .gemma4])
  func `absurd values of any key are refused or harmless`(model: TinyModel) throws {
    let values: [any Sendable] = [
      0, -1, Int.max, Int.min, 1e300, -0.5, 1e-300, "", "linear", true, NSNull(), [Int](),
      [Int.max, Int.min], ["x"], ["a": 1], [NSNull()], [[Int]()],
    ]
    let text = model.config["text_config"] as? [String: any Sendable] ?? model.config
    let more = [
      "rope_parameters", "rope_scaling", "layer_types", "final_logit_softcapping", "architectures",
      "is_causal", "partial_rotary_factor", "quantization", "quantization_config",
    ]
    try withTemporaryDirectory { directory in
      try model.write(to: directory)
      for key in Array(text.keys) + more {
        for value in values {
          var absurd = model
          absurd.setText(key, to: value)
          try absurd.writeConfig(to: directory)
          do {
            let config = try Checkpoint.open(directory).config
            #expect(config.layers.allSatisfy { $0.rope.theta > 0 && $0.rope.theta.isFinite })
          } catch let error as GemmaError {
            #expect(!error.description.contains("\n"), "\(key)")
          }
        }
      }
    }
  }

  // MARK: The golden checkpoints

  @Test func `the golden checkpoints have the sizes their makers gave them`() throws {
    let a = try Checkpoint.open(Goldens.checkpoint("gemma3n-random-a").path).config
    #expect(
      a.layers.count == 30 && a.hiddenSize == 64 && a.layers[0].headCount == 4
        && a.layers[0].kvHeadCount == 2
    )
    #expect(a.layers[0].headDim == 16 && a.layers[0].attention == .sliding(window: 8))
    #expect(a.firstSharedLayer == 20 && a.layers[29].kvSource == 19 && a.layers[28].kvSource == 18)
    #expect(a.layers.prefix(10).allSatisfy { $0.sparsityDeviations == 1.6448536 })
    #expect(a.layers.dropFirst(10).allSatisfy { $0.sparsityDeviations == nil })
    #expect(a.layers.indices.filter { a.layers[$0].attention == .full } == [4, 9, 14, 19, 24, 29])
    #expect(a.vocabularySize == 512 && a.perLayerInput?.vocabularySize == 480)

    let b = try Checkpoint.open(Goldens.checkpoint("gemma3n-random-b").path).config
    #expect(b.layers.prefix(4).map(\.feedForwardSize) == [96, 128, 160, 96])
    #expect(b.layers[0].rope == rope(10_000) && b.layers[4].rope == rope(1_000_000))

    let nested = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path).config
    #expect(nested.layers.count == 13 && nested.layers[5].rope == rope(1_000_000, 0.125))
    #expect(
      nested.layers[0].attentionScale == 1 / Float(20).squareRoot() && nested.normGainOffset == 1
    )
    let demo = try Checkpoint.open(Goldens.demoModel.path).config
    #expect(demo.eosTokens == [1, 6] && demo.vocabularySize == 1024)
  }
}
