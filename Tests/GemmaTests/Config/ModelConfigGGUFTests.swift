// From GGUF metadata to a config: every key, its default, and what is refused.

import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Model config from GGUF` {
  private func config(
    _ model: TinyModel,
    _ change: (inout GGUFBuilder) -> Void = { _ in }
  ) throws -> ModelConfig {
    var builder = model.gguf
    change(&builder)
    return try openModel(builder).config
  }

  private func refuse(
    _ model: TinyModel,
    _ code: GemmaError.Code,
    _ key: String,
    _ value: GGUFBuilder.Value?,
    _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for word in words + [key] {
      expectRefusal(code, word, sourceLocation: sourceLocation) {
        _ = try config(model) { $0[key] = value }
      }
    }
  }

  private func rope(_ theta: Float, _ scale: Float = 1) -> LayerRecord.RopeParameters {
    .init(theta: theta, positionScale: scale)
  }

  @Test func `a Gemma 3 file`() throws {
    let layer = LayerRecord(
      attention: .sliding(window: 4),
      headCount: 2,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 1 / Float(8).squareRoot(),
      rope: rope(10_000),
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
      normGainOffset: 0,
      normsValues: false,
      finalSoftcap: nil,
      bosToken: 2,
      eosTokens: [1, 11],
      layers: [layer, full]
    )
    #expect(try config(.gemma3) == expected)
  }

  @Test func `a Gemma 3n file`() throws {
    let sliding = LayerRecord(
      attention: .sliding(window: 4),
      headCount: 2,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 1,
      rope: rope(20_000),
      kvSource: 0,
      feedForwardSize: 32,
      sparsityDeviations: 1.6448536
    )
    let full = LayerRecord(
      attention: .full,
      headCount: 2,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 1,
      rope: rope(500_000),
      kvSource: 1,
      feedForwardSize: 64,
      sparsityDeviations: 0.67448975
    )
    var layers = [sliding, full, sliding, full]
    layers[2].sparsityDeviations = nil
    layers[3].sparsityDeviations = nil
    let expected = ModelConfig(
      architecture: .gemma3n,
      vocabularySize: 12,
      hiddenSize: 32,
      contextTokens: 128,
      normEpsilon: 1e-5,
      normGainOffset: 0,
      normsValues: true,
      finalSoftcap: 20,
      bosToken: 2,
      eosTokens: [1, 11],
      layers: layers,
      altUp: AltUpConfig(streamCount: 3, activeStream: 1, scalesActiveStream: true),
      laurel: LaurelConfig(rank: 4),
      perLayerInput: PerLayerInputConfig(size: 8, vocabularySize: 10)
    )
    let config = try config(.gemma3n)
    #expect(config == expected)
    #expect(config.firstSharedLayer == 2)
    // The directory says the same in other words.
    #expect(try openModel(TinyModel.gemma3n).config == config)
  }

  @Test func `a sharing count is an integer or, as published, a whole float`() throws {
    let key = "gemma3n.attention.shared_kv_layers"
    #expect(try config(.gemma3n) { $0[key] = .uint32(2) } == config(.gemma3n))
    refuse(.gemma3n, .config, key, .float32(1.5), "1.5")
    refuse(.gemma3n, .config, key, .float32(.nan), "nan")
    refuse(.gemma3n, .config, key, .float32(.infinity), "inf")
    for value in [4, 5, 1_000_000] as [UInt32] {
      expectRefusal(.config, "\(value) of 4 layers share") {
        _ = try config(.gemma3n) { $0[key] = .uint32(value) }
      }
    }
    // With three sharing, no layer with full attention owns keys that layer 1 could read.
    expectRefusal(.config, "layer 1 shares", "full") {
      _ = try config(.gemma3n) { $0[key] = .uint32(3) }
    }
    #expect(
      try config(.gemma3n) { $0[key] = .uint32(0) }.layers.map(\.kvSource) == [0, 1, 2, 3]
    )
  }

  @Test func `keys with defaults may be absent`() throws {
    let config = try config(.gemma3) {
      $0["gemma3.attention.value_length"] = nil
      $0["tokenizer.ggml.bos_token_id"] = nil
      $0["tokenizer.ggml.eos_token_id"] = nil
      $0["tokenizer.ggml.eot_token_id"] = nil
      $0["gemma3.attention.sliding_window_pattern"] = nil
    }
    #expect(config.bosToken == 2 && config.eosTokens == [1])
    // Every sixth layer is full, so of two none.
    #expect(config.layers.allSatisfy { $0.attention == .sliding(window: 4) })
    let gemma3n = try self.config(.gemma3n) {
      $0["gemma3n.rope.freq_base_swa"] = nil
      $0["gemma3n.final_logit_softcapping"] = nil
    }
    #expect(gemma3n.layers[0].rope == rope(10_000) && gemma3n.finalSoftcap == 30)
    #expect(
      try self.config(.gemma3) { $0["gemma3.final_logit_softcapping"] = .float32(0) }
        .finalSoftcap == nil
    )
  }

  @Test func `linear rope scaling holds for full attention only`() throws {
    let config = try config(.gemma3) {
      $0["gemma3.rope.scaling.type"] = .string("linear")
      $0["gemma3.rope.scaling.factor"] = .float32(8)
    }
    #expect(config.layers.map(\.rope) == [rope(10_000), rope(500_000, 0.125)])
    refuse(.gemma3, .unsupported, "gemma3.rope.scaling.type", .string("yarn"), "yarn")
    expectRefusal(.config, "gemma3.rope.scaling.factor is missing") {
      _ = try self.config(.gemma3) { $0["gemma3.rope.scaling.type"] = .string("linear") }
    }
    expectRefusal(.config, "position scale", "inf") {
      _ = try self.config(.gemma3) {
        $0["gemma3.rope.scaling.type"] = .string("linear")
        $0["gemma3.rope.scaling.factor"] = .float32(0)
      }
    }
  }

  @Test func `the 62 layers of the 27B model have their own attention scale`() throws {
    // Hidden size over heads, not the head dimension: 32 / 2 against 8.
    var model = TinyModel.gemma3
    let layer = model.weights.filter { $0.canonical.hasPrefix("layers.0.") }
    model.weights.removeAll { $0.canonical.hasPrefix("layers.") }
    for index in 0..<62 {
      model.weights += layer.map { weight in
        var weight = weight
        weight.canonical.replace("layers.0.", with: "layers.\(index).")
        weight.gguf.replace("blk.0.", with: "blk.\(index).")
        return weight
      }
    }
    #expect(
      try config(model) { $0["gemma3.block_count"] = .uint32(62) }.layers[0].attentionScale == 0.25
    )
  }

  @Test func `an unknown architecture is refused with the known ones`() {
    refuse(
      .gemma3,
      .unsupported,
      "general.architecture",
      .string("llama"),
      "llama",
      "gemma3, gemma3n, gemma4"
    )
    refuse(.gemma3, .config, "general.architecture", nil, "missing")
    refuse(.gemma3, .config, "general.architecture", .uint32(1), "an integer")
  }

  @Test(arguments: [TinyModel.gemma3, .gemma3n, .gemma4])
  func `an output matrix of its own gives the logits`(_ model: TinyModel) throws {
    var builder = model.gguf
    let bytes = (0..<(12 * 34)).map { UInt8($0 % 120) }
    builder.tensors.append(
      .init(name: "output.weight", dimensions: [32, 12], type: 8, bytes: bytes)
    )
    try withTemporaryModel(builder.bytes) { try expectOwnHead(try Checkpoint.open($0), bytes) }
  }

  @Test func `an output matrix of another shape is refused`() {
    expectRefusal(.tensor, "output.weight has shape [32], but the config says [12, 32]") {
      _ = try config(.gemma3) {
        $0.tensors.append(
          .init(
            name: "output.weight",
            dimensions: [32],
            type: 0,
            bytes: Array(repeating: 0, count: 128)
          )
        )
      }
    }
  }

  @Test(arguments: [
    "context_length", "embedding_length", "block_count", "feed_forward_length",
    "attention.head_count", "attention.layer_norm_rms_epsilon",
  ])
  func `a missing key is named`(key: String) {
    refuse(.gemma3, .config, "gemma3.\(key)", nil, "missing")
    refuse(.gemma3n, .config, "gemma3n.\(key)", nil, "missing")
  }

  @Test func `without its window Gemma 3n is refused, Gemma 3 has full attention alone`() throws {
    refuse(.gemma3n, .config, "gemma3n.attention.sliding_window", nil, "missing")
    for value: GGUFBuilder.Value? in [nil, .uint32(0)] {
      let config = try config(.gemma3) { $0["gemma3.attention.sliding_window"] = value }
      #expect(config.layers.allSatisfy { $0.attention == .full && $0.rope == rope(500_000) })
    }
  }

  @Test func `contradictions are refused with both values`() {
    refuse(.gemma3, .unsupported, "gemma3.attention.value_length", .uint32(16), "8")
    refuse(.gemma3, .config, "gemma3.vocab_size", .uint32(13), "13", "12")
    refuse(
      .gemma3,
      .unsupported,
      "gemma3.attention.head_count_kv",
      .array([.uint32(1), .uint32(2)]),
      "[1, 2]"
    )
    refuse(
      .gemma3n,
      .config,
      "gemma3n.activation_sparsity_scale",
      .array([.float32(1)]),
      "1 values for 4"
    )
    refuse(
      .gemma3n,
      .config,
      "gemma3n.attention.sliding_window_pattern",
      .array([.bool(true)]),
      "1 values for 4"
    )
    refuse(
      .gemma3n,
      .config,
      "gemma3n.feed_forward_length",
      .array([.int32(32), .int32(64)]),
      "2 values for 4"
    )
    refuse(.gemma3, .config, "gemma3.attention.sliding_window_pattern", .uint32(0), "0")
  }

  /// Every key with every absurd value: a refusal or a model, never a trap.
  @Test(arguments: [TinyModel.gemma3, .gemma3n, .gemma4])
  func `absurd values of any key are refused or harmless`(model: TinyModel) throws {
    let values: [GGUFBuilder.Value] = [
      .uint32(0), .int32(-1), .int64(.min), .int64(.max), .uint64(.max), .uint32(.max), .uint8(3),
      .float32(.nan), .float32(.infinity), .float32(-1), .float64(1e308), .float32(0), .string(""),
      .string("linear"), .bool(true), .array([]), .array([.int64(.max), .int64(.min)]),
      .array(Array(repeating: .float32(.nan), count: 4)),
      .array(Array(repeating: .int64(.max), count: 4)), .array([.bool(true)]),
    ]
    let keys =
      model.metadata.map(\.key) + [
        "gemma3.vocab_size", "gemma3.rope.scaling.type", "general.alignment", "split.count",
        "gemma3.final_logit_softcapping", "gemma3.head_dim", "gemma3.rope.global.freq_base",
        "gemma3n.rope.freq_base_local", "gemma3.attention.scale", "gemma3.attention.causal",
        "gemma3.rope.dimension_count", "gemma3.rope.dimension_sections", "gemma3.rope.scale_linear",
        "gemma3.hidden_activation", "gemma3n.altup.correct_scale", "gemma3n.num_kv_shared_layers",
        "tokenizer.ggml.eos_token_ids", "general.type", "split.no",
      ]
    let original = model.gguf
    for key in keys {
      for value in values {
        var absurd = original
        absurd[key] = value
        do {
          let config = try openModel(absurd).config
          #expect(config.layers.allSatisfy { $0.rope.theta > 0 && $0.rope.theta.isFinite })
        } catch let error as GemmaError {
          #expect(!error.description.contains("\n"), "\(key)")
        }
      }
    }
  }
}
