// The recipe hybrid-q4: its groups, its budget, and what it expects of its choices.

import Compute
import Foundation
import Gemma
import Quantization
import TestSupport
import Testing

@Suite(.serialized) struct `Hybrid recipe` {
  /// What is measured once and used by all tests.
  private struct Measured: Sendable {
    var probe: DemoProbe
    var recipe: HybridRecipe
    var sensitivities: HybridRecipe.Sensitivities
    var assessments: [HybridRecipe.Assessment]
  }

  private static let measured = Result {
    // Of these layers the first ones have keys and values of their own, the others share those of two of them.
    let probe = try DemoProbe(windows: 1, of: 32, layers: 15..<30)
    let recipe = HybridRecipe(
      probe.checkpoint,
      probe.tensors,
      for: nil,
      importance: nil,
      threads: 2
    )
    let sensitivities = try recipe.measure(windows: probe.windows, on: probe.backend) { _ in }
    let assessments = try recipe.assess(sensitivities) { _ in }
    return Measured(
      probe: probe,
      recipe: recipe,
      sensitivities: sensitivities,
      assessments: assessments
    )
  }

  private func byteCount(_ choices: [TensorChoice]) -> Int {
    choices.reduce(0) { $0 + $1.byteCount }
  }

  /// Whether the recipe chooses a tensor's type: matrices of the model whose rows are whole blocks.
  private func isChosen(_ tensor: ExportedTensor) -> Bool {
    tensor.precision != .single && tensor.isWeight && tensor.columnCount.isMultiple(of: 32)
  }

  // MARK: Groups

  @Test(arguments: Goldens.random + ["demo-model"])
  func `every weight that may be quantised is in one group, and no other is`(_ name: String) throws
  {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let tensors = checkpoint.ggufTensors
    let recipe = HybridRecipe(checkpoint, tensors, for: nil, importance: nil, threads: 1)
    let weights = recipe.groups.flatMap(\.weights)
    let wanted = tensors.filter(isChosen).flatMap(\.weights).map(\.canonical)
    #expect(weights.count == Set(weights).count && Set(weights) == Set(wanted))
    #expect(Set(recipe.groups.map(\.title)).count == recipe.groups.count)
    let kept = recipe.keptGroups.flatMap(\.weights)
    #expect(Set(kept).isDisjoint(with: weights) && kept.count == Set(kept).count)
    // Bands divide the layers of a kind: a group's weights are of neighbouring layers.
    for group in recipe.groups {
      let layers = group.weights.compactMap { weight -> Int? in
        guard weight.hasPrefix("layers.") else { return nil }
        return weight.split(separator: ".").dropFirst().first.flatMap { Int($0) }
      }
      guard let first = layers.min(), let last = layers.max() else { continue }
      #expect(last - first < (checkpoint.config.layers.count + 5) / 6, "\(group.title)")
    }
  }

