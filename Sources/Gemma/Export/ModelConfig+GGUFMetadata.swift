// The keys by which a GGUF file holds a config. GGUFKeys*.swift reads them; llama.cpp's converters write them
// (conversion/gemma.py, gguf-py/gguf/constants.py in ggml-org/llama.cpp). What GGUF cannot say is refused.

internal import ModelFiles

extension ModelConfig {
  typealias Keys = [(key: String, value: GGUFMetadataValue)]

  /// Returns the keys of the sizes and layers, with the architecture's prefix.
  ///
  /// llama.cpp does not read the sizes of Gemma 3n's AltUp, LAuReL and per-layer inputs, nor its sparsity
  /// (llama_hparams): it refuses tensors of other sizes than those of the published models. And it knows no scale of
  /// Gemma 3's attention but the published models'.
  ///
  /// - Throws: `GemmaError.unsupported` if the config has something for which GGUF has no key.
  func ggufMetadata() throws(GemmaError) -> Keys {
    var keys: Keys = [
      ("context_length", .count(contextTokens)), ("embedding_length", .count(hiddenSize)),
      ("block_count", .count(layers.count)),
      (
        "feed_forward_length",
        .perLayer(layers.map(\.feedForwardSize), asArray: architecture == .gemma3n)
      ),
      ("attention.head_count", .perLayer(layers.map(\.headCount))),
      ("attention.head_count_kv", .perLayer(layers.map(\.kvHeadCount))),
      ("attention.layer_norm_rms_epsilon", .float32(normEpsilon)),
    ]
    keys += try headKeys() + scaleKeys() + ropeKeys() + windowKeys()
    // Without the key, Gemma 3n's logits are capped.
    if finalSoftcap != nil || architecture == .gemma3n {
      keys.append(("final_logit_softcapping", .float32(finalSoftcap ?? 0)))
    }
    keys += featureKeys
    return keys.map { ("\(architecture.rawValue).\($0.key)", $0.value) }
  }

  /// The layers of an attention kind.
  private func layers(areSliding: Bool) -> [LayerRecord] {
    layers.filter { ($0.attention != .full) == areSliding }
  }

  /// Returns what a property is in all of some layers; nil if there are none of them.
  private func common<Value: Hashable>(
    _ what: String,
    _ layers: [LayerRecord],
    _ property: (LayerRecord) -> Value
  ) throws(GemmaError) -> Value? {
    guard Set(layers.map(property)).count < 2 else {
      throw refusal("\(what) that differs between layers")
    }
    return layers.first.map(property)
  }

  private func refusal(_ what: String) -> GemmaError {
    GemmaError(.unsupported, "GGUF has no key for \(what) in \(architecture.rawValue)")
  }

  private func headKeys() throws(GemmaError) -> Keys {
    guard architecture == .gemma4 else {
      let width = try common("a head dimension", layers, \.headDim) ?? 0
      return [("attention.key_length", .count(width)), ("attention.value_length", .count(width))]
    }
    let found = try (
      full: common("a head dimension", layers(areSliding: false), \.headDim),
      sliding: common("a head dimension", layers(areSliding: true), \.headDim)
    )
    let full = found.full ?? found.sliding ?? 0
    let sliding = found.sliding ?? full
    _ = try common("keys as values", layers(areSliding: false), \.valuesAreKeys)
    return [
      ("attention.key_length", .count(full)), ("attention.value_length", .count(full)),
      ("attention.key_length_swa", .count(sliding)),
      ("attention.value_length_swa", .count(sliding)),
      ("rope.dimension_count", .count(full)), ("rope.dimension_count_swa", .count(sliding)),
    ]
  }

  /// The factor of queries and keys, where it is not the one that readers assume.
  private func scaleKeys() throws(GemmaError) -> Keys {
    guard let scale = try common("an attention scale", layers, \.attentionScale),
      let layer = layers.first
    else { return [] }
    if architecture.hasUnitAttentionScale, scale == 1 { return [] }
    let scalar =
      layers.count == 62 ? Float(hiddenSize) / Float(layer.headCount) : Float(layer.headDim)
    if !architecture.hasUnitAttentionScale, scale == 1 / scalar.squareRoot() { return [] }
    return [("attention.scale", .float32(scale))]
  }

