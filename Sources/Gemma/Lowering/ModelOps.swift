// The ops of each piece of a model, for whoever asks what a device must be able to do.

package import Compute

/// What a model is made of for a device: the ops of each layer, and those of the logits.
package struct ModelOps: Sendable, Hashable {
  /// By layer: the ops of a stage of this layer alone; what comes before the first and behind the last
  /// is with them.
  package var layers: [[Op]]
  /// The ops of a stage that computes logits alone.
  package var logits: [Op]

  package init(layers: [[Op]], logits: [Op]) {
    self.layers = layers
    self.logits = logits
  }
}

extension ModelConfig {
  /// Returns the ops of each piece of the model.
  ///
  /// - Throws: `GemmaError` if a weight is missing.
  package func ops(weights: any WeightDirectory) throws(GemmaError) -> ModelOps {
    var ops: [[Op]] = []
    for layer in layers.indices {
      ops.append(try lower(ModelSlice(layers: layer..<(layer + 1)), weights: weights).ops)
    }
    let logits = ModelSlice(layers: layers.count..<layers.count, vocabulary: 0..<vocabularySize)
    return ModelOps(layers: ops, logits: try lower(logits, weights: weights).ops)
  }
}
