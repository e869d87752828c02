// Refuses impossible sizes before anything is computed or allocated from them.

internal import ModelFiles

// The largest sizes that are accepted. They are far beyond the largest Gemma (62 layers, width
// 5376, 262,208 tokens, 131,072 positions), and small enough that no product of three of them
// overflows.
private enum Limit {
  static let layers = 1024
  static let heads = 1024
  static let width = 1 << 20
  static let tokens = 1 << 24
  static let streams = 16
}

/// Checks numbers of one file.
private struct SizeCheck {
  /// The file, for the error.
  let place: String

  func callAsFunction(
    _ name: String,
    _ value: Int,
    _ range: ClosedRange<Int>
  ) throws(GemmaError) {
    guard range.contains(value) else {
      throw GemmaError(
        .config,
        "\(name) is \(value), outside \(range.lowerBound)...\(range.upperBound)",
        context: place
      )
    }
  }

  func callAsFunction(_ name: String, _ value: Float) throws(GemmaError) {
    guard value.isFinite, value > 0 else {
      throw GemmaError(.config, "\(name) is \(value), not a positive number", context: place)
    }
  }
}

extension ModelConfig {
  /// Checks that the sizes are possible and consistent.
  ///
  /// - Parameter place: The file, for the error.
  /// - Throws: `GemmaError.config` that names the size and its value.
  func validate(_ place: String) throws(GemmaError) {
    let check = SizeCheck(place: place)
    try check("layer count", layers.count, 1...Limit.layers)
    try check("vocabulary size", vocabularySize, 1...Limit.tokens)
    try check("hidden size", hiddenSize, 1...Limit.width)
    try check("context length", contextTokens, 1...Limit.tokens)
    try check("norm epsilon", normEpsilon)
    if let finalSoftcap { try check("final soft cap", finalSoftcap) }
    try check("BOS token", Int(bosToken), 0...(vocabularySize - 1))
    for token in eosTokens { try check("EOS token", Int(token), 0...Int(Int32.max)) }
    for index in layers.indices {
      try validateHeads(of: index, check)
      try validateRest(of: index, check)
    }
    if let altUp {
      try check("AltUp stream count", altUp.streamCount, 2...Limit.streams)
      try check("active AltUp stream", altUp.activeStream, 0...(altUp.streamCount - 1))
    }
    if let laurel { try check("LAuReL rank", laurel.rank, 1...Limit.width) }
    if let perLayerInput {
      try check("per-layer input size", perLayerInput.size, 1...Limit.width)
      try check("per-layer vocabulary size", perLayerInput.vocabularySize, 1...Limit.tokens)
    }
    if altUp != nil, scalesLayers {
      throw GemmaError(.unsupported, "layers that scale several streams", context: place)
    }
  }

  private func validateHeads(of index: Int, _ check: SizeCheck) throws(GemmaError) {
    let layer = layers[index]
    try check("head count of layer \(index)", layer.headCount, 1...Limit.heads)
    try check("KV head count of layer \(index)", layer.kvHeadCount, 1...layer.headCount)
    try check("head dimension of layer \(index)", layer.headDim, 2...Limit.width)
    try check("attention scale of layer \(index)", layer.attentionScale)
    guard layer.headCount.isMultiple(of: layer.kvHeadCount) else {
      throw GemmaError(
        .config,
        "\(layer.headCount) heads cannot share \(layer.kvHeadCount) KV heads evenly",
        context: check.place
      )
    }
    guard layer.headDim.isMultiple(of: 2) else {
      throw GemmaError(
        .config,
        "head dimension \(layer.headDim) is odd, but RoPE rotates pairs",
        context: check.place
      )
    }
    guard (0...index).contains(layer.kvSource), layers[layer.kvSource].kvSource == layer.kvSource
    else {
      throw GemmaError(
        .config,
        "layer \(index) reads keys and values of layer \(layer.kvSource), which owns none",
        context: check.place
      )
    }
    let source = layers[layer.kvSource]
    guard (source.kvHeadCount, source.headDim) == (layer.kvHeadCount, layer.headDim) else {
      throw GemmaError(
        .config,
        "layer \(index) has \(layer.kvHeadCount) KV heads of \(layer.headDim), but reads keys and"
          + " values of layer \(layer.kvSource), which has \(source.kvHeadCount) of"
          + " \(source.headDim)",
        context: check.place
      )
    }
    if let rotated = layer.rope.rotatedPairs {
      try check("rotated pairs of layer \(index)", rotated, 0...(layer.headDim / 2))
    }
  }

  private func validateRest(of index: Int, _ check: SizeCheck) throws(GemmaError) {
    let layer = layers[index]
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
        context: check.place
      )
    }
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