  // MARK: Ropes and windows

  private func ropeKeys() throws(GemmaError) -> Keys {
    var keys: Keys = []
    if let sliding = try common("a rope", layers(areSliding: true), \.rope) {
      guard sliding.positionScale == 1, sliding.rotatedPairs == nil else {
        throw refusal("a scaled or partial rope of sliding attention")
      }
      keys.append(("rope.freq_base_swa", .float32(sliding.theta)))
    }
    guard let full = try common("a rope", layers(areSliding: false), \.rope) else { return keys }
    keys.insert(("rope.freq_base", .float32(full.theta)), at: 0)
    if full.positionScale != 1 {
      // Readers divide by the factor.
      let inverse = 1 / full.positionScale
      let near = [inverse, inverse.nextUp, inverse.nextDown]
      guard let factor = near.first(where: { 1 / $0 == full.positionScale }) else {
        throw refusal("the factor \(full.positionScale) of positions")
      }
      keys += [("rope.scaling.type", .string("linear")), ("rope.scaling.factor", .float32(factor))]
    }
    let share = architecture.rotatedShareOfFullAttention
    for layer in layers(areSliding: false) {
      let pairs = share == 1 ? nil : Int(share * Double(layer.headDim / 2))
      guard layer.rope.rotatedPairs == pairs else {
        throw refusal(
          "\(layer.rope.rotatedPairs ?? layer.headDim / 2) rotated pairs of \(layer.headDim / 2) in full attention;"
            + " \(pairs ?? layer.headDim / 2) are assumed"
        )
      }
    }
    return keys
  }

  private func windowKeys() throws(GemmaError) -> Keys {
    let window = try common("a sliding window", layers(areSliding: true), \.attention.window)
    guard let window = window ?? (architecture == .gemma3 ? nil : contextTokens) else {
      // Without a window, all layers of Gemma 3 have full attention.
      return []
    }
    return [
      ("attention.sliding_window", .count(window)),
      ("attention.sliding_window_pattern", windowPattern),
    ]
  }

  /// Which layers have sliding attention: a flag for each, or the period of those that have not.
  ///
  /// Of Gemma 3 and 3n, llama.cpp reads a period only, and assumes 6 and 5 if there are flags.
  private var windowPattern: GGUFMetadataValue {
    let isSliding = layers.map { $0.attention != .full }
    let period = (1...(layers.count + 1)).first {
      LayerTable.slidingPattern(period: $0, layerCount: layers.count) == isSliding
    }
    let isUsual = architecture == .gemma3n && period == 5
    guard architecture != .gemma4, !isUsual, let period else {
      return .array(of: .bool, isSliding.map { .bool($0) })
    }
    return .count(period)
  }

  // MARK: Features

  private var featureKeys: Keys {
    var keys: Keys = []
    if architecture != .gemma3 {
      keys.append(("attention.shared_kv_layers", .count(layers.count - firstSharedLayer)))
      keys.append(("embedding_length_per_layer_input", .count(perLayerInput?.size ?? 0)))
    }
    if let altUp {
      keys += [
        ("altup.active_idx", .count(altUp.activeStream)),
        ("altup.num_inputs", .count(altUp.streamCount)),
      ]
      // Its tensor says that there is a scale, and llama.cpp needs the tensor.
      if !altUp.scalesActiveStream { keys.append(("altup.correct_scale", .bool(false))) }
      let deviations = layers.map { $0.sparsityDeviations ?? -.infinity }
      let values = deviations.map { GGUFMetadataValue.float32($0) }
      keys.append(("activation_sparsity_scale", .array(of: .float32, values)))
    }
    return keys
  }
}

extension GGUFMetadataValue {
  /// A size, which `ModelConfig.validate` has found to be positive and far below 2³².
  static func count(_ count: Int) -> Self { .uint32(UInt32(count)) }

  /// A size for each layer, or one for all if they agree.
  fileprivate static func perLayer(_ counts: [Int], asArray: Bool = false) -> Self {
    guard asArray || Set(counts).count > 1 else { return .count(counts[0]) }
    return .array(of: .int32, counts.map { .int32(Int32($0)) })
  }
}
