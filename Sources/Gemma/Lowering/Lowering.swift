// From a model and a slice of it to the program of one stage.
//
// What the stages of a pipeline share is decided here alone: what crosses each cut, which rows are
// still alive there, and which keys and values travel along.

package import Compute
internal import ModelFiles

/// Looks weights up by name; the checkpoint does, and so do tests.
package protocol WeightDirectory {
  /// Returns the weight, or some of its rows, as the model file holds it.
  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef
}

extension Checkpoint: WeightDirectory {}

extension ModelConfig {
  /// Returns the KV-owning layers whose keys and values must cross the cut before `layer`: their
  /// own layer lies before it, and a layer that shares them behind.
  package func sourcesCrossing(_ layer: Int) -> [Int] {
    let shared = (layer..<layers.count).map { layers[$0].kvSource }.filter { $0 < layer }
    return Set(shared).sorted()
  }

  /// Returns which rows are still computed at the cut before `layer`.
  ///
  /// A layer that owns no keys and values serves only its own rows' output. So rows whose output
  /// nobody wants end in the last layer that owns some, as soon as it has theirs.
  package func rowsAlive(at layer: Int) -> RowSet {
    layer < firstSkippedLayer ? .all : .wanted
  }

  /// Lowers some of the layers to the program of one stage; all logits go with the last layer.
  ///
  /// - Precondition: `layers` is a non-empty range of this model's layers.
  package func lower(
    _ layers: Range<Int>,
    weights: any WeightDirectory
  ) throws(GemmaError) -> Program {
    try lower(line.slice(layers: layers), weights: weights)
  }

  /// Lowers a slice of the model to the program of one stage.
  ///
  /// The first stage also embeds the tokens, the last layer's also norms the hidden rows. Logits leave in
  /// a buffer `[wanted, rows of the slice]`, behind the normed rows where other stages have logits to
  /// compute from them. Per-layer inputs are looked up by every stage for its own layers, from the tokens
  /// alone.
  ///
  /// - Precondition: `slice` is a piece of this model's line.
  package func lower(
    _ slice: ModelSlice,
    weights: any WeightDirectory
  ) throws(GemmaError) -> Program {
    precondition(line.holds(slice), "\(slice) is no piece of \(line)")
    let stage = slice.layers
    var lowering = StageLowering(config: self, slice: slice, weights: weights)
    try lowering.begin()
    for layer in stage {
      switch gemma3n {
      case .some(let gemma3n): try lowering.gemma3nLayer(layer, gemma3n)
      case nil: try lowering.gemma3Layer(layer)
      }
    }
    if passesAllLayers && !stage.isEmpty && stage.upperBound == layers.count { lowering.narrow() }
    try lowering.end()
    lowering.program.narrowingLayer = narrowingLayer
    return lowering.program
  }
}

/// The state of lowering one stage.
struct StageLowering {
  let config: ModelConfig
  let slice: ModelSlice
  let weights: any WeightDirectory
  var program: Program
  /// The residual stream `[streams, rows, d]` at the current layer; in a stage without layers the
  /// normed hidden rows `[rows, d]`.
  var streams: BufferID
  /// Which rows are computed at the current layer.
  var rows: RowSet
  /// By KV source: its rows of this step, where a later stage or layer needs them.
  private var sharedRows: [Int: (keys: BufferID, values: BufferID)] = [:]
  private var caches: [Int: CacheID] = [:]
  private var scratchBuffers: [Buffer: BufferID] = [:]

  init(config: ModelConfig, slice: ModelSlice, weights: any WeightDirectory) {
    self.config = config
    self.slice = slice
    self.weights = weights
    program = Program(layers: slice.layers)
    rows = config.rowsAlive(at: slice.layers.lowerBound)
    let holdsLayers = !slice.layers.isEmpty
    streams = program.add(
      Buffer(
        name: holdsLayers ? "streams" : "merged",
        planes: holdsLayers ? config.gemma3n?.streamCount ?? 1 : 1,
        width: config.hiddenSize,
        rows: rows
      )
    )
  }

  /// The layers of the stage.
  var stage: Range<Int> { slice.layers }

