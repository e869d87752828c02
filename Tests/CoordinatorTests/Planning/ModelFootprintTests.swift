// What slices hold in memory, counted by hand.

import Compute
import Coordinator
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Memory that a slice holds` {
  // Three layers, of 100, 200 and 300 bytes. The second sees four positions, the third shares the keys and
  // values of the first. Rows of keys have 32 values.
  private var model: ModelFootprint {
    var model = ModelFootprint(
      layers: [
        ModelFootprint.Layer(weightBytes: 100, kvSource: 0, kvWidth: 32, window: nil),
        ModelFootprint.Layer(weightBytes: 200, kvSource: 1, kvWidth: 32, window: 4),
        ModelFootprint.Layer(weightBytes: 300, kvSource: 0, kvWidth: 32, window: nil),
      ],
      vocabularySize: 10
    )
    model.entryBytes = 10
    model.exitBytes = 20
    model.headBytes = 1000
    model.embeddingBytes = 5000
    model.rowWidth = 7
    return model
  }

  private let limits = ExecutableLimits(maxRows: 3, slots: 2, contextTokens: 16)

  private func held(
    _ model: ModelFootprint,
    _ layers: Range<Int>,
    _ vocabulary: Range<Int> = 0..<0,
    _ type: CacheType = .f16
  ) -> HeldMemory {
    model.held(
      ModelSlice(layers: layers, vocabulary: vocabulary),
      in: limits,
      cacheType: type
    )
  }

  @Test func `weights, caches, activations and tables are counted where they are`() {
    // 2 slots of 16 positions, keys and values of 32 f16 each: 4096. 3 rows of 7 f32: 84.
    #expect(
      held(model, 0..<1) == HeldMemory(own: 100 + 4096 + 10 + 84, embedding: 5000)
    )
    // A ring of 4 + 3 - 1 positions: 2 × 6 × 2 × 64.
    #expect(held(model, 1..<2) == HeldMemory(own: 200 + 1536 + 84))
    // The cache that it shares is copied; half of the output matrix, and a buffer for its logits.
    #expect(held(model, 2..<3, 0..<5) == HeldMemory(own: 300 + 4096 + 20 + 500 + 3 * (7 + 5) * 4))
    #expect(held(model, 3..<3, 5..<10) == HeldMemory(own: 500 + 3 * 5 * 4))
  }

  @Test func `a stage that has a cache's layer and one that shares it keeps it once`() {
    let both = held(model, 0..<3, 0..<10)
    #expect(both.own == 600 + 4096 + 1536 + 10 + 20 + 1000 + 3 * (7 + 10) * 4)
    #expect(both.total == both.own + 5000)
  }

  @Test func `the type of the caches counts`() {
    #expect(held(model, 0..<1, 0..<0, .f32).own == 100 + 8192 + 10 + 84)
    // A block of 32 values with its scale is 34 bytes.
    #expect(held(model, 0..<1, 0..<0, .q8_0).own == 100 + 2 * 16 * 2 * 34 + 10 + 84)
  }

  @Test func `per-layer embeddings take both tables to every stage with layers`() {
    var model = model
    model.perLayerEmbeddingBytes = 7000
    #expect(held(model, 1..<2).embedding == 5000 && held(model, 1..<2).perLayerEmbedding == 7000)
    #expect(held(model, 3..<3, 0..<10).total == held(model, 3..<3, 0..<10).own)
    // In the host's memory they are there once, in memories of devices' own once each.
    let (one, other) = (held(model, 0..<1), held(model, 1..<2))
    #expect(one.joined(with: other).total == one.own + other.own + 12_000)
    #expect(one.copied.joined(with: other.copied).total == one.own + other.own + 24_000)
  }

  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a", "demo-model"])
  func `all weights of a model are counted, and a tied matrix twice`(_ name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let footprint = try ModelFootprint(checkpoint)
    let config = checkpoint.config
    let whole = config.line.slice(layers: 0..<config.layers.count)
    let nothing = ExecutableLimits(maxRows: 0, slots: 0, contextTokens: 1)
    let held = footprint.held(whole, in: nothing, cacheType: .f32)
    let tied = config.head == .embedTokens ? footprint.headBytes : 0
    // A norm of a few values is counted nowhere, and a matrix of all layers is divided among them.
    let slack = 4096
    #expect(abs(held.total - checkpoint.totalByteCount - tied) < slack, "\(held)")
    let more = ExecutableLimits(maxRows: 2, slots: 0, contextTokens: 1)
    let scratch = footprint.held(whole, in: more, cacheType: .f32).own - held.own
    #expect(scratch == 2 * 4 * (footprint.rowWidth + config.vocabularySize))
    #expect(footprint.rowWidth > config.hiddenSize)
  }
}
