// What quantising groups of weights does to the next token's distribution: sums of groups, finer and coarser types,
// and the same number from a whole model in one piece.

import CPUBackend
import Compute
import Foundation
import Gemma
import ModelFiles
import Quantization
import TestSupport
import Testing

/// The demo model and what is measured on it.
struct DemoProbe {
  let checkpoint: Checkpoint
  let tensors: [ExportedTensor]
  let windows: [[Int32]]
  let backend: CPU

  /// - Parameters:
  ///   - count: How many windows of the bundled text there are.
  ///   - tokens: The tokens of each.
  ///   - layers: The layers whose tensors may be quantised; nil for all.
  /// - Throws: What opening the model throws.
  init(windows count: Int, of tokens: Int, layers: Range<Int>? = nil) throws {
    let checkpoint = try Checkpoint.open(Goldens.demoModel.path)
    let text = String(CalibrationText.bundled.dropFirst(3000).prefix(count * tokens * 8))
    let all = try checkpoint.tokenizer().encode(text, addBOS: false, parseSpecial: false)
    windows = (0..<count).map { index in
      [checkpoint.config.bosToken] + all[(index * tokens)..<((index + 1) * tokens - 1)]
    }
    self.checkpoint = checkpoint
    tensors = checkpoint.ggufTensors.filter { tensor in
      guard let layers, tensor.name.hasPrefix("blk.") else { return true }
      return layers.contains { tensor.name.hasPrefix("blk.\($0).") }
    }
    backend = try CPU(threads: 2, pinnedTo: nil, cacheType: .f32)
  }

  func measure(
    _ groups: [ProbeGroup],
    _ type: TensorType,
    activationByteCount: Int = 400 << 20
  ) throws -> [Double] {
    let probe = SensitivityProbe(
      checkpoint,
      tensors,
      to: { _ in type },
      windows: windows,
      importance: nil,
      on: backend,
      threads: 2,
      activationByteCount: activationByteCount
    )
    var fractions: [Double] = []
    let results = try probe.measure(groups) { fractions.append($0) }
    #expect(fractions == fractions.sorted() && abs((fractions.last ?? 1) - 1) < 1e-9)
    #expect(results.map(\.group) == groups)
    return results.map(\.klDivergence)
  }

  /// All weights that may be quantised, by what they are.
  var kinds: [ProbeGroup] {
    var weights: [String: Set<String>] = [:]
    for tensor in tensors where tensor.precision == .any {
      let kind = tensor.name.split(separator: ".").last { $0 != "weight" } ?? ""
      weights[String(kind), default: []].formUnion(tensor.weights.map(\.canonical))
    }
    return weights.sorted { $0.key < $1.key }.map { kind, names in
      ProbeGroup(title: kind, weights: names)
    }
  }
}

@Suite(.serialized) struct `Sensitivity of groups` {
  private func group(_ title: String, _ weights: Set<String>) -> ProbeGroup {
    ProbeGroup(title: title, weights: weights)
  }

  @Test func `a group without weights of the model costs nothing`() throws {
    let probe = try DemoProbe(windows: 1, of: 8)
    let groups = [group("none", []), group("another model's", ["layers.999.mlp.up_proj"])]
    #expect(try probe.measure(groups, .q4_0) == [0, 0])
    #expect(try probe.measure([], .q4_0).isEmpty)
  }

  @Test func `what groups cost adds up to what all of them cost together`() throws {
    let probe = try DemoProbe(windows: 3, of: 32)
    let kinds = probe.kinds
    #expect(kinds.count > 8)
    let all = group("all", kinds.reduce(into: []) { $0.formUnion($1.weights) })
    let costs = try probe.measure(kinds + [all], .q8_0)
    let (sum, together) = (costs.dropLast().reduce(0, +), costs[costs.count - 1])
    #expect(costs.allSatisfy { $0 > 0 })
    #expect(abs(sum - together) < 0.25 * together, "\(sum) and \(together)")
  }

