// Which weights a model of some config has, and their shapes.

extension ModelConfig {
  /// Every weight the model needs, with its shape, outermost dimension first.
  ///
  /// The order is part of a model's fingerprint.
  package var neededWeights: [(name: WeightName, shape: [Int])] {
    modelWeights.map { (.model($0), $1) }
      + layers.indices.flatMap { layer in
        layerWeights(layer).map { (.layer(layer, $0), $1) }
      }
  }

  private var modelWeights: [(ModelWeight, [Int])] {
    var weights: [(ModelWeight, [Int])] = [
      (.embedTokens, [vocabularySize, hiddenSize]),
      (.norm, [hiddenSize]),
    ]
    if hasOwnHead { weights.append((.head, [vocabularySize, hiddenSize])) }
    if let perLayerInput {
      let width = layers.count * perLayerInput.size
      weights += [
        (.embedTokensPerLayer, [perLayerInput.vocabularySize, width]),
        (.perLayerModelProjection, [width, hiddenSize]),
        (.perLayerProjectionNorm, [perLayerInput.size]),
      ]
    }
    for index in 0..<(streamCount - 1) {
      weights.append((.altupProjection(index), [hiddenSize, hiddenSize]))
      weights.append((.altupUnembedProjection(index), [hiddenSize, hiddenSize]))
    }
    return weights
  }

  private func layerWeights(_ layer: Int) -> [(LayerWeight, [Int])] {
    let record = layers[layer]
    let (queryWidth, kvWidth, headDim) = (record.queryWidth, record.kvWidth, record.headDim)
    var weights: [(LayerWeight, [Int])] = [
      (.inputNorm, [hiddenSize]),
      (.query, [queryWidth, hiddenSize]),
      (.queryNorm, [headDim]),
      (.output, [hiddenSize, queryWidth]),
      (.postAttentionNorm, [hiddenSize]),
      (.preFeedForwardNorm, [hiddenSize]),
      (.gate, [record.feedForwardSize, hiddenSize]),
      (.up, [record.feedForwardSize, hiddenSize]),
      (.down, [hiddenSize, record.feedForwardSize]),
      (.postFeedForwardNorm, [hiddenSize]),
    ]
    // Files keep keys and values of sharing layers too; they are not used.
    if record.kvSource == layer {
      weights += [
        (.key, [kvWidth, hiddenSize]), (.value, [kvWidth, hiddenSize]), (.keyNorm, [headDim]),
      ]
    }
    return weights + featureWeights
  }

  /// What the model's features add to a layer.
  private var featureWeights: [(LayerWeight, [Int])] {
    var weights: [(LayerWeight, [Int])] = []
    if let altUp {
      let streams = altUp.streamCount
      weights += [
        (.altupRouter, [streams, hiddenSize]),
        (.altupRouterNorm, [hiddenSize]),
        (.altupPrediction, [streams * streams, streams]),
        (.altupCorrection, [streams, streams]),
      ]
    }
    if let laurel {
      weights += [
        (.laurelLeft, [laurel.rank, hiddenSize]),
        (.laurelRight, [hiddenSize, laurel.rank]),
        (.laurelNorm, [hiddenSize]),
      ]
    }
    if let perLayerInput {
      weights += [
        (.perLayerGate, [perLayerInput.size, hiddenSize]),
        (.perLayerProjection, [hiddenSize, perLayerInput.size]),
        (.perLayerNorm, [hiddenSize]),
      ]
    }
    // Last, and not beside AltUp's others: a model's fingerprint follows this order.
    if altUp?.scalesActiveStream == true { weights.append((.altupOutputScale, [hiddenSize])) }
    return weights
  }
}
