// Which weights a model of some config has, and their shapes.

extension ModelConfig {
  /// Every weight the model needs, with its shape, outermost dimension first.
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
    guard let gemma3n else { return weights }
    let width = layers.count * gemma3n.perLayerInputSize
    weights += [
      (.embedTokensPerLayer, [gemma3n.perLayerVocabularySize, width]),
      (.perLayerModelProjection, [width, hiddenSize]),
      (.perLayerProjectionNorm, [gemma3n.perLayerInputSize]),
    ]
    for index in 0..<(gemma3n.streamCount - 1) {
      weights.append((.altupProjection(index), [hiddenSize, hiddenSize]))
      weights.append((.altupUnembedProjection(index), [hiddenSize, hiddenSize]))
    }
    return weights
  }

  private func layerWeights(_ layer: Int) -> [(LayerWeight, [Int])] {
    let record = layers[layer]
    let queryWidth = headCount * headDim
    let keyWidth = kvHeadCount * headDim
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
        (.key, [keyWidth, hiddenSize]), (.value, [keyWidth, hiddenSize]), (.keyNorm, [headDim]),
      ]
    }
    if let gemma3n { weights += layerWeights(gemma3n) }
    return weights
  }

  private func layerWeights(_ gemma3n: Gemma3nConfig) -> [(LayerWeight, [Int])] {
    let streams = gemma3n.streamCount
    var weights: [(LayerWeight, [Int])] = [
      (.altupRouter, [streams, hiddenSize]),
      (.altupRouterNorm, [hiddenSize]),
      (.altupPrediction, [streams * streams, streams]),
      (.altupCorrection, [streams, streams]),
      (.laurelLeft, [gemma3n.laurelRank, hiddenSize]),
      (.laurelRight, [hiddenSize, gemma3n.laurelRank]),
      (.laurelNorm, [hiddenSize]),
      (.perLayerGate, [gemma3n.perLayerInputSize, hiddenSize]),
      (.perLayerProjection, [hiddenSize, gemma3n.perLayerInputSize]),
      (.perLayerNorm, [hiddenSize]),
    ]
    if gemma3n.scalesActiveStream { weights.append((.altupOutputScale, [hiddenSize])) }
    return weights
  }
}