  // MARK: Weights and buffers

  func weight(_ name: LayerWeight, _ layer: Int) throws(GemmaError) -> WeightRef {
    try weights.weight(.layer(layer, name), rows: nil)
  }

  func weight(_ name: ModelWeight, rows: Range<Int>? = nil) throws(GemmaError) -> WeightRef {
    try weights.weight(.model(name), rows: rows)
  }

  func norm(_ weight: WeightRef?) -> NormParameters {
    NormParameters(
      weight: weight,
      gainOffset: weight == nil ? 0 : config.normGainOffset,
      epsilon: config.normEpsilon
    )
  }

  func norm(_ name: LayerWeight, _ layer: Int) throws(GemmaError) -> NormParameters {
    norm(try weight(name, layer))
  }

  /// Returns a buffer that layers use in turn: one for each name, shape and row set.
  mutating func scratch(_ name: String, planes: Int = 1, width: Int? = nil) -> BufferID {
    let buffer = Buffer(
      name: rows == .all ? name : "\(name).wanted",
      planes: planes,
      width: width ?? config.hiddenSize,
      rows: rows
    )
    if let known = scratchBuffers[buffer] { return known }
    let id = program.add(buffer)
    scratchBuffers[buffer] = id
    return id
  }

  /// Adds the op that norms a plane, and returns its output.
  mutating func normed(_ input: Plane, _ norm: NormParameters) -> BufferID {
    let output = scratch("normed")
    program.ops.append(.norm(Norm(input: input, norm: norm, output: output)))
    return output
  }
}

// MARK: - Both ends of a stage

extension StageLowering {
  /// What comes before the stage's first layer: the hand-off's inputs, or the embedding.
  mutating func begin() throws(GemmaError) {
    if stage.lowerBound == 0 {
      try embedStreams()
    } else {
      program.inputs.append(streams)
    }
    for source in config.sourcesCrossing(stage.lowerBound) {
      let shared = addSharedRows(source)
      program.inputs += [shared.keys, shared.values]
      guard stage.contains(where: { config.layers[$0].kvSource == source }) else { continue }
      program.ops.append(
        .appendKV(AppendKV(keys: shared.keys, values: shared.values, cache: cache(of: source)))
      )
    }
  }

  /// What comes behind the stage's last layer: the hand-off's outputs, and the stage's logits.
  mutating func end() throws(GemmaError) {
    guard stage.upperBound == config.layers.count else {
      program.outputs.append(streams)
      for source in config.sourcesCrossing(stage.upperBound) {
        guard let shared = sharedRows[source] else {
          preconditionFailure("layer \(source) leaves no rows to hand on from \(stage)")
        }
        program.outputs += [shared.keys, shared.values]
      }
      return
    }
    let merged = stage.isEmpty ? streams : try merge()
    if !config.line.isLast(slice) { program.outputs.append(merged) }
    guard !slice.vocabulary.isEmpty else { return }
    let logits = scratch("logits", width: slice.vocabulary.count)
    program.ops.append(
      .logits(
        Logits(
          input: merged,
          weight: try weight(config.head, rows: slice.vocabulary),
          softcap: config.finalSoftcap,
          output: logits
        )
      )
    )
    program.outputs.append(logits)
  }

  /// Adds the end of the last layer's streams: merged to one, and normed.
  private mutating func merge() throws(GemmaError) -> BufferID {
    var projections: [WeightRef] = []
    for index in 0..<((config.gemma3n?.streamCount ?? 1) - 1) {
      projections.append(try weight(.altupUnembedProjection(index)))
    }
    let merged = scratch("merged")
    program.ops.append(
      .mergeStreams(
        MergeStreams(
          streams: streams,
          projections: projections,
          norm: norm(try weight(.norm)),
          output: merged
        )
      )
    )
    return merged
  }

  /// Ends the rows whose output nobody wants, and keeps the others of the streams.
  mutating func narrow() {
    rows = .wanted
    streams = keepWanted(of: streams)
  }

