// What GGUF files of other converters leave out or spell in another way, and settings that change the
// numbers: obeyed as llama.cpp obeys them, or refused by name. The values are llama.cpp's
// (src/llama-model.cpp, src/llama-hparams.h, src/models/gemma3.cpp and gemma3n.cpp).

import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `GGUF keys as other converters write them` {
  private func config(
    _ model: TinyModel,
    _ change: (inout GGUFBuilder) -> Void
  ) throws -> ModelConfig {
    var builder = model.gguf
    change(&builder)
    return try openModel(builder).config
  }

  private func refuse(
    _ model: TinyModel,
    _ key: String,
    _ value: GGUFBuilder.Value,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectRefusal(.unsupported, key, sourceLocation: sourceLocation) {
      _ = try config(model) { $0[key] = value }
    }
  }

  private func rope(_ theta: Float, _ scale: Float = 1) -> LayerRecord.RopeParameters {
    .init(theta: theta, positionScale: scale)
  }

  // hparams.n_embd_head_k = n_embd / n_head: 32 / 2 here, so that the weights do not fit.
  @Test func `without a key length it is the width over the heads`() throws {
    expectRefusal(.tensor, "blk.0.attn_q.weight has shape [16, 32]", "[32, 32]") {
      _ = try config(.gemma3) {
        $0["gemma3.attention.key_length"] = nil
        $0["gemma3.attention.value_length"] = nil
      }
    }
  }

  @Test func `a key length by Ollama's name is the same`() throws {
    for model in [TinyModel.gemma3, .gemma3n] {
      let prefix = model.stacks.isEmpty ? "gemma3" : "gemma3n"
      let renamed = try config(model) {
        $0["\(prefix).attention.key_length"] = nil
        $0["\(prefix).attention.value_length"] = nil
        $0["\(prefix).head_dim"] = .uint32(8)
      }
      #expect(try renamed == config(model) { _ in })
    }
    expectRefusal(.config, "attention.key_length is 8", "head_dim is 16") {
      _ = try config(.gemma3) { $0["gemma3.head_dim"] = .uint32(16) }
    }
  }

  @Test func `a rope base is 10000 if absent, and has three spellings`() throws {
    let absent = try config(.gemma3) { $0["gemma3.rope.freq_base"] = nil }
    #expect(absent.layers.map(\.rope) == [rope(10_000), rope(10_000)])
    let ollama = try config(.gemma3) {
      $0["gemma3.rope.freq_base"] = nil
      $0["gemma3.rope.global.freq_base"] = .float32(1e6)
      $0["gemma3.rope.local.freq_base"] = .float32(3e4)
    }
    #expect(ollama.layers.map(\.rope) == [rope(3e4), rope(1e6)])
    let gemma3n = try config(.gemma3n) {
      $0["gemma3n.rope.freq_base_swa"] = nil
      $0["gemma3n.rope.freq_base_local"] = .float32(3e4)
    }
    #expect(gemma3n.layers.map(\.rope) == [rope(3e4), rope(5e5), rope(3e4), rope(5e5)])
    expectRefusal(.config, "rope.freq_base is 500000", "rope.global.freq_base is 1000000") {
      _ = try config(.gemma3) { $0["gemma3.rope.global.freq_base"] = .float32(1e6) }
    }
  }

  @Test func `a scaling factor without a type is linear, under its older name too`() throws {
    for key in ["rope.scaling.factor", "rope.scale_linear"] {
      let scaled = try config(.gemma3) { $0["gemma3.\(key)"] = .float32(8) }
      #expect(scaled.layers.map(\.rope) == [rope(10_000), rope(500_000, 0.125)])
    }
    // The newer key counts where both are there; the type none switches both off.
    let both = try config(.gemma3) {
      $0["gemma3.rope.scale_linear"] = .float32(8)
      $0["gemma3.rope.scaling.factor"] = .float32(4)
    }
    #expect(both.layers[1].rope == rope(500_000, 0.25))
    let none = try config(.gemma3) {
      $0["gemma3.rope.scaling.factor"] = .float32(4)
      $0["gemma3.rope.scaling.type"] = .string("none")
    }
    #expect(none.layers[1].rope == rope(500_000))
  }

  @Test func `integers stand for floats and truth values, whole floats for integers`() throws {
    let other = try config(.gemma3n) {
      $0["gemma3n.rope.freq_base"] = .uint32(500_000)
      $0["gemma3n.final_logit_softcapping"] = .int32(20)
      $0["gemma3n.context_length"] = .float32(128)
      $0["gemma3n.attention.shared_kv_layers"] = .uint32(2)
      $0["gemma3n.attention.sliding_window_pattern"] = .array([1, 0, 1, 0].map { .int32($0) })
    }
    #expect(try other == config(.gemma3n) { _ in })
    expectRefusal(.config, "sliding_window_pattern", "bools") {
      _ = try config(.gemma3n) {
        $0["gemma3n.attention.sliding_window_pattern"] = .array([1, 2, 1, 0].map { .int32($0) })
      }
    }
    expectRefusal(.config, "context_length is 128.5") {
      _ = try config(.gemma3) { $0["gemma3.context_length"] = .float32(128.5) }
    }
  }

  @Test func `an array that says the same for all layers is one value`() throws {
    let arrays = try config(.gemma3) {
      $0["gemma3.attention.head_count"] = .array([.int32(2), .int32(2)])
      $0["gemma3.attention.head_count_kv"] = .array([.int32(1), .int32(1)])
      $0["gemma3.attention.key_length"] = .array([.uint32(8), .uint32(8)])
      $0["gemma3.attention.sliding_window"] = .array([.uint32(4), .uint32(4)])
    }
    #expect(try arrays == config(.gemma3) { _ in })
    for key in ["attention.head_count", "attention.key_length", "attention.sliding_window"] {
      refuse(.gemma3, "gemma3.\(key)", .array([.int32(2), .int32(4)]))
      expectRefusal(.config, "gemma3.\(key)", "3 values for 2 layers") {
        _ = try config(.gemma3) { $0["gemma3.\(key)"] = .array([2, 2, 2].map { .int32($0) }) }
      }
    }
  }

  // llama.cpp reads none of these keys of Gemma 3n and has constants instead; it shares the keys and
  // values of all layers but the first 20, and cuts the gates of the first 10.
  @Test func `what Gemma 3n files leave out is what llama cpp has for it`() throws {
    let sharing = try config(.gemma3n) { $0["gemma3n.attention.shared_kv_layers"] = nil }
    #expect(sharing.layers.map(\.kvSource) == [0, 1, 2, 3])
    let named = try config(.gemma3n) {
      $0["gemma3n.attention.shared_kv_layers"] = nil
      $0["gemma3n.num_kv_shared_layers"] = .uint32(2)
    }
    #expect(named.layers.map(\.kvSource) == [0, 1, 0, 1])
    let sparsity = try config(.gemma3n) { $0["gemma3n.activation_sparsity_scale"] = nil }
    #expect(sparsity.layers.allSatisfy { $0.sparsityDeviations == 1.6448533535003662 })
    let stream = try config(.gemma3n) { $0["gemma3n.altup.active_idx"] = nil }
    #expect(stream.altUp?.activeStream == 0)
    // Four streams and 256 inputs a layer: more than the tiny model's weights.
    for (key, word) in [
      ("altup.num_inputs", "[3, 32, 32]"), ("embedding_length_per_layer_input", "1024"),
    ] {
      expectRefusal(.tensor, word) { _ = try config(.gemma3n) { $0["gemma3n.\(key)"] = nil } }
    }
    let unscaled = try config(.gemma3n) { $0["gemma3n.altup.correct_scale"] = .bool(false) }
    #expect(unscaled.altUp?.scalesActiveStream == false)
  }

  @Test func `a vocabulary with a token more than the text model has rows is read`() throws {
    let more = try config(.gemma3) {
      $0["tokenizer.ggml.tokens"] = .array((0..<13).map { .string("token \($0)") })
      $0["gemma3.vocab_size"] = .uint32(13)
    }
    #expect(more.vocabularySize == 12)
  }

  @Test func `the attention scale that a file says is obeyed`() throws {
    for (model, key) in [(TinyModel.gemma3, "gemma3"), (.gemma3n, "gemma3n")] {
      #expect(
        try config(model) { $0["\(key).attention.scale"] = .float32(0.5) }.layers[0].attentionScale
          == 0.5
      )
    }
  }

  @Test func `ends of the turn are read from every key`() throws {
    let config = try config(.gemma3) {
      $0["tokenizer.ggml.eos_token_ids"] = .array([.int32(1), .int32(6)])
      $0["tokenizer.ggml.eom_token_id"] = .uint32(9)
    }
    #expect(config.eosTokens == [1, 6, 11, 9])
  }

  @Test(
    arguments: [
      ("attention.causal", .bool(false)), ("attention.causal", .uint32(0)),
      ("rope.dimension_count", .uint32(4)), ("rope.dimension_count_swa", .uint32(4)),
      ("attention.key_length_swa", .uint32(16)), ("attention.value_length", .uint32(16)),
      ("attn_logit_softcapping", .float32(50)), ("attention.clamp_kqv", .float32(8)),
      ("attention.max_alibi_bias", .float32(8)), ("logit_scale", .float32(0.5)),
      ("residual_scale", .float32(0.5)), ("embedding_scale", .float32(12)),
      ("expert_count", .uint32(8)), ("rope.scaling.attn_factor", .float32(1.2)),
      ("rope.scaling.yarn_ext_factor", .float32(1)),
      ("rope.dimension_sections", .array([.int32(8)])),
      ("hidden_activation", .string("silu")), ("pooling_type", .uint32(1)),
      ("use_parallel_residual", .bool(true)),
    ] as [(String, GGUFBuilder.Value)]
  )
  func `a setting that changes the numbers and is not supported is refused by name`(
    key: String,
    value: GGUFBuilder.Value
  ) {
    refuse(.gemma3, "gemma3.\(key)", value)
    refuse(.gemma3n, "gemma3n.\(key)", value)
  }

  @Test func `the same settings at what is done anyway are no matter`() throws {
    let config = try config(.gemma3) {
      $0["gemma3.attention.causal"] = .bool(true)
      $0["gemma3.rope.dimension_count"] = .uint32(8)
      $0["gemma3.attention.key_length_swa"] = .uint32(8)
      $0["gemma3.attn_logit_softcapping"] = .float32(0)
      $0["gemma3.logit_scale"] = .float32(1)
      $0["gemma3.expert_count"] = .uint32(0)
      $0["gemma3.rope.scaling.attn_factor"] = .float32(1)
      $0["gemma3.hidden_activation"] = .string("gelu_pytorch_tanh")
      $0["gemma3.rope.dimension_sections"] = .array([.int32(0), .int32(0)])
    }
    #expect(try config == self.config(.gemma3) { _ in })
  }

  private func adding(_ name: String) throws -> Checkpoint {
    var builder = TinyModel.gemma3.gguf
    let bytes = [UInt8](repeating: 0, count: 32)
    builder.tensors.append(.init(name: name, dimensions: [8], type: 0, bytes: bytes))
    return try openModel(builder)
  }

  @Test(arguments: [
    "blk.0.attn_q.bias", "blk.1.attn_q.scale", "blk.0.attn_sinks.weight", "rope_freqs.weight",
    "blk.2.nextn.eh_proj.weight", "output_norm.bias",
  ])
  func `a tensor of the text model that no weight needs is refused by name`(name: String) {
    expectRefusal(.unsupported, "tensor \(name)", "wrong") { _ = try adding(name) }
  }

  @Test(arguments: ["v.blk.0.attn_q.weight", "mm.input_projection.weight", "a.blk.0.ffn.bias"])
  func `towers for images and sound are no matter`(name: String) throws {
    #expect(try adding(name).ignoredTensors.map(\.name) == [name])
  }
}
