// Models of Hugging Face directories as GGUF files: config and weights come back equal.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Exported model` {
  /// Opens a golden checkpoint.
  private func golden(_ name: String) throws -> Checkpoint {
    try Checkpoint.open(Goldens.checkpoint(name).path)
  }

  private func tensor(_ name: String, _ model: Checkpoint) throws -> ExportedTensor {
    try #require(model.ggufTensors.first { $0.name == name }, "\(name) is missing")
  }

  @Test(arguments: Goldens.random) func `the config comes back equal`(_ name: String) throws {
    let model = try golden(name)
    try withExport(of: model) { #expect($0.config == model.config.inGGUF) }
  }

  @Test(arguments: [
    TinyModel.gemma3, TinyModel.gemma3n, TinyModel.gemma4, TinyModel.gemma4WithoutValues,
  ])
  func `all weights come back with their values`(_ tiny: TinyModel) throws {
    let model = try openModel(tiny)
    try expectEqualWeights(model)
  }

  @Test(arguments: ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a", "gemma4-random-c"])
  func `the weights of whole checkpoints come back with their values`(_ name: String) throws {
    try expectEqualWeights(try golden(name))
  }

  /// Expects the weights of a file of a model to have its values; Gemma 3's norm gains are stored less 1.
  private func expectEqualWeights(_ model: Checkpoint) throws {
    let isGemma3 = model.config.architecture == .gemma3
    try withExport(of: model) { copy in
      #expect(copy.config == model.config.inGGUF)
      for weight in model.weights {
        let isGain = weight.name.canonical.hasSuffix("norm")
        let expected = try values(model, weight.name, plus: isGemma3 && isGain ? 1 : 0)
        var found = try values(copy, weight.name)
        if weight.name == .model(.embedTokensPerLayer) {
          found.removeLast(found.count - expected.count)
        }
        #expect(
          found.elementsEqual(expected, by: { $0.bitPattern == $1.bitPattern }),
          "\(weight.name)"
        )
      }
    }
  }

  @Test func `tokens behind the table of per-layer inputs have its first row`() throws {
    let model = try golden("gemma3n-random-a")
    let table = try tensor("per_layer_token_embd.weight", model)
    #expect(model.config.perLayerInput?.vocabularySize == 480)
    #expect(table.shape == [512, 30 * 8])
    let rows = try table.values(rows: 478..<482)
    let first = try table.values(rows: 0..<1)
    #expect(Array(rows[(2 * 240)..<(3 * 240)]) == first)
    #expect(Array(rows[(3 * 240)...]) == first)
    let last = try table.values(rows: 479..<480)
    #expect(Array(rows[240..<480]) == last && last != first)
  }

  // MARK: What only other programs read

  @Test func `layers that share keys and values have tensors for their own`() throws {
    // Written by transformers without and with them.
    for (name, width, isStored) in [
      ("gemma3n-random-a", 32, false), ("gemma3n-random-c", 64, true),
    ] {
      let model = try golden(name)
      for kind in ["attn_k", "attn_v"] {
        let key = try tensor("blk.29.\(kind).weight", model)
        #expect(key.shape == [width, model.config.hiddenSize] && key.weights.isEmpty)
        let hasValues = try key.values(rows: 0..<1).contains { $0 != 0 }
        #expect(hasValues == isStored, "\(name) \(kind)")
      }
      #expect(try tensor("blk.29.attn_k_norm.weight", model).columnCount == width / 2)
    }
    // llama.cpp takes those of Gemma 4 that there are.
    let names = try golden("gemma4-random-b").ggufTensors.map(\.name)
    #expect(!names.contains("blk.11.attn_k.weight") && names.contains("blk.7.attn_k.weight"))
  }

  @Test func `the matrices of the streams are stacked in their order`() throws {
    let model = try golden("gemma3n-random-a")
    for (name, weights) in [
      ("altup_proj.weight", (0..<3).map { WeightName.model(.altupProjection($0)) }),
      ("altup_unembd_proj.weight", (0..<3).map { WeightName.model(.altupUnembedProjection($0)) }),
    ] {
      let stack = try tensor(name, model)
      #expect(stack.shape == [3, 64, 64] && stack.weights == weights && stack.copy == nil)
      let expected = try weights.flatMap { try values(model, $0) }
      #expect(try stack.values(rows: 0..<192) == expected)
      #expect(try stack.values(rows: 63..<130) == Array(expected[(63 * 64)..<(130 * 64)]))
    }
  }

  @Test func `Gemma 4 gets factors for the pairs that are not rotated`() throws {
    let factors = try tensor("rope_freqs.weight", try golden("gemma4-random-a"))
    #expect(
      try factors.values(rows: 0..<1) == Array(repeating: 1, count: 4)
        + Array(repeating: 1e30, count: 12)
    )
  }

  @Test func `encoders of images and sound are left out and counted`() throws {
    let left = try golden("gemma4-random-a").tensorsLeftOut
    #expect(left.map(\.group) == ["audio_tower", "embed_audio", "embed_vision", "vision_tower"])
    #expect(left.map(\.count) == [69, 1, 1, 43])
    #expect(try golden("gemma4-random-b").tensorsLeftOut.isEmpty)
  }

  @Test func `vectors and AltUp's coefficients stay exact, small matrices unquantised`() throws {
    let precisions = Dictionary(
      uniqueKeysWithValues: try golden("gemma3n-random-a").ggufTensors.map {
        ($0.name, $0.precision)
      }
    )
    for name in [
      "output_norm", "blk.3.attn_q_norm", "blk.3.altup_correct_scale", "blk.3.altup_predict_coef",
      "blk.3.altup_correct_coef",
    ] { #expect(precisions["\(name).weight"] == .single, "\(name)") }
    for name in [
      "altup_proj", "altup_unembd_proj", "per_layer_model_proj", "blk.3.altup_router",
      "blk.3.laurel_l",
    ] { #expect(precisions["\(name).weight"] == .unquantised, "\(name)") }
    for name in [
      "token_embd", "per_layer_token_embd", "blk.3.attn_q", "blk.3.inp_gate", "blk.3.proj",
    ] {
      #expect(precisions["\(name).weight"] == .any, "\(name)")
    }
  }

  // MARK: Settings

  @Test(arguments: [
    ("query_pre_attn_scalar", 8), ("query_pre_attn_scalar", 19), ("sliding_window_pattern", 1),
    ("sliding_window_pattern", 3), ("final_logit_softcapping", 25),
  ])
  func `settings of Gemma 3 come back`(_ key: String, _ value: Int) throws {
    var tiny = TinyModel.gemma3
    tiny.setText(key, to: value)
    let model = try openModel(tiny)
    #expect(model.config != (try openModel(TinyModel.gemma3)).config)
    try withExport(of: model) { #expect($0.config == model.config.inGGUF) }
  }

  @Test(arguments: [8.0, 3, 1.7, 0.3]) func `the factor of positions comes back`(
    _ factor: Double
  ) throws {
    var tiny = TinyModel.gemma3
    tiny.setText(
      "rope_scaling",
      to: ["rope_type": "linear", "factor": factor] as [String: any Sendable]
    )
    let model = try openModel(tiny)
    #expect(model.config.layers[1].rope.positionScale == Float(1 / factor))
    try withExport(of: model) { #expect($0.config == model.config.inGGUF) }
  }

  @Test func `a model without AltUp's scale has ones for llama cpp, and says so`() throws {
    var tiny = TinyModel.gemma3n
    tiny.setText("altup_correct_scale", to: false)
    let model = try openModel(tiny)
    #expect(
      try tensor("blk.0.altup_correct_scale.weight", model).values(rows: 0..<1).allSatisfy {
        $0 == 1
      }
    )
    try withExport(of: model) { #expect($0.config == model.config.inGGUF) }
  }

  @Test func `values of layers whose keys are values are left out`() throws {
    // Of a sharing layer, a projection of values may be there; in a GGUF file it would say that others have one.
    var tiny = TinyModel.gemma4
    tiny.weights.removeAll { $0.canonical == "layers.1.self_attn.v_proj" }
    tiny.setText("attention_k_eq_v", to: true)
    let model = try openModel(tiny)
    #expect(model.ignoredTensors.contains { $0.name.hasSuffix("layers.3.self_attn.v_proj.weight") })
    try withExport(of: model) { #expect($0.config == model.config.inGGUF) }
  }

  @Test func `what GGUF has no key for is refused by name`() throws {
    var tiny = TinyModel.gemma4
    let ropes: [String: any Sendable] = [
      "full_attention": [
        "rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 500_000,
      ] as [String: any Sendable]
    ]
    tiny.setText("rope_parameters", to: ropes)
    let model = try openModel(tiny)
    expectRefusal(.unsupported, "4 rotated pairs of 8", "gemma4") { _ = try model.ggufMetadata() }
  }

  // MARK: GGUF files

  @Test(arguments: [TinyModel.gemma3, TinyModel.gemma3n, TinyModel.gemma4])
  func `a GGUF file keeps its tensors and all keys but those of types and parts`(
    _ tiny: TinyModel
  ) throws {
    var builder = tiny.gguf
    builder["general.file_type"] = .uint32(2)
    builder["general.quantization_version"] = .uint32(2)
    builder["split.count"] = .uint16(1)
    try withTemporaryModel(builder.bytes) { path in
      let model = try Checkpoint.open(path)
      let metadata = try model.ggufMetadata()
      #expect(metadata.map(\.key) == tiny.metadata.map(\.key))
      let own = try GGUFFile.open(path).metadata
      for (key, value) in metadata { #expect(own.contains { $0.key == key && $0.value == value }) }
      let tensors = model.ggufTensors
      #expect(tensors.map(\.name) == builder.tensors.map(\.name))
      #expect(tensors.allSatisfy { $0.copy?.name == $0.name && $0.shape == $0.copy?.shape })
      #expect(Set(tensors.flatMap(\.weights)) == Set(model.weights.map(\.name)))
      #expect(model.tensorsLeftOut.isEmpty)
    }
  }
}
