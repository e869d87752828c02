// The cost of one decoded token for a stage, in bytes of weights read, because memory bandwidth
// bounds decode.

internal import Compute
internal import ModelFiles

/// Bytes of weights that one token reads.
package struct DecodeCost: Sendable, Hashable {
  /// Of each layer; what comes before the first and behind the last counts with them.
  package var layers: [Double]
  /// The bytes for the logits of the whole vocabulary; each row costs the same.
  package var head: Double
  /// The rows of the vocabulary.
  package var vocabularySize: Int

  /// The bytes of all layers and the head.
  package var total: Double { layers.reduce(head, +) }

  package init(layers: [Double], head: Double, vocabularySize: Int) {
    self.layers = layers
    self.head = head
    self.vocabularySize = vocabularySize
  }

  /// The line that is cut into stages.
  package var line: ModelLine {
    ModelLine(layerCount: layers.count, vocabularySize: vocabularySize)
  }

  /// Returns the bytes of a slice.
  package func bytes(of slice: ModelSlice) -> Double {
    let share = Double(slice.vocabulary.count) / Double(max(1, vocabularySize))
    return layers[slice.layers].reduce(head * share, +)
  }
}

extension Checkpoint {
  /// The bytes that one token reads, layer by layer.
  ///
  /// Rows that are looked up in a table are not counted, because they have only some kilobytes. Of
  /// a feed-forward with a sparse gate, only the weights of the remaining values count.
  package var decodeCost: DecodeCost {
    var cost = DecodeCost(
      layers: Array(repeating: 0, count: config.layers.count),
      head: 0,
      vocabularySize: config.vocabularySize
    )
    for weight in weights {
      let bytes = Double(weight.tensor.byteCount)
      switch weight.name {
      case .layer(let layer, let name):
        cost.layers[layer] += bytes * shareRead(name, weight.type, config.layers[layer])
      case .model(.perLayerModelProjection):
        for layer in cost.layers.indices { cost.layers[layer] += bytes / Double(cost.layers.count) }
      case .model(.altupProjection): cost.layers[0] += bytes
      case .model(.altupUnembedProjection): cost.layers[cost.layers.count - 1] += bytes
      case .model(config.head): cost.head += bytes
      case .model(.embedTokens), .model(.head), .model(.norm), .model(.embedTokensPerLayer),
        .model(.perLayerProjectionNorm):
        break
      }
    }
    return cost
  }

  private func shareRead(_ name: LayerWeight, _ type: TensorType, _ layer: LayerRecord) -> Double {
    guard let deviations = layer.sparsityDeviations else { return 1 }
    let gate = CutGate(deviations: deviations)
    switch name {
    case .up: return gate.shareOfUp(type)
    case .down: return gate.shareOfDown(type)
    default: return 1
    }
  }
}