  /// Names of tensors without their layers.
  private func kinds(_ tensors: [ExportedTensor], of weights: [ProbeGroup]) -> Set<String> {
    let chosen = Set(weights.flatMap(\.weights))
    let names = tensors.filter { $0.weights.contains { chosen.contains($0.canonical) } }.map(\.name)
    return Set(names.map { $0.replacing(#/^blk\.\d+\./#, with: "").replacing(".weight", with: "") })
  }

  @Test(arguments: [
    ("gemma3-random-a", ""),
    (
      "demo-model",
      "per_layer_token_embd per_layer_model_proj altup_proj altup_unembd_proj altup_router inp_gate proj laurel_l laurel_r"
    ),
  ]) func `all matrices are chosen, and neither norms nor coefficients`(
    _ name: String,
    _ more: String
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let tensors = checkpoint.ggufTensors
    let recipe = HybridRecipe(checkpoint, tensors, for: nil, importance: nil, threads: 1)
    let common = "token_embd attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down"
    let wanted = Set("\(common) \(more)".split(separator: " ").map(String.init))
    #expect(kinds(tensors, of: recipe.groups) == wanted)
    let kept = kinds(tensors, of: recipe.keptGroups)
    #expect(kept.isDisjoint(with: wanted) && kept.contains("attn_norm"), "\(kept)")
  }

  @Test func `what is measured has costs for all groups, kept ones too`() throws {
    let measured = try Self.measured.get()
    let recipe = measured.recipe
    #expect(measured.sensitivities.groups.map(\.group) == recipe.groups)
    #expect(measured.sensitivities.kept.map(\.group) == recipe.keptGroups)
    #expect(measured.sensitivities.groups.allSatisfy { $0.klDivergence > 0 })
    #expect(measured.sensitivities.kept.contains { $0.klDivergence > 0 })
  }

  // MARK: What is expected

  @Test func `all as the type that was measured with are expected to cost the groups' sum`() throws
  {
    let measured = try Self.measured.get()
    let sum = measured.sensitivities.groups.reduce(0) { $0 + $1.klDivergence }
    let choices = measured.probe.tensors.map { tensor in
      TensorChoice(tensor, as: isChosen(tensor) ? .q4_0 : tensor.unquantisedType, because: "")
    }
    #expect(HybridRecipe.probeType == .q4_0)
    let predicted = measured.recipe.predictedDivergence(of: choices, measured.assessments)
    #expect(abs(predicted - sum) < 1e-9 * sum, "\(predicted), \(sum) expected")
    // Nothing quantised costs nothing.
    let floats = measured.probe.tensors.map {
      TensorChoice($0, as: $0.unquantisedType, because: "")
    }
    #expect(measured.recipe.predictedDivergence(of: floats, measured.assessments) == 0)
  }

  @Test func `damage goes with the squared error of a type`() throws {
    let measured = try Self.measured.get()
    for assessment in measured.assessments where assessment.errors != nil {
      let errors = try #require(assessment.errors).squaredErrors
      let probe = try #require(errors[HybridRecipe.probeType])
      let known = assessment.options.options.first { $0.type == HybridRecipe.probeType }
      let damage = try #require(known).damage
      for option in assessment.options.options {
        let expected = damage * (errors[option.type] ?? 0) / probe
        #expect(
          abs(option.damage - expected) <= 1e-9 * expected,
          "\(assessment.tensor.name) \(option.type)"
        )
        #expect(
          option.byteCount
            == TensorChoice(assessment.tensor, as: option.type, because: "").byteCount
        )
      }
    }
  }

  // MARK: Budgets

  /// Bytes from just enough for the smallest types to more than all can use.
  private func budgets(_ measured: Measured) -> [Int] {
    [4.25, 4.5, 4.8, 5.1, 5.5, 6, 7, 8, 9, 12, 17].map {
      measured.recipe.byteCount(bitsPerWeight: $0)
    }
  }

  @Test func `the bytes are those of the bits, and of what stays a float`() throws {
    let measured = try Self.measured.get()
    for bits in [2.0, 4.8, 16] {
      let expected = measured.probe.tensors.reduce(0.0) { sum, tensor in
        guard isChosen(tensor) else {
          return sum
            + Double(TensorChoice(tensor, as: tensor.unquantisedType, because: "").byteCount)
        }
        return sum + Double(tensor.elementCount) * bits / 8
      }
      let found = Double(measured.recipe.byteCount(bitsPerWeight: bits))
      // A byte for each tensor may be lost by rounding down.
      #expect(
        found <= expected && expected - found <= Double(measured.assessments.count),
        "\(bits)"
      )
    }
  }

