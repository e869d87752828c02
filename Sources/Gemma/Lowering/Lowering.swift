// Lowers a slice of a model to the program of one stage.
//
// The interface between stages is decided here alone: what crosses each cut, which rows are still
// computed there, and which keys and values are handed on.

package import Compute
internal import ModelFiles

/// Looks up weights by name.
///
/// The checkpoint implements it, and so do tests.
package protocol WeightDirectory {
  /// Returns the weight, or some of its rows, as the model file holds it.
  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef
}

extension Checkpoint: WeightDirectory {}

extension ModelConfig {
  /// Returns the KV-owning layers whose keys and values must cross the cut before `layer`: the
  /// owner is before the cut, and a layer that shares them is after it.
  package func sourcesCrossing(_ layer: Int) -> [Int] {
    let shared = (layer..<layers.count).map { layers[$0].kvSource }.filter { $0 < layer }
    return Set(shared).sorted()
  }

  /// Returns which rows are still computed at the cut before `layer`.
  ///
  /// A layer that owns no keys and values contributes only to the output of its own rows. So rows
  /// whose output is not wanted end in the last layer that owns keys and values, as soon as theirs
  /// are in the cache.
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
  /// The first stage also embeds the tokens, and the stage with the last layer also norms the
  /// hidden rows. Logits are output in a buffer `[wanted, rows of the slice]`. It comes after the
  /// normed rows, which are output if other stages compute more logits from them. Each stage looks
  /// up the per-layer inputs of its own layers from the tokens alone.
  ///
  /// - Precondition: `slice` is a piece of this model's line.
  package func lower(
    _ slice: ModelSlice,
    weights: any WeightDirectory
  ) throws(GemmaError) -> Program {
    precondition(line.holds(slice), "\(slice) is not a piece of \(line)")
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
/// StageLowering+Ends.swift has what comes before and after the layers, DecoderLayer.swift a layer,
/// and the other files its parts.
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
  /// The rows of this step of each KV source that a later stage or layer needs.
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

  /// Returns a buffer that layers reuse, one for each name, shape and row set.
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
