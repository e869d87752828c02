// Which weights a model with a given config has, and their shapes.

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
    // Files also have keys and values of the layers that share those of another; they are not used.
    if record.kvSource == layer {
      weights.append((.key, [kvWidth, hiddenSize]))
      if !record.valuesAreKeys { weights.append((.value, [kvWidth, hiddenSize])) }
      weights.append((.keyNorm, [headDim]))
    }
    return weights + featureWeights
  }

  /// The weights that the model's features add to a layer.
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
    // This weight comes last and not beside the others of AltUp, because fingerprints depend on the
    // order.
    if altUp?.scalesActiveStream == true { weights.append((.altupOutputScale, [hiddenSize])) }
    if scalesLayers { weights.append((.outputScale, [1])) }
    return weights
  }
}
