// Where the inputs of a model's products stand in the vector that calibration asks for: each has a
// place of its own, none is left out, and the vector is the same however the model is cut.

import Compute
import Foundation
import TestSupport
import Testing

@testable import Gemma

@Suite struct `Layout of observed inputs` {
  private func open(_ name: String) throws -> Checkpoint {
    try Checkpoint.open(Goldens.checkpoint(name).path)
  }

  /// Two slots, of whose rows some are wanted.
  private let batch = Batch(
    rows: (0..<7).map { index in
      Row(
        slot: index < 4 ? 1 : 0,
        position: index < 4 ? index : index - 4,
        token: Int32(index * 31 + 5),
        isWanted: index % 3 == 2
      )
    }
  )

  /// The same rows, all of them wanted, as calibration has them.
  private var wantedBatch: Batch {
    Batch(
      rows: batch.rows.map {
        Row(slot: $0.slot, position: $0.position, token: $0.token, isWanted: true)
      }
    )
  }

  /// Runs one step through stages and returns what each has observed.
  private func observe(
    _ checkpoint: Checkpoint,
    _ slices: [ModelSlice],
    _ batch: Batch
  ) throws -> [[ObservedInput]] {
    var activations: [[Float]] = []
    return try slices.map { slice in
      var program = try checkpoint.config.lower(slice, weights: checkpoint)
      program.observesInputs = true
      let limits = ExecutableLimits(maxRows: 8, slots: 2, contextTokens: 16)
      let runner = try ReferenceBackend().prepare(program, weights: checkpoint, limits: limits) {
        _ in
      }
      let inputs = Array(activations.prefix(program.inputs.count))
      activations = try runner.run(batch, inputs: inputs)
      return runner.executable.observedInputs
    }
  }

  private func vector(_ layout: ObservationLayout, _ stages: [[ObservedInput]]) -> [Float] {
    var vector = Array(repeating: Float(0), count: layout.count)
    for stage in stages { layout.add(stage, to: &vector) }
    return vector
  }

  private func whole(_ config: ModelConfig) -> ModelSlice {
    ModelSlice(layers: 0..<config.line.layerCount, vocabulary: 0..<config.line.vocabularySize)
  }

  @Test(arguments: Goldens.random + ["demo-model"])
  func `places follow one another without gaps to the vector's end`(_ name: String) throws {
    let layout = ObservationLayout(try open(name).config)
    var end = 0
    for place in layout.places {
      #expect(place.sums.lowerBound == end && !place.sums.isEmpty, "\(place.name.canonical)")
      #expect(place.rowCount == place.sums.upperBound)
      end = place.rowCount + 1
    }
    #expect(layout.count == end)
    #expect(Set(layout.places.map(\.name.canonical)).count == layout.places.count)
  }

  /// Names are judged by their spelling here, not by the code's own rule.
  @Test(arguments: Goldens.random + ["demo-model"])
  func `every matrix that rows are multiplied with has a place as wide as its rows`(
    _ name: String
  ) throws {
    let config = try open(name).config
    let layout = ObservationLayout(config)
    let places = Dictionary(
      uniqueKeysWithValues: layout.places.map { ($0.name.canonical, $0.sums.count) }
    )
    var expected: [String: Int] = [:]
    for (weight, shape) in config.neededWeights where shape.count == 2 {
      let spelling = weight.canonical
      // Tables for tokens alone, and AltUp's routers and coefficients.
      if spelling.contains("embed_tokens_per_layer") { continue }
      if ["modality_router", "prediction_coefs", "correction_coefs"].contains(
        where: spelling.contains
      ) {
        continue
      }
      if spelling.contains("embed_tokens"), config.hasOwnHead { continue }
      expected[spelling] = shape[1]
    }
    #expect(places == expected)
    #expect(places.values.reduce(0, +) + places.count == layout.count)
  }

