// The golden comparisons, the same for every backend: logits, hidden states layer by layer, greedy
// continuations. A failing comparison names the first layer that departs and shows the numbers.

package import Compute
import Foundation
import Gemma
package import Testing

/// Compares a backend with the reference implementation's values for one checkpoint.
package struct GoldenChecks {
  private let golden: Golden
  private let checkpoint: Checkpoint
  private let backend: any Backend
  /// The largest absolute difference that passes.
  ///
  /// The logits span about ±17; two f32 implementations differ by up to 2.3e-4
  /// (PROVENANCE.md), a missing term of the model by more than 1e-2.
  private let tolerance: Float = 1e-3

  package init(_ name: String, backend: any Backend) throws {
    golden = try Goldens.load(name)
    checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    self.backend = backend
  }

  private var layerCount: Int { checkpoint.config.layers.count }

  private func pipeline(_ split: [Int]? = nil) throws -> InProcessPipeline {
    try InProcessPipeline(checkpoint, backend: backend, split: split ?? [layerCount])
  }

  /// The logits of every case, the whole prompt at once.
  package func logits(sourceLocation: SourceLocation = #_sourceLocation) throws {
    for item in golden.cases {
      let got = try pipeline().logits(tokens: item.ids.map(Int32.init))
      let report = compare(
        got,
        try golden.logits(item),
        tolerance: tolerance,
        shape: item.shape,
        name: "\(golden.model) \(item) logits"
      )
      #expect(report.matches, "\(report)", sourceLocation: sourceLocation)
    }
  }

  /// The greedy continuation of every case, up to the first near-tie.
  package func greedy(sourceLocation: SourceLocation = #_sourceLocation) throws {
    for item in golden.cases {
      let want = item.certainGreedy().map(Int32.init)
      let got = try pipeline().greedy(prompt: item.ids.map(Int32.init), count: want.count)
      #expect(got == want, "\(golden.model) \(item)", sourceLocation: sourceLocation)
    }
  }

  /// The hidden states after each layer, the per-layer inputs, the final norm, the logits.
  package func layers(sourceLocation: SourceLocation = #_sourceLocation) throws {
    guard let layers = golden.layers else {
      Issue.record("\(golden.model) has no layer values", sourceLocation: sourceLocation)
      return
    }
    let batch = Batch(
      rows: layers.ids.enumerated().map { position, token in
        Row(slot: 0, position: position, token: Int32(token), isWanted: true)
      }
    )
    try expect("embedding", of: 0..<1, after: "expandStreams", batch, layers.inputStreams)
    if let perLayerInputs = layers.perLayerInputs {
      try expectPerLayerInputs(batch, perLayerInputs)
    }
    try expectAttention(batch, layers)
    let want = try golden.floats(layers.afterEachLayer)
    let size = want.count / layerCount
    // One layer a stage: what leaves a stage is the state after its layer.
    let trace = try pipeline(Array(repeating: 1, count: layerCount)).trace(batch)
    for layer in 0..<(layerCount - 1) {
      let report = compare(
        trace[layer][0],
        Array(want[(layer * size)..<((layer + 1) * size)]),
        tolerance: tolerance,
        shape: Array(layers.afterEachLayer.shape.dropFirst()),
        name: "\(golden.model) after layer \(layer)"
      )
      #expect(report.matches, "\(report)", sourceLocation: sourceLocation)
      guard report.matches else { return }  // The layers behind only carry the error on.
    }
    let report = compare(
      trace[layerCount - 1][0],
      try golden.floats(layers.logits),
      tolerance: tolerance,
      shape: layers.logits.shape,
      name: "\(golden.model) logits after all layers"
    )
    #expect(report.matches, "\(report)", sourceLocation: sourceLocation)
    try expect(
      "final norm",
      of: 0..<layerCount,
      after: "mergeStreams",
      batch,
      layers.finalNormed
    )
  }

  /// Runs a stage's program up to its last op of a name and compares what that op wrote.
  private func expect(
    _ what: String,
    of stage: Range<Int>,
    after op: String,
    _ batch: Batch,
    _ want: Golden.Tensor
  ) throws {
    let got = try output(of: stage, after: op, batch)
    let report = compare(
      got,
      try golden.floats(want),
      tolerance: tolerance,
      shape: want.shape,
      name: "\(golden.model) \(what)"
    )
    #expect(report.matches, "\(report)")
  }

  /// The results of attention in each layer, and the keys and values that other layers share.
  private func expectAttention(_ batch: Batch, _ layers: Golden.Layers) throws {
    if let attention = layers.attentionOutput {
      let want = try golden.floats(attention)
      let size = want.count / layerCount
      for layer in 0..<layerCount {
        let report = compare(
          try output(of: 0..<(layer + 1), after: "matmul", batch),
          Array(want[(layer * size)..<((layer + 1) * size)]),
          tolerance: tolerance,
          shape: Array(attention.shape.dropFirst()),
          name: "\(golden.model) attention of layer \(layer)"
        )
        #expect(report.matches, "\(report)")
        guard report.matches else { return }
      }
    }
    for store in (layers.store ?? [:]).values {
      let stage = 0..<(store.layer + 1)
      for (index, (name, want)) in [("keys", store.k), ("values", store.v)].enumerated() {
        let report = compare(
          try output(of: stage, after: "projectKV", result: index, batch),
          try golden.floats(want),
          tolerance: tolerance,
          shape: want.shape,
          name: "\(golden.model) \(name) of layer \(store.layer)"
        )
        #expect(report.matches, "\(report)")
      }
    }
  }

  private func output(
    of stage: Range<Int>,
    after op: String,
    result: Int = 0,
    _ batch: Batch
  ) throws -> [Float] {
    var program = try checkpoint.config.lower(stage, weights: checkpoint)
    guard let index = program.ops.lastIndex(where: { $0.name == op }) else {
      throw GoldenError(description: "no op \(op) in layers \(stage)")
    }
    program.outputs = [program.ops[index].operands.writes[result]]
    program.ops = Array(program.ops[...index])
    let limits = ExecutableLimits(maxRows: 128, slots: 1, contextTokens: 256)
    let runner = try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
    return try runner.run(batch, inputs: [])[0]
  }

  /// The golden has all layers' inputs in one table [tokens, layers, width]; a program has those of
  /// the layers that compute all rows and those of the others apart.
  private func expectPerLayerInputs(_ batch: Batch, _ want: Golden.Tensor) throws {
    let values = try golden.floats(want)
    let (tokens, width) = (want.shape[0], want.shape[2])
    let first = checkpoint.config.narrowingLayer ?? layerCount
    let owned = try output(of: 0..<first, after: "perLayerInputs", batch)
    for token in 0..<tokens {
      let report = compare(
        Array(owned[(token * first * width)..<((token + 1) * first * width)]),
        Array(values[(token * layerCount * width)...].prefix(first * width)),
        tolerance: tolerance,
        shape: [first, width],
        name: "\(golden.model) per-layer inputs of token \(token)"
      )
      #expect(report.matches, "\(report)")
    }
  }
}