  @Test func `a coarser type costs more`() throws {
    let probe = try DemoProbe(windows: 1, of: 32)
    let groups = probe.kinds.filter { ["ffn_down", "attn_q", "token_embd"].contains($0.title) }
    let costs = try [TensorType.q8_0, .q5_0, .q4_0].map { try probe.measure(groups, $0) }
    for (index, group) in groups.enumerated() {
      // The damage goes with the square of the step: 64 times less and 4 times; a part of that is enough here.
      #expect(costs[0][index] * 4 < costs[1][index], "\(group.title)")
      #expect(costs[1][index] * 2 < costs[2][index], "\(group.title)")
    }
  }

  @Test func `several passes give the same as one, and so does each group alone`() throws {
    let probe = try DemoProbe(windows: 2, of: 32)
    let groups = Array(probe.kinds.prefix(3))
    let costs = try probe.measure(groups, .q8_0)
    #expect(Set(costs).count == 3)
    // So little room that each group has a pass of its own.
    #expect(try probe.measure(groups, .q8_0, activationByteCount: 1) == costs)
    #expect(try probe.measure([groups[1]], .q8_0) == [costs[1]])
  }

  // MARK: Against whole models

  /// Returns the logits of all rows of the windows, from one program with all layers.
  private func logits(_ checkpoint: Checkpoint, _ probe: DemoProbe) throws -> [[Float]] {
    let config = checkpoint.config
    let slice = ModelSlice(layers: config.layers.indices, vocabulary: 0..<config.vocabularySize)
    let runner = try probe.backend.prepare(
      try config.lower(slice, weights: checkpoint),
      weights: checkpoint,
      limits: ExecutableLimits(maxRows: 64, slots: 1, contextTokens: 64),
      sharing: nil,
      progress: { _ in }
    )
    return try probe.windows.map { tokens in
      runner.clear(slot: 0)
      let rows = tokens.enumerated().map { Row(slot: 0, position: $0, token: $1, isWanted: true) }
      return try #require(try runner.run(Batch(rows: rows), inputs: []).last)
    }
  }

  /// Writes the model with the values that come back from a type, as f32.
  private func write(_ probe: DemoProbe, _ choices: [TensorChoice], to path: String) throws {
    var writer = GGUFWriter()
    writer.metadata = try probe.checkpoint.ggufMetadata()
    for choice in choices {
      let tensor = choice.tensor
      let encoder = RowEncoder(
        choice.type,
        columns: tensor.columnCount,
        importance: nil,
        threads: 2
      )
      let shape = tensor.shape
      writer.tensors.append(
        GGUFWriter.Tensor(tensor.name, shape: shape, type: GGUFTensorType(.f32)) { sink in
          let values = try tensor.values(rows: 0..<tensor.rowCount)
          let decoded = encoder.decode(try encoder.encode(values, of: tensor.name).bytes)
          try unsafe decoded.withUnsafeBytes { try unsafe sink.append($0) }
        }
      )
    }
    try writer.write(to: path)
  }

  @Test(arguments: [TensorType.q8_0, .q4_0])
  func `a model that runs layer by layer has the divergence of whole programs`(
    _ type: TensorType
  ) throws {
    let probe = try DemoProbe(windows: 2, of: 24)
    let choices = TensorChoices.uniform(type, probe.tensors)
    let recipe = HybridRecipe(
      probe.checkpoint,
      probe.tensors,
      for: nil,
      importance: nil,
      threads: 2
    )
    let measured = try recipe.divergence(of: choices, windows: probe.windows, on: probe.backend) {
      _ in
    }
    let expected = try withTemporaryDirectory { directory in
      try write(probe, choices, to: "\(directory)/decoded.gguf")
      let pairs = zip(
        try logits(try Checkpoint.open("\(directory)/decoded.gguf"), probe),
        try logits(probe.checkpoint, probe)
      )
      let width = probe.checkpoint.config.vocabularySize
      var summary = DivergenceSummary()
      for (other, reference) in pairs {
        for row in 0..<(reference.count / width) {
          let columns = (row * width)..<((row + 1) * width)
          summary.add(LogitDivergence(of: other[columns], from: reference[columns]), position: row)
        }
      }
      #expect(summary.rowCount == 48)
      return summary.mean
    }
    #expect(abs(measured - expected) < 1e-3 * expected, "\(measured), \(expected) expected")
  }
}
