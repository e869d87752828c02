// Runs tokens through a model a layer at a time, so that only one layer is in memory, for the model as it is and
// for variants of it with other weights, side by side.

internal import Compute
internal import Gemma

/// A model's layers one after the other, for windows of tokens.
///
/// A variant is the model until its first weight that differs; from there on it has activations of its own.
struct LayerStream {
  /// The activations of one variant behind a layer: for each window the tensors of the hand-off.
  typealias Activations = [[[Float]]]

  let config: ModelConfig
  let backend: any Backend
  let windows: [[Int32]]

  /// - Parameters:
  ///   - config: The model's.
  ///   - backend: What computes.
  ///   - windows: The tokens, of each window at least one.
  init(_ config: ModelConfig, on backend: any Backend, windows: [[Int32]]) {
    // Every row's logits are compared, so none is skipped, and all tensors have all rows.
    var config = config
    config.passesAllLayers = true
    self.config = config
    self.backend = backend
    self.windows = windows
  }

  private var longest: Int { windows.map(\.count).max() ?? 1 }

  /// The tokens of all windows.
  var tokenCount: Int { windows.reduce(0) { $0 + $1.count } }

  /// The layers of a model, as the slice that only has this one.
  func slice(layer: Int) -> ModelSlice { ModelSlice(layers: layer..<(layer + 1)) }

  /// Prepares one slice with some weights.
  ///
  /// - Parameters:
  ///   - slice: The slice.
  ///   - weights: The model's, or a variant's.
  ///   - runner: One of the same slice, whose weights are shared where they are the same; it must not have its caches
  ///     taken, so `slots` must differ.
  ///   - slots: How many slots the caches have.
  /// - Returns: What runs it.
  /// - Throws: What the backend throws.
  func prepare(
    _ slice: ModelSlice,
    _ weights: ReplacedWeights,
    sharing runner: ProgramRunner? = nil,
    slots: Int = 1
  ) throws -> ProgramRunner {
    try backend.prepare(
      try config.lower(slice, weights: weights),
      weights: weights,
      limits: ExecutableLimits(maxRows: longest, slots: slots, contextTokens: longest),
      sharing: runner,
      progress: { _ in }
    )
  }

  /// Runs all windows through a slice.
  ///
  /// - Parameters:
  ///   - runner: The slice.
  ///   - activations: Those behind the slice before; empty for the first one.
  /// - Returns: The activations behind it.
  /// - Throws: What the backend throws.
  func run(_ runner: ProgramRunner, _ activations: Activations) throws -> Activations {
    try windows.enumerated().map { index, tokens in
      runner.clear(slot: 0)
      return try runner.run(
        batch(tokens),
        inputs: activations.isEmpty ? [] : activations[index]
      )
    }
  }

  private func batch(_ tokens: [Int32]) -> Batch {
    Batch(
      rows: tokens.enumerated().map { position, token in
        Row(slot: 0, position: position, token: token, isWanted: true)
      }
    )
  }

  /// The vocabulary in pieces whose logits of all windows are some megabytes.
  var vocabularySlices: [ModelSlice] {
    let (layers, size) = (config.layers.count, config.vocabularySize)
    let width = min(16384, max(1024, (4 << 20) / max(tokenCount, 1)))
    return stride(from: 0, to: size, by: width).map { first in
      ModelSlice(layers: layers..<layers, vocabulary: first..<min(first + width, size))
    }
  }
}
