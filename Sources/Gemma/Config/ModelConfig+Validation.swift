// Refuses sizes that no Gemma model can have, before anything is computed or allocated from them.

internal import ModelFiles

// The largest sizes we read. Far beyond the largest Gemma (62 layers, width 5376, 262,208 tokens,
// 131,072 positions), and small enough that no product of three of them overflows.
private enum Limit {
  static let layers = 1024
  static let heads = 1024
  static let width = 1 << 20
  static let tokens = 1 << 24
  static let streams = 16
}

extension ModelConfig {
  /// Checks that the sizes are sane and agree with each other.
  ///
  /// - Parameter place: The file, for the error.
  /// - Throws: `GemmaError.config` that names the size and its value.
  func validate(_ place: String) throws(GemmaError) {
    func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(GemmaError) {
      guard range.contains(value) else {
        throw GemmaError(
          .config,
          "\(name) is \(value), outside \(range.lowerBound)...\(range.upperBound)",
          context: place
        )
      }
    }
    func check(_ name: String, _ value: Float) throws(GemmaError) {
      guard value.isFinite, value > 0 else {
        throw GemmaError(.config, "\(name) is \(value), not a positive number", context: place)
      }
    }
    try check("layer count", layers.count, 1...Limit.layers)
    try check("vocabulary size", vocabularySize, 1...Limit.tokens)
    try check("hidden size", hiddenSize, 1...Limit.width)
    try check("head count", headCount, 1...Limit.heads)
    try check("KV head count", kvHeadCount, 1...headCount)
    try check("head dimension", headDim, 2...Limit.width)
    try check("context length", contextTokens, 1...Limit.tokens)
    try check("norm epsilon", normEpsilon)
    try check("attention scale", attentionScale)
    if let finalSoftcap { try check("final soft cap", finalSoftcap) }
    try check("BOS token", Int(bosToken), 0...(vocabularySize - 1))
    for token in eosTokens { try check("EOS token", Int(token), 0...Int(Int32.max)) }
    guard headCount.isMultiple(of: kvHeadCount) else {
      throw GemmaError(
        .config,
        "\(headCount) heads cannot share \(kvHeadCount) KV heads evenly",
        context: place
      )
    }
    guard headDim.isMultiple(of: 2) else {
      throw GemmaError(
        .config,
        "head dimension \(headDim) is odd, RoPE needs pairs",
        context: place
      )
    }
    for (index, layer) in layers.enumerated() {
      try check("feed-forward size of layer \(index)", layer.feedForwardSize, 1...Limit.width)
      try check("RoPE theta of layer \(index)", layer.rope.theta)
      try check("RoPE position scale of layer \(index)", layer.rope.positionScale)
      if let window = layer.attention.window {
        try check("sliding window", window, 1...Limit.tokens)
      }
      if let deviations = layer.sparsityDeviations, !deviations.isFinite {
        throw GemmaError(
          .config,
          "activation sparsity of layer \(index) is \(deviations)",
          context: place
        )
      }
    }
    guard let gemma3n else { return }
    try check("AltUp stream count", gemma3n.streamCount, 2...Limit.streams)
    try check("active AltUp stream", gemma3n.activeStream, 0...(gemma3n.streamCount - 1))
    try check("LAuReL rank", gemma3n.laurelRank, 1...Limit.width)
    try check("per-layer input size", gemma3n.perLayerInputSize, 1...Limit.width)
    try check("per-layer vocabulary size", gemma3n.perLayerVocabularySize, 1...Limit.tokens)
  }

  /// Checks a layer count before arrays of that length are made.
  static func checkLayerCount(_ count: Int, _ place: String) throws(GemmaError) {
    guard (1...Limit.layers).contains(count) else {
      throw GemmaError(
        .config,
        "layer count is \(count), outside 1...\(Limit.layers)",
        context: place
      )
    }
  }
}