  @Test(arguments: Goldens.random)
  func `a whole model's step fills every place, and nothing else is observed`(_ name: String) throws
  {
    let checkpoint = try open(name)
    let layout = ObservationLayout(checkpoint.config)
    let observed = try observe(checkpoint, [whole(checkpoint.config)], batch)[0]
    let names = Set(layout.places.map(\.name.canonical))
    #expect(Set(observed.map(\.weight.name)) == names)
    for input in observed {
      #expect(input.sums.count == input.weight.columns)
      #expect(
        [batch.rows.count, batch.wantedRows.count].contains(input.rowCount),
        "\(input.weight.name)"
      )
    }
    let vector = vector(layout, [observed])
    for place in layout.places {
      let told = observed.filter { $0.weight.name == place.name.canonical }
      // Rows of one weight may be used by several ops.
      let sums = told.dropFirst().reduce(told[0].sums) { zip($0, $1.sums).map { $0 + $1 } }
      #expect(Array(vector[place.sums]) == sums, "\(place.name.canonical)")
      #expect(vector[place.sums].contains { $0 > 0 }, "\(place.name.canonical)")
      #expect(vector[place.rowCount] == Float(told.reduce(0) { $0 + $1.rowCount }))
    }
  }

  /// Cuts into one layer a stage, and before, at and behind the layer where rows end.
  private func cuts(_ config: ModelConfig) -> [[ModelSlice]] {
    let line = config.line
    let narrowing = config.narrowingLayer ?? line.layerCount
    var cuts = [Array(1..<line.layerCount)]
    for cut in Set([1, narrowing - 1, narrowing, narrowing + 1, line.layerCount - 1]).sorted()
    where (1..<line.layerCount).contains(cut) { cuts.append([cut]) }
    return cuts.map { cut in
      let ends = cut + [line.layerCount]
      return zip([0] + ends, ends).map { line.slice(layers: $0..<$1) }
    }
  }

  @Test(arguments: Goldens.random)
  func `the vectors of a cut model's stages add up to the whole one's`(_ name: String) throws {
    let checkpoint = try open(name)
    let layout = ObservationLayout(checkpoint.config)
    let want = vector(layout, try observe(checkpoint, [whole(checkpoint.config)], batch))
    // Each stage has rows of this one, so that its input counts once for each.
    let places = layout.places.filter { $0.name != .model(.perLayerModelProjection) }
    for slices in cuts(checkpoint.config) {
      let got = vector(layout, try observe(checkpoint, slices, batch))
      let wrong = places.filter {
        got[$0.sums] != want[$0.sums] || got[$0.rowCount] != want[$0.rowCount]
      }
      #expect(wrong.isEmpty, "\(slices.map(\.layers)): \(wrong.map(\.name.canonical))")
    }
  }

  @Test(arguments: Goldens.random)
  func `weights that several stages have rows of keep their means where all rows are wanted`(
    _ name: String
  ) throws {
    let checkpoint = try open(name)
    let config = checkpoint.config
    let (line, layout) = (config.line, ObservationLayout(config))
    let want = vector(layout, try observe(checkpoint, [whole(config)], wantedBatch))
    let (count, size) = (line.layerCount, line.vocabularySize)
    let cutLogits = [
      ModelSlice(layers: 0..<count, vocabulary: 0..<64),
      ModelSlice(layers: count..<count, vocabulary: 64..<128),
      ModelSlice(layers: count..<count, vocabulary: 128..<size),
    ]
    for slices in cuts(config) + [cutLogits] {
      let got = vector(layout, try observe(checkpoint, slices, wantedBatch))
      for place in layout.places {
        let factor = got[place.rowCount] / want[place.rowCount]
        let mayRepeat =
          place.name == .model(.perLayerModelProjection)
          || place.name == .model(config.hasOwnHead ? .head : .embedTokens)
        #expect(
          mayRepeat ? Int(got[place.rowCount]).isMultiple(of: wantedBatch.rows.count) : factor == 1
        )
        let isSame = zip(got[place.sums], want[place.sums]).allSatisfy {
          abs($0 - factor * $1) <= 1e-5 * factor * $1
        }
        #expect(isSame, "\(slices.map(\.layers)): \(place.name.canonical)")
      }
    }
    let head = try #require(
      layout.places.first { $0.name == .model(config.hasOwnHead ? .head : .embedTokens) }
    )
    let cut = vector(layout, try observe(checkpoint, cutLogits, wantedBatch))
    #expect(cut[head.rowCount] == 3 * want[head.rowCount])
  }

  @Test func `what is added is added, step after step`() throws {
    let checkpoint = try open("gemma3-random-a")
    let layout = ObservationLayout(checkpoint.config)
    let observed = try observe(checkpoint, [whole(checkpoint.config)], batch)
    let once = vector(layout, observed)
    #expect(vector(layout, observed + observed) == once.map { 2 * $0 })
  }
}
