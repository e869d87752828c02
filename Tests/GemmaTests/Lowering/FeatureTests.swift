// Models that no family has: layers with heads of their own, features one by one. What is lowered follows
// from the records and the features, and what cannot be computed is refused.

import Compute
import ModelFiles
import TestSupport
import Testing

@testable import Gemma

/// Weights of a config's shapes, without bytes.
private struct Shapes: WeightDirectory {
  private var shapes: [WeightName: [Int]] = [:]

  init(_ config: ModelConfig) {
    for (name, shape) in config.neededWeights { shapes[name] = shape }
  }

  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef {
    guard let shape = shapes[name] else {
      throw GemmaError(.tensor, "the model has no weight \(name.canonical)")
    }
    let rowCount = shape.dropLast().reduce(1, *)
    return WeightRef(
      name: name.canonical,
      rows: rows ?? 0..<rowCount,
      columns: shape[shape.count - 1],
      type: .f32
    )
  }
}

@Suite struct `Features of a model` {
  private let altUp = AltUpConfig(streamCount: 3, activeStream: 1, scalesActiveStream: true)
  private let laurel = LaurelConfig(rank: 4)
  private let perLayerInput = PerLayerInputConfig(size: 8, vocabularySize: 10)

  private func layer(
    _ attention: AttentionKind,
    heads: (count: Int, kvCount: Int, dim: Int),
    kvSource: Int
  ) -> LayerRecord {
    LayerRecord(
      attention: attention,
      headCount: heads.count,
      kvHeadCount: heads.kvCount,
      headDim: heads.dim,
      attentionScale: 1,
      rope: LayerRecord.RopeParameters(theta: 10_000),
      kvSource: kvSource,
      feedForwardSize: 16 * (kvSource + 1)
    )
  }

  /// A sliding layer, a full one with fewer and wider heads, and a layer of each kind that shares.
  private var mixed: ModelConfig {
    ModelConfig(
      architecture: .gemma3,
      vocabularySize: 12,
      hiddenSize: 32,
      contextTokens: 64,
      normEpsilon: 1e-6,
      normGainOffset: 0,
      normsValues: true,
      finalSoftcap: nil,
      bosToken: 2,
      eosTokens: [1],
      layers: [
        layer(.sliding(window: 4), heads: (4, 2, 8), kvSource: 0),
        layer(.full, heads: (4, 1, 16), kvSource: 1),
        layer(.sliding(window: 4), heads: (8, 2, 8), kvSource: 0),
        layer(.full, heads: (2, 1, 16), kvSource: 1),
      ]
    )
  }

  /// Lowers every cut into two stages, checks the programs, and returns the whole one.
  private func lower(_ config: ModelConfig) throws -> Program {
    try config.validate("test")
    let (count, weights) = (config.layers.count, Shapes(config))
    for cut in 1..<count {
      let stages = [
        try config.lower(0..<cut, weights: weights),
        try config.lower(cut..<count, weights: weights),
      ]
      for stage in stages { try stage.validate() }
      let shapes = stages[0].outputs.map { stages[0][$0] }.map { [$0.planes, $0.width] }
      #expect(shapes == stages[1].inputs.map { stages[1][$0] }.map { [$0.planes, $0.width] })
    }
    let whole = try config.lower(0..<count, weights: weights)
    try whole.validate()
    return whole
  }

  @Test func `layers differ in heads, and so do their caches, queries and weights`() throws {
    let program = try lower(mixed)
    #expect(program.caches.map(\.kvHeadCount) == [2, 1])
    #expect(program.caches.map(\.headDim) == [8, 16])
    #expect(program.caches.map(\.window) == [4, nil])
    var queries: [[Int]] = []
    for case .projectQueries(let op) in program.ops {
      queries.append([op.weight.rows.count, op.headDim, program[op.queries].width])
    }
    #expect(queries == [[32, 8, 32], [64, 16, 64], [64, 8, 64], [32, 16, 32]])
    var heads: [Int] = []
    for case .attend(let op) in program.ops { heads.append(op.headCount) }
    #expect(heads == [4, 4, 8, 2])
    // What crosses the cut before layer 2: the stream, then keys and values of each owner.
    let first = try mixed.lower(0..<2, weights: Shapes(mixed))
    #expect(first.outputs.map { first[$0].width } == [32, 16, 16, 16, 16])
  }

