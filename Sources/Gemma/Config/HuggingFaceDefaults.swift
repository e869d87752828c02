// The defaults of transformers 5.24 for keys that a config.json lacks (configuration_gemma3.py,
// configuration_gemma3n.py and configuration_gemma4.py under models/).

/// The defaults of transformers for keys that a config lacks.
struct HuggingFaceDefaults {
  var vocabularySize, hiddenSize, feedForwardSize, layerCount, headCount, kvHeadCount: Int
  var headDim, contextTokens, window, fullPeriod, sharingCount: Int
  /// The head dimension of layers with full attention, where it has a default of its own.
  var fullHeadDim: Int?
  /// The width of a layer's own input; 0 for none.
  var perLayerInputSize = 0
  var finalSoftcap: Double?

  private static let gemma3 = HuggingFaceDefaults(
    vocabularySize: 262_208,
    hiddenSize: 2304,
    feedForwardSize: 9216,
    layerCount: 26,
    headCount: 8,
    kvHeadCount: 4,
    headDim: 256,
    contextTokens: 131_072,
    window: 4096,
    fullPeriod: 6,
    sharingCount: 0,
    finalSoftcap: nil
  )

  private static let gemma3n = HuggingFaceDefaults(
    vocabularySize: 262_400,
    hiddenSize: 2048,
    feedForwardSize: 16_384,
    layerCount: 35,
    headCount: 8,
    kvHeadCount: 2,
    headDim: 256,
    contextTokens: 32_768,
    window: 512,
    fullPeriod: 5,
    sharingCount: 15,
    perLayerInputSize: 256,
    finalSoftcap: 30
  )

  private static let gemma4 = HuggingFaceDefaults(
    vocabularySize: 262_144,
    hiddenSize: 2304,
    feedForwardSize: 9216,
    layerCount: 30,
    headCount: 8,
    kvHeadCount: 4,
    headDim: 256,
    contextTokens: 131_072,
    window: 512,
    fullPeriod: 6,
    sharingCount: 0,
    fullHeadDim: 512,
    perLayerInputSize: 256,
    finalSoftcap: nil
  )
}

extension HuggingFaceDefaults {
  init(_ architecture: Architecture) {
    switch architecture {
    case .gemma3: self = .gemma3
    case .gemma3n: self = .gemma3n
    case .gemma4: self = .gemma4
    }
  }
}
