// What a slice of a model takes in memory: the one count that the planner, the coordinator and the
// search for a placement go by.
//
//   held = own (weights + keys and values + activations) + tables (of which rows are looked up)

package import Compute
package import Gemma
internal import ModelFiles

/// Bytes that a stage holds.
package struct HeldMemory: Sendable, Hashable {
  /// What no other stage has a part in: weights in the device's layout, caches, activations.
  package var own = 0
  /// The embedding table, and that of the per-layer embeddings; 0 where the stage reads none.
  package var embedding = 0
  package var perLayerEmbedding = 0

  package init(own: Int = 0, embedding: Int = 0, perLayerEmbedding: Int = 0) {
    self.own = own
    self.embedding = embedding
    self.perLayerEmbedding = perLayerEmbedding
  }

  package var total: Int { own + embedding + perLayerEmbedding }

  /// Returns what this stage and another one hold in one memory.
  ///
  /// In the host's memory a table is the model file's own pages, which all processes share: it counts once.
  package func joined(with other: HeldMemory) -> HeldMemory {
    HeldMemory(
      own: own + other.own,
      embedding: max(embedding, other.embedding),
      perLayerEmbedding: max(perLayerEmbedding, other.perLayerEmbedding)
    )
  }

  /// The same in a device's own memory, where each stage has tables of its own.
  package var copied: HeldMemory { HeldMemory(own: total) }

  /// Whether no part of it is more than of another.
  func isWithin(_ other: HeldMemory) -> Bool {
    own <= other.own && embedding <= other.embedding
      && perLayerEmbedding <= other.perLayerEmbedding
  }
}

/// What the pieces of a model take in memory.
package struct ModelFootprint: Sendable, Hashable {
  /// What a layer takes.
  package struct Layer: Sendable, Hashable {
    package var weightBytes: Int
    /// The layer whose keys and values it reads.
    ///
    /// A stage keeps those of every source that it needs.
    package var kvSource: Int
    /// Values of a position's keys, and as many of its values.
    package var kvWidth: Int
    /// How many positions a row sees; nil for all.
    package var window: Int?

    package init(weightBytes: Int, kvSource: Int, kvWidth: Int, window: Int?) {
      self.weightBytes = weightBytes
      self.kvSource = kvSource
      self.kvWidth = kvWidth
      self.window = window
    }
  }

  package var layers: [Layer]
  /// Weights before the first layer, and behind the last.
  package var entryBytes = 0
  package var exitBytes = 0
  /// The output matrix, all rows of it.
  package var headBytes = 0
  package var vocabularySize: Int
  package var embeddingBytes = 0
  package var perLayerEmbeddingBytes = 0
  /// f32 values that a row of a step has in the buffers of a stage, the logits excepted.
  package var rowWidth = 0
  /// The type of caches as precise as the weights.
  package var cacheType = CacheType.f16

  package init(layers: [Layer], vocabularySize: Int) {
    self.layers = layers
    self.vocabularySize = vocabularySize
  }

  /// Counts a model's weights, caches and buffers.
  ///
  /// - Throws: `GemmaError` if a weight is missing.
  package init(_ checkpoint: Checkpoint) throws(GemmaError) {
    let config = checkpoint.config
    let layers = config.layers.map { layer in
      let source = config.layers[layer.kvSource]
      return Layer(
        weightBytes: 0,
        kvSource: layer.kvSource,
        kvWidth: source.kvWidth,
        window: source.attention.window
      )
    }
    self.init(layers: layers, vocabularySize: config.vocabularySize)
    for weight in checkpoint.weights { add(weight, of: config) }
    let whole = try config.lower(0..<config.layers.count, weights: checkpoint)
    var logits: Set<BufferID> = []
    for case .logits(let op) in whole.ops { logits.insert(op.output) }
    for (index, buffer) in whole.buffers.enumerated()
    where !logits.contains(BufferID(index: index)) {
      rowWidth += buffer.planes * buffer.width
    }
    cacheType = whole.cacheType
  }

  private mutating func add(_ weight: Checkpoint.Weight, of config: ModelConfig) {
    let bytes = weight.tensor.byteCount
    switch weight.name {
    case .layer(let layer, _): layers[layer].weightBytes += bytes
    case .model(.perLayerModelProjection):
      for layer in layers.indices { layers[layer].weightBytes += bytes / layers.count }
    case .model(.altupProjection): entryBytes += bytes
    case .model(.altupUnembedProjection), .model(.norm): exitBytes += bytes
    case .model(.embedTokens): embeddingBytes += bytes
    case .model(.embedTokensPerLayer): perLayerEmbeddingBytes += bytes
    case .model(.head), .model(.perLayerProjectionNorm): break
    }
    if case .model(config.head) = weight.name { headBytes += bytes }
  }

  private func cacheBytes(
    of layer: Layer,
    _ limits: ExecutableLimits,
    _ type: CacheType
  ) -> Int {
    let capacity = CacheRing(window: layer.window, limits: limits).capacity
    return limits.slots * capacity * 2 * type.byteCount(of: layer.kvWidth)
  }

  /// Returns what a stage holds.
  ///
  /// - Parameters:
  ///   - slice: Its layers, and its rows of the output matrix.
  ///   - limits: What its executable has room for.
  ///   - cacheType: How it keeps keys and values.
  /// - Returns: The bytes.
  package func held(
    _ slice: ModelSlice,
    in limits: ExecutableLimits,
    cacheType: CacheType
  ) -> HeldMemory {
    var held = HeldMemory()
    held.own += slice.layers.reduce(0) { $0 + layers[$1].weightBytes }
    // A search asks for thousands of slices: sources are told apart without a set.
    var before: [Int] = []
    for layer in slice.layers {
      let source = layers[layer].kvSource
      if source != layer {
        guard source < slice.layers.lowerBound, !before.contains(source) else { continue }
        before.append(source)
      }
      held.own += cacheBytes(of: layers[source], limits, cacheType)
    }
    if slice.layers.contains(0) { held.own += entryBytes }
    if slice.layers.contains(layers.count - 1) { held.own += exitBytes }
    // Rows of the vocabulary cost the same each.
    held.own += Int(
      (Double(headBytes) * Double(slice.vocabulary.count) / Double(max(1, vocabularySize)))
        .rounded()
    )
    let width = (slice.layers.isEmpty ? 0 : rowWidth) + slice.vocabulary.count
    held.own += limits.maxRows * width * MemoryLayout<Float>.size
    guard !slice.layers.isEmpty else { return held }
    held.perLayerEmbedding = perLayerEmbeddingBytes
    // Per-layer inputs begin with the embedding, in each stage.
    if slice.layers.contains(0) || perLayerEmbeddingBytes > 0 { held.embedding = embeddingBytes }
    return held
  }
}