  @Test func `each feature brings its ops and its weights, without the others`() throws {
    func names(_ change: (inout ModelConfig) -> Void) throws -> Set<String> {
      var config = mixed
      change(&config)
      return Set(try lower(config).ops.map(\.name))
    }
    let plain = try names { _ in }
    #expect(plain.isDisjoint(with: ["laurel", "altupPredict", "altupCorrect", "perLayerInputs"]))
    #expect(try names { $0.laurel = laurel } == plain.union(["laurel"]))
    let streams = plain.union(["altupPredict", "altupCorrect"])
    #expect(try names { $0.altUp = altUp } == streams)
    let inputs = try names {
      $0.altUp = altUp
      $0.perLayerInput = perLayerInput
    }
    #expect(inputs == streams.union(["perLayerInputs", "injectPerLayerInput"]))
    let single = try names { $0.perLayerInput = perLayerInput }
    #expect(single == plain.union(["perLayerInputs", "injectPerLayerInput"]))
  }

  @Test func `what cannot be computed is refused`() {
    func refuse(
      _ code: GemmaError.Code,
      _ words: String,
      _ change: (inout ModelConfig) -> Void
    ) {
      var config = mixed
      change(&config)
      expectRefusal(code, words, "test") { try config.validate("test") }
    }
    refuse(.unsupported, "layers that scale several streams") {
      $0.altUp = altUp
      $0.scalesLayers = true
    }
    refuse(.config, "rotated pairs of layer 1 is 9, outside 0...8") {
      $0.layers[1].rope.rotatedPairs = 9
    }
    refuse(.config, "rotated pairs of layer 0 is -1") { $0.layers[0].rope.rotatedPairs = -1 }
    refuse(.config, "layer 2 has 2 KV heads of 16") { $0.layers[2].headDim = 16 }
    refuse(.config, "layer 3 has 2 KV heads of 16") { $0.layers[3].kvHeadCount = 2 }
    refuse(.config, "layer 3 reads keys and values of layer 2, which owns none") {
      $0.layers[3].kvSource = 2
    }
    refuse(.config, "layer 0 reads keys and values of layer 1") { $0.layers[0].kvSource = 1 }
    refuse(.config, "head dimension of layer 1 is 0") { $0.layers[1].headDim = 0 }
  }

  @Test func `a layer may rotate some of its pairs, of keys and queries alike`() throws {
    var config = mixed
    config.layers[1].rope.rotatedPairs = 2
    config.layers[3].rope.rotatedPairs = 2
    var pairs: [String: [Int?]] = [:]
    for op in try lower(config).ops {
      if case .projectKV(let op) = op { pairs["keys", default: []].append(op.rope.rotatedPairs) }
      if case .projectQueries(let op) = op {
        pairs["queries", default: []].append(op.rope.rotatedPairs)
      }
    }
    #expect(pairs == ["keys": [nil, 2], "queries": [nil, 2, nil, 2]])
  }

  @Test func `values that are keys have no weight`() throws {
    var config = mixed
    config.layers[1].valuesAreKeys = true
    let names = config.neededWeights.map(\.name)
    #expect(names.contains(.layer(1, .key)) && !names.contains(.layer(1, .value)))
    #expect(names.contains(.layer(0, .value)))
    var weights: [Bool] = []
    for case .projectKV(let op) in try lower(config).ops { weights.append(op.valueWeight != nil) }
    #expect(weights == [true, false])
  }

  @Test func `a layer's last op multiplies by its output scale`() throws {
    var config = mixed
    config.scalesLayers = true
    func scales(_ config: ModelConfig) throws -> [String] {
      try lower(config).ops.compactMap { op in
        switch op {
        case .addNormed(let op): op.outputScale.map { "add \($0.name)" }
        case .injectPerLayerInput(let op): op.outputScale.map { "inject \($0.name)" }
        default: nil
        }
      }
    }
    let names = (0..<4).map { "layers.\($0).layer_scalar" }
    #expect(try scales(config) == names.map { "add \($0)" })
    config.perLayerInput = perLayerInput
    #expect(try scales(config) == names.map { "inject \($0)" })
    #expect(try scales(mixed).isEmpty)
  }
}
