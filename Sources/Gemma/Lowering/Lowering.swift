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
    for layer in stage { try lowering.decoderLayer(layer) }
    if passesAllLayers && !stage.isEmpty && stage.upperBound == layers.count { lowering.narrow() }
    try lowering.end()
    lowering.program.narrowingLayer = narrowingLayer
    return lowering.program
  }
}

/// The state of lowering one stage.
///
/// What comes before and behind the layers: StageLowering+Ends.swift; a layer: DecoderLayer.swift, and what
/// it is made of beside it.
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
  var sharedRows: [Int: (keys: BufferID, values: BufferID)] = [:]
  var caches: [Int: CacheID] = [:]
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
        planes: holdsLayers ? config.streamCount : 1,
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
