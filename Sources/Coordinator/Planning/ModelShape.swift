// A model as placement sees it: which layers cost the same, what crosses each cut, what takes memory.

internal import Compute
package import Gemma
internal import ModelFiles

/// Layers that cost the same: of one shape and one storage.
package struct LayerClass: Sendable, Hashable, Codable, CustomStringConvertible {
  /// How many positions a row sees; nil for all.
  package var window: Int?
  package var ownsKeysAndValues: Bool
  package var hiddenSize: Int
  package var heads: Int
  package var kvHeads: Int
  package var headDim: Int
  package var feedForwardSize: Int
  /// Standard deviations above the mean under which a gate is cut; nil for a dense gate.
  package var sparsityDeviations: Float?
  /// Of weights, that the layer takes in memory.
  package var weightBytes: Int
  /// Of weights, that one decoded token reads.
  package var readBytes: Int

  package init(
    window: Int?,
    ownsKeysAndValues: Bool,
    hiddenSize: Int,
    heads: Int,
    kvHeads: Int,
    headDim: Int,
    feedForwardSize: Int,
    sparsityDeviations: Float?,
    weightBytes: Int,
    readBytes: Int
  ) {
    self.window = window
    self.ownsKeysAndValues = ownsKeysAndValues
    self.hiddenSize = hiddenSize
    self.heads = heads
    self.kvHeads = kvHeads
    self.headDim = headDim
    self.feedForwardSize = feedForwardSize
    self.sparsityDeviations = sparsityDeviations
    self.weightBytes = weightBytes
    self.readBytes = readBytes
  }

  package var description: String {
    let attention = window.map { "sliding \($0)" } ?? "full"
    let cache = ownsKeysAndValues ? "own K/V" : "shared K/V"
    let gate = sparsityDeviations == nil ? "dense" : "cut"
    return "\(attention), \(cache), \(gate) \(feedForwardSize)x\(hiddenSize), \(weightBytes) bytes"
  }

  /// Checks what a file says.
  ///
  /// - Throws: `CoordinatorError` with code `profile`.
  func validate(_ name: String) throws(CoordinatorError) {
    let sizes = [
      window ?? 1, hiddenSize, heads, kvHeads, headDim, feedForwardSize, weightBytes, readBytes,
    ]
    guard sizes.allSatisfy({ (0...(1 << 48)).contains($0) }) else {
      throw CoordinatorError(.profile, "\(name): a size of \(self) is outside 0...2^48")
    }
    if let deviations = sparsityDeviations, !deviations.isFinite {
      throw CoordinatorError(
        .profile,
        "\(name): sparsity_deviations \(deviations) is not a finite number"
      )
    }
  }
}