  @Test func `choices keep to their bytes and use nearly all of them`() throws {
    let measured = try Self.measured.get()
    let most = byteCount(
      measured.probe.tensors.map { TensorChoice($0, as: $0.unquantisedType, because: "") }
    )
    for budget in budgets(measured) {
      let choices = try measured.recipe.choose(measured.assessments, byteCount: budget)
      #expect(choices.map(\.tensor.name) == measured.probe.tensors.map(\.name))
      #expect(byteCount(choices) <= budget)
      #expect(
        byteCount(choices) > min(budget, most) * 98 / 100,
        "\(byteCount(choices)) of \(budget)"
      )
      for choice in choices {
        let isCandidate =
          measured.recipe.candidates.contains(choice.type) && isChosen(choice.tensor)
        #expect(
          isCandidate || choice.type == choice.tensor.unquantisedType,
          "\(choice.tensor.name)"
        )
        #expect(
          choice.type.byteCount(columns: choice.tensor.columnCount) != nil,
          "\(choice.tensor.name)"
        )
        #expect(!choice.reason.isEmpty)
      }
    }
  }

  @Test func `more bytes are never expected to cost more`() throws {
    let measured = try Self.measured.get()
    var last = Double.infinity
    for budget in budgets(measured) {
      let choices = try measured.recipe.choose(measured.assessments, byteCount: budget)
      let predicted = measured.recipe.predictedDivergence(of: choices, measured.assessments)
      #expect(predicted <= last * (1 + 1e-12))
      last = predicted
    }
    #expect(last == 0)
  }

  @Test
  func `a choice by measurement is expected to be better than one type of as many bytes, and is`()
    throws
  {
    let measured = try Self.measured.get()
    let recipe = measured.recipe
    let uniform = TensorChoices.uniform(.q4_0, measured.probe.tensors)
    let choices = try recipe.choose(measured.assessments, byteCount: byteCount(uniform))
    let predicted = recipe.predictedDivergence(of: choices, measured.assessments)
    #expect(predicted < recipe.predictedDivergence(of: uniform, measured.assessments))
    let (windows, backend) = (measured.probe.windows, measured.probe.backend)
    let found = try recipe.divergence(of: choices, windows: windows, on: backend) { _ in }
    #expect(found < (try recipe.divergence(of: uniform, windows: windows, on: backend) { _ in }))
    // On the text that it was measured on the expectation holds for the order of size.
    #expect(found < 2 * predicted && predicted < 2 * found, "\(found), \(predicted) expected")
  }

  @Test func `nothing quantised has no divergence`() throws {
    let measured = try Self.measured.get()
    let floats = measured.probe.tensors.map {
      TensorChoice($0, as: $0.unquantisedType, because: "")
    }
    let found = try measured.recipe.divergence(
      of: floats,
      windows: measured.probe.windows,
      on: measured.probe.backend
    ) { _ in }
    #expect(found == 0)
  }

  @Test func `too few bytes are refused with the bits that are enough`() throws {
    let measured = try Self.measured.get()
    let recipe = measured.recipe
    let error = #expect(throws: QuantizationError.self) {
      try recipe.choose(measured.assessments, byteCount: 1000)
    }
    let text = try #require(error).description
    #expect(
      text.hasPrefix("quantization.recipe: 1000 bytes are too few: with the smallest types"),
      "\(text)"
    )
    let word = try #require(
      text.split(separator: " ").first { $0.contains(".") && Double($0) != nil }
    )
    let bits = try #require(Double(word))
    let enough = recipe.byteCount(bitsPerWeight: bits)
    #expect(
      try recipe.choose(measured.assessments, byteCount: enough).count == measured.assessments.count
    )
    let less = recipe.byteCount(bitsPerWeight: bits - 0.011)
    #expect(throws: QuantizationError.self) {
      try recipe.choose(measured.assessments, byteCount: less)
    }
    // The bytes that are named are enough, too, and one less is not.
    let least = try #require(
      text.split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }.dropFirst().first
    )
    #expect(byteCount(try recipe.choose(measured.assessments, byteCount: least)) == least)
    #expect(throws: QuantizationError.self) {
      try recipe.choose(measured.assessments, byteCount: least - 1)
    }
  }

  // MARK: Devices

  @Test(arguments: HybridRecipe.Target.allCases) func `only a device's own types are chosen for it`(
    _ target: HybridRecipe.Target
  ) throws {
    let measured = try Self.measured.get()
    // A few layers are enough to see which types are taken.
    let tensors = measured.probe.tensors.filter { tensor in
      !tensor.name.hasPrefix("blk.")
        || ["blk.15.", "blk.29."].contains(where: tensor.name.hasPrefix)
    }
    func ofFewLayers(for target: HybridRecipe.Target?) -> HybridRecipe {
      HybridRecipe(
        measured.probe.checkpoint,
        tensors,
        for: target,
        importance: nil,
        threads: 2
      )
    }
    let recipe = ofFewLayers(for: target)
    let assessments = try recipe.assess(measured.sensitivities) { _ in }
    var types: Set<TensorType> = []
    for bits in [4.6, 5, 6, 8] {
      let choices = try recipe.choose(
        assessments,
        byteCount: recipe.byteCount(bitsPerWeight: bits)
      )
      for choice in choices where choice.type != choice.tensor.unquantisedType {
        types.insert(choice.type)
      }
    }
    #expect(types.isSubset(of: Set(recipe.candidates)) && types.count > 1)
    if target == .vulkan {
      #expect(types.isDisjoint(with: [.iq4_nl, .iq4_xs]))
    }
    if target == .npu {
      try expectRounding(
        recipe,
        assessments,
        ofFewLayers(for: nil).assess(measured.sensitivities) { _ in }
      )
    }
  }

  @Test
  func `a CPU's skipped columns leave no choice to the down projection, and no float to the up`()
    throws
  {
    let measured = try Self.measured.get()
    let layers = measured.probe.checkpoint.config.layers
    let sparse = try #require(layers.firstIndex { $0.sparsityDeviations != nil })
    let dense = try #require(layers.lastIndex { $0.sparsityDeviations == nil })
    let tensors = measured.probe.checkpoint.ggufTensors.filter { tensor in
      [sparse, dense].contains {
        tensor.name.hasPrefix("blk.\($0).ffn_") && tensor.shape.count == 2
      }
    }
    func types(for target: HybridRecipe.Target) throws -> [String: Set<TensorType>] {
      let recipe = HybridRecipe(
        measured.probe.checkpoint,
        tensors,
        for: target,
        importance: nil,
        threads: 2
      )
      let assessments = try recipe.assess(measured.sensitivities) { _ in }
      return Dictionary(
        uniqueKeysWithValues: assessments.map { assessment in
          (assessment.tensor.name, Set(assessment.options.options.map(\.type)))
        }
      )
    }
    let (cpu, npu) = (try types(for: .cpu), try types(for: .npu))
    #expect(cpu["blk.\(sparse).ffn_down.weight"] == [.q4_0])
    for (name, types) in cpu {
      let isUp = name == "blk.\(sparse).ffn_up.weight"
      let isDown = name == "blk.\(sparse).ffn_down.weight"
      #expect(types.allSatisfy(\.isQuantised) == (isUp || isDown), "\(name): \(types)")
      if !isDown { #expect(types.subtracting([.bf16]) == npu[name]?.subtracting([.bf16])) }
    }
    #expect(cpu.count == 6 && npu.values.allSatisfy { !$0.allSatisfy(\.isQuantised) })
  }

  /// Expects that costs include what the array rounds once more, in layers: outside them the CPU computes.
  private func expectRounding(
    _ recipe: HybridRecipe,
    _ assessments: [HybridRecipe.Assessment],
    _ plain: [HybridRecipe.Assessment]
  ) throws {
    var count = 0
    for (own, plain) in zip(assessments, plain) where own.damagePerError > 0 {
      let isQ8 = { (option: TypeOptions.Option) in option.type == .q8_0 }
      guard let more = own.options.options.first(where: isQ8)?.damage,
        let less = plain.options.options.first(where: isQ8)?.damage
      else { continue }
      count += 1
      #expect(own.damagePerError == plain.damagePerError, "\(own.tensor.name)")
      #expect(
        own.tensor.name.hasPrefix("blk.") ? more > less : more == less,
        "\(own.tensor.name): \(more), \(less)"
      )
    }
    #expect(count > 10)
    // It is not measured, so it is not predicted for what is measured.
    let choices = assessments.map { assessment in
      TensorChoice(
        assessment.tensor,
        as: assessment.tensor.precision == .any ? .q8_0 : .bf16,
        because: ""
      )
    }
    let expected = recipe.predictedDivergence(of: choices, plain)
    #expect(recipe.predictedDivergence(of: choices, assessments) == expected && expected > 0)
  }
}
