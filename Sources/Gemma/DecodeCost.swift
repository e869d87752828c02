// What one decoded token costs a stage, in the currency that bounds it: bytes of weights read.

internal import Compute

/// Bytes of weights that one token reads.
package struct DecodeCost: Sendable, Hashable {
  /// Of each layer.
  package var layers: [Double]
  /// Of the logits, and what else only the last stage computes.
  package var head: Double

  /// Of all layers and the head.
  package var total: Double { layers.reduce(head, +) }

  package init(layers: [Double], head: Double) {
    self.layers = layers
    self.head = head
  }

  /// Returns what a stage costs: its layers, and the head if it has the last one.
  package func bytes(of stage: Range<Int>) -> Double {
    layers[stage].reduce(stage.upperBound == layers.count ? head : 0, +)
  }
}

extension Checkpoint {
  /// The bytes one token reads, layer by layer.
  ///
  /// Rows looked up in a table are not counted: they are some kilobytes. Of a feed-forward whose gate
  /// is cut, only what is left counts.
  package var decodeCost: DecodeCost {
    var cost = DecodeCost(layers: Array(repeating: 0, count: config.layers.count), head: 0)
    for weight in weights {
      let bytes = Double(weight.tensor.byteCount)
      switch weight.name {
      case .layer(let layer, let name):
        cost.layers[layer] += bytes * shareRead(name, weight.type, config.layers[layer])
      case .model(.perLayerModelProjection):
        for layer in cost.layers.indices { cost.layers[layer] += bytes / Double(cost.layers.count) }
      case .model(.altupProjection): cost.layers[0] += bytes
      case .model(.embedTokens), .model(.altupUnembedProjection): cost.head += bytes
      case .model(.norm), .model(.embedTokensPerLayer), .model(.perLayerProjectionNorm): break
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