/// A model as placement sees it.
package struct ModelShape: Sendable, Hashable {
  /// The layer in which rows whose output is not wanted end.
  package struct Narrowing: Sendable, Hashable {
    package var layer: Int
    /// The share of the layer's weights that such rows need: those of their keys and values.
    package var share: Double

    package init(layer: Int, share: Double) {
      self.layer = layer
      self.share = share
    }
  }

  package var layers: [LayerClass]
  /// Read by each step of the first stage, for the embedding's projections.
  package var entryBytes: Int
  /// Read by each step behind the last layer, to merge its streams.
  package var exitBytes: Int
  /// Read by each step that wants an output, for the logits of all rows of the vocabulary.
  package var headBytes: Int
  package var vocabularySize: Int
  /// The first layer that only wanted rows pass.
  package var firstSkippedLayer: Int
  /// Where the other rows end; nil if that is not known, or all rows pass all layers.
  package var narrowing: Narrowing?
  /// Bytes of the residual streams that a row still computed takes over a cut.
  package var streamBytes: Int
  /// What its pieces take in memory.
  package var footprint: ModelFootprint
  /// By the layer behind the cut, from 0: bytes of the keys and values that go along with each row.
  package var sharedBytes: [Int]

  package init(
    layers: [LayerClass],
    entryBytes: Int,
    exitBytes: Int,
    headBytes: Int,
    vocabularySize: Int,
    firstSkippedLayer: Int,
    streamBytes: Int,
    footprint: ModelFootprint,
    sharedBytes: [Int]
  ) {
    precondition(sharedBytes.count == layers.count, "a cut before each layer")
    self.layers = layers
    self.entryBytes = entryBytes
    self.exitBytes = exitBytes
    self.headBytes = headBytes
    self.vocabularySize = vocabularySize
    self.firstSkippedLayer = firstSkippedLayer
    self.streamBytes = streamBytes
    self.footprint = footprint
    self.sharedBytes = sharedBytes
  }

  /// Takes what placement needs from a model; `passesAllLayers` as in `ModelConfig`.
  ///
  /// - Throws: `GemmaError` if a weight is missing.
  package init(_ checkpoint: Checkpoint, passesAllLayers: Bool) throws(GemmaError) {
    var config = checkpoint.config
    config.passesAllLayers = passesAllLayers
    let cost = checkpoint.decodeCost
    var weightBytes = Array(repeating: 0, count: config.layers.count)
    var (entryBytes, exitBytes, narrowingBytes) = (0, 0, 0)
    for weight in checkpoint.weights {
      switch weight.name {
      case .layer(let layer, let name):
        weightBytes[layer] += weight.tensor.byteCount
        if layer == config.narrowingLayer, name == .key || name == .value {
          narrowingBytes += weight.tensor.byteCount
        }
      case .model(.altupProjection): entryBytes += weight.tensor.byteCount
      case .model(.altupUnembedProjection): exitBytes += weight.tensor.byteCount
      case .model(.perLayerModelProjection):
        for layer in weightBytes.indices {
          weightBytes[layer] += weight.tensor.byteCount / weightBytes.count
        }
      case .model: break
      }
    }
    let last = config.layers.count - 1
    let layers = config.layers.indices.map { index in
      let layer = config.layers[index]
      // `decodeCost` counts the two ends with the layers there.
      let ends = (index == 0 ? entryBytes : 0) + (index == last ? exitBytes : 0)
      return LayerClass(
        window: layer.attention.window,
        ownsKeysAndValues: layer.kvSource == index,
        hiddenSize: config.hiddenSize,
        heads: layer.headCount,
        kvHeads: layer.kvHeadCount,
        headDim: layer.headDim,
        feedForwardSize: layer.feedForwardSize,
        sparsityDeviations: layer.sparsityDeviations,
        weightBytes: weightBytes[index],
        readBytes: Int((cost.layers[index] - Double(ends)).rounded())
      )
    }
    self.init(
      layers: layers,
      entryBytes: entryBytes,
      exitBytes: exitBytes,
      headBytes: Int(cost.head),
      vocabularySize: config.vocabularySize,
      firstSkippedLayer: config.firstSkippedLayer,
      streamBytes: config.streamCount * config.hiddenSize
        * MemoryLayout<Float>.size,
      footprint: try ModelFootprint(checkpoint),
      sharedBytes: config.layers.indices.map { layer in
        config.sourcesCrossing(layer).reduce(0) { sum, source in
          sum + 2 * config.layers[source].kvWidth * MemoryLayout<Float>.size
        }
      }
    )
    narrowing = config.narrowingLayer.map {
      Narrowing(layer: $0, share: Double(narrowingBytes) / Double(max(1, weightBytes[$0])))
    }
  }

  /// Returns the rows that a layer computes of a step.
  package func rows(at layer: Int, of step: StepSize) -> Int {
    layer < firstSkippedLayer ? step.rows : step.wanted
  }

  /// Returns the share of a layer's weights that a step needs.
  func shareRead(at layer: Int, of step: StepSize) -> Double {
    guard rows(at: layer, of: step) > 0 else { return 0 }
    guard step.wanted == 0, let narrowing, narrowing.layer == layer else { return 1 }
    return narrowing.share
  }

  /// What stages are cut from.
  package var line: ModelLine {
    ModelLine(layerCount: layers.count, vocabularySize: vocabularySize)
  }

  /// The share of the head's bytes that end the last layer.
  var exitShare: Double { Double(exitBytes) / Double(max(1, exitBytes + headBytes)) }

  /// Returns the bytes that a slice has of the head.
  func headBytes(of slice: ModelSlice) -> Double {
    let share = Double(slice.vocabulary.count) / Double(vocabularySize)
    let hasEnd = slice.layers.upperBound == layers.count && !slice.layers.isEmpty
    return Double(headBytes) * share + (hasEnd ? Double(exitBytes) : 0)
  }

  /// Returns the bytes that a step hands on over the cut before a slice: behind the layers, the normed
  /// hidden rows and the logits so far.
  package func handOffBytes(before slice: ModelSlice, _ step: StepSize) -> Double {
    guard !slice.layers.isEmpty else {
      let width = (layers.first?.hiddenSize ?? 0) + slice.vocabulary.lowerBound
      return Double(width * MemoryLayout<Float>.size) * Double(step.wanted)
    }
    let layer = slice.layers.lowerBound
    return Double(streamBytes) * Double(rows(at: layer, of: step))
      + Double(sharedBytes[layer]) * Double(step.rows)
  }
}

/// How many rows a step has, and how many of them want an output.
package struct StepSize: Sendable, Hashable {
  package var rows: Int
  package var wanted: Int

  package init(rows: Int, wanted: Int) {
    self.rows = rows
    self.wanted = wanted
  }

  /// A step that decodes so many streams.
  package static func decoding(_ rows: Int) -> StepSize { StepSize(rows: rows, wanted: rows) }

  /// A step in the middle of a prompt: nothing is wanted of it but keys and values.
  package static func prompt(_ rows: Int) -> StepSize { StepSize(rows: rows, wanted: 0) }
}
