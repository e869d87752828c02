// How often threads wait for each other: how many phases a layer of each kind takes. A layer that
// waits more often than these has lost something.

import BackendConformance
import Compute
import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@testable import CPUBackend

@Suite struct `Phases` {
  /// Counts the waits that a layer adds to those before it.
  private func waits(of layer: Int, in weights: QuantisedModel) throws -> Int {
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let counts = try [layer, layer + 1].map { end in
      let program = try weights.config.lower(0..<end, weights: weights)
      let limits = ExecutableLimits(maxRows: 8, slots: 1, contextTokens: 32)
      let runner = try backend.prepare(program, weights: weights.random, limits: limits) { _ in
      }
      return try #require(runner.executable as? CPUExecutable).waitCount
    }
    return counts[1] - counts[0]
  }

  @Test func `a layer of Gemma 3n waits as often as its products and norms must`() throws {
    let weights = try QuantisedModel("gemma3n-random-a")
    let layers = weights.config.layers
    // Norm; q, k, v; k, v to the cache; attention; output; norm; gate; down; correction; per-layer
    // gate; its projection.
    #expect(layers[15].sparsityDeviations == nil && layers[15].kvSource == 15)
    #expect(try waits(of: 15, in: weights) == 11)
    // Nothing goes to a cache.
    #expect(layers[25].sparsityDeviations == nil && layers[25].kvSource != 25)
    #expect(try waits(of: 25, in: weights) == 10)
    // The gate alone; what is left of it; up; its rounding.
    #expect(layers[5].sparsityDeviations != nil && layers[5].kvSource == 5)
    #expect(try waits(of: 5, in: weights) == 14)
  }

  @Test func `a layer of Gemma 3 waits eight times`() throws {
    let weights = try QuantisedModel("gemma3-random-a")
    #expect(try waits(of: 1, in: weights) == 8)
  }

  /// A wait too few shows as a difference, if not at once.
  @Test(arguments: ["gemma3n-random-a", "gemma3-random-a"])
  func `quantised models give the same bits on any number of threads, whatever rows are skipped`(
    _ name: String
  ) throws {
    let weights = try QuantisedModel(name)
    let programs = try [false, true].map { passesAllLayers in
      var config = weights.config
      config.passesAllLayers = passesAllLayers
      return try config.lower(0..<config.layers.count, weights: weights)
    }
    let steps = [0..<19, 19..<20, 20..<23].map { positions in
      Batch(
        rows: positions.map {
          Row(slot: 0, position: $0, token: Int32($0 * 7 % 256), isWanted: $0 % 2 == 0)
        }
      )
    }
    var expected: [[UInt32]]?
    for threads in [1, 2, 3] {
      let backend = try CPU(threads: threads, pinnedTo: nil)
      for program in programs {
        let runner = try backend.prepare(
          program,
          weights: weights.random,
          limits: ExecutableLimits(maxRows: 19, slots: 1, contextTokens: 32)
        ) { _ in }
        for round in 0..<5 {
          runner.clear(slot: 0)
          let got = try steps.map { try runner.run($0, inputs: [])[0].map(\.bitPattern) }
          #expect(got == expected ?? got, "\(threads) threads, round \(round)")
          expected = expected ?? got
        }
      }
    }
    // Numbers, and not all the same: else nothing would be compared.
    let logits = (expected ?? []).joined().map { Float(bitPattern: $0) }
    #expect(logits.allSatisfy(\.isFinite) && Set(logits).count > 1000)
  }
}

/// The shapes of a golden model with twice as wide heads, whose projections are quantised.
///
/// Heads must be whole blocks of 32, as they are in every real model.
private final class QuantisedModel: WeightDirectory {
  let config: ModelConfig
  let random = RandomWeights(seed: 1, name: "phases")
  private let checkpoint: Checkpoint
  /// By name: what is already made, so that it is the same in every program.
  private var made: [WeightName: WeightRef] = [:]

  private static let quantised: Set<LayerWeight> = [
    .query, .key, .value, .output, .gate, .up, .down, .perLayerGate, .perLayerProjection,
  ]

  init(_ name: String) throws {
    checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    var config = checkpoint.config
    for layer in config.layers.indices { config.layers[layer].headDim *= 2 }
    self.config = config
  }

  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef {
    if made[name] == nil { made[name] = try make(name) }
    guard var weight = made[name] else { preconditionFailure("\(name) was just made") }
    if let rows { weight.rows = rows }
    return weight
  }

  private func make(_ name: WeightName) throws(GemmaError) -> WeightRef {
    var shape = try checkpoint.weight(name, rows: nil)
    if case .layer(_, let weight) = name {
      switch weight {
      case .query, .key, .value: shape.rows = 0..<(2 * shape.rows.count)
      case .output, .queryNorm, .keyNorm: shape.columns *= 2
      default: break
      }
      if Self.quantised.contains(weight), shape.columns.isMultiple(of: 32) { shape.type = .q4_0 }
    }
    return random.add(
      name.canonical,
      rows: shape.rows.count,
      columns: shape.columns,
      type: shape.type
    )
  }
}