  /// Adds the op that keeps a buffer's wanted rows, and returns its output.
  mutating func keepWanted(of input: BufferID) -> BufferID {
    let buffer = program[input]
    let output = scratch(buffer.name, planes: buffer.planes, width: buffer.width)
    program.ops.append(.keepWanted(KeepWanted(input: input, output: output)))
    return output
  }

  /// Adds the scaled embedding of the current rows' tokens.
  mutating func embedded() throws(GemmaError) -> BufferID {
    let output = scratch("embedding")
    program.ops.append(
      .embed(
        Embed(
          table: try weight(.embedTokens),
          scale: Float(config.hiddenSize).squareRoot(),
          output: output
        )
      )
    )
    return output
  }

  private mutating func embedStreams() throws(GemmaError) {
    let embedding = try embedded()
    var projections: [WeightRef] = []
    for index in 0..<((config.gemma3n?.streamCount ?? 1) - 1) {
      projections.append(try weight(.altupProjection(index)))
    }
    program.ops.append(
      .expandStreams(
        ExpandStreams(input: embedding, projections: projections, output: streams)
      )
    )
  }
}

// MARK: - Keys and values

extension StageLowering {
  private var kvWidth: Int { config.kvHeadCount * config.headDim }

  /// Returns the cache of a layer that owns keys and values.
  mutating func cache(of source: Int) -> CacheID {
    if let known = caches[source] { return known }
    let id = program.add(
      Cache(
        layer: source,
        kvHeadCount: config.kvHeadCount,
        headDim: config.headDim,
        window: config.layers[source].attention.window
      )
    )
    caches[source] = id
    return id
  }

  private mutating func addSharedRows(_ source: Int) -> (keys: BufferID, values: BufferID) {
    let shared = (
      keys: program.add(Buffer(name: "keys.\(source)", width: kvWidth, rows: .all)),
      values: program.add(Buffer(name: "values.\(source)", width: kvWidth, rows: .all))
    )
    sharedRows[source] = shared
    return shared
  }

  /// Adds what leaves a layer's keys and values, if it owns any: of every row that still is.
  mutating func fillCache(_ layer: Int, input: BufferID) throws(GemmaError) {
    guard config.layers[layer].kvSource == layer else { return }
    // Rows that leave the stage need buffers of their own; others share one pair.
    let leaves = config.sourcesCrossing(stage.upperBound).contains(layer)
    let rows =
      leaves
      ? addSharedRows(layer)
      : (keys: scratch("keys", width: kvWidth), values: scratch("values", width: kvWidth))
    program.ops.append(
      .projectKV(
        ProjectKV(
          input: input,
          headDim: config.headDim,
          rope: rope(layer),
          keyWeight: try weight(.key, layer),
          valueWeight: try weight(.value, layer),
          keyNorm: try norm(.keyNorm, layer),
          valueNorm: config.normsValues ? norm(nil) : nil,
          keys: rows.keys,
          values: rows.values
        )
      )
    )
    program.ops.append(
      .appendKV(AppendKV(keys: rows.keys, values: rows.values, cache: cache(of: layer)))
    )
  }

  private func rope(_ layer: Int) -> Rope {
    let rope = config.layers[layer].rope
    return Rope(theta: rope.theta, positionScale: rope.positionScale)
  }

  /// Adds a layer's attention over filled caches, from its normed input to the output projection.
  mutating func attention(_ layer: Int, input: BufferID) throws(GemmaError) -> BufferID {
    let queryWidth = config.headCount * config.headDim
    let queries = scratch("queries", width: queryWidth)
    program.ops.append(
      .projectQueries(
        ProjectQueries(
          input: input,
          headDim: config.headDim,
          rope: rope(layer),
          weight: try weight(.query, layer),
          norm: try norm(.queryNorm, layer),
          queries: queries
        )
      )
    )
    let attended = scratch("attended", width: queryWidth)
    program.ops.append(
      .attend(
        Attend(
          queries: queries,
          cache: cache(of: config.layers[layer].kvSource),
          headCount: config.headCount,
          scale: config.attentionScale,
          output: attended
        )
      )
    )
    let output = scratch("attention")
    program.ops.append(
      .matmul(Matmul(input: attended, weight: try weight(.output, layer), output: output))
    )
    return output
  }
}
