// Reads a model's sizes and layers from GGUF metadata. What a key means is what llama.cpp makes of
// it: src/llama-model.cpp and gguf-py/gguf/constants.py in ggml-org/llama.cpp.

extension ModelConfig {
  /// Reads the config of a Gemma 3 or Gemma 3n file.
  ///
  /// - Throws: `GemmaError` that names the key that is missing, absurd or of an unknown kind.
  package init(gguf file: GGUFFile) throws(GemmaError) {
    let keys = try GGUFKeys(file)
    try keys.checkParts()
    let layerCount = try keys.need("block_count")
    try ModelConfig.checkLayerCount(layerCount, "\(file.path), \(keys.name("block_count"))")
    let headDim = try keys.need("attention.key_length")
    let headCount = try keys.need("attention.head_count")
    let hiddenSize = try keys.need("embedding_length")
    guard try keys.integer("attention.value_length") ?? headDim == headDim else {
      throw GemmaError(
        .unsupported,
        "\(keys.name("attention.value_length")) is not the key length \(headDim)",
        context: file.path
      )
    }
    let is3n = keys.architecture == .gemma3n
    let softcap = try keys.float("final_logit_softcapping") ?? 0
    self.init(
      architecture: keys.architecture,
      vocabularySize: try keys.vocabularySize(),
      hiddenSize: hiddenSize,
      headCount: headCount,
      kvHeadCount: try keys.uniform("attention.head_count_kv", layerCount) ?? headCount,
      headDim: headDim,
      contextTokens: try keys.need("context_length"),
      normEpsilon: try keys.needFloat("attention.layer_norm_rms_epsilon"),
      // The converter has added Gemma 3's 1 to the gains.
      normGainOffset: 0,
      attentionScale: is3n
        ? 1 : keys.attentionScale(layerCount, hiddenSize, headCount, headDim),
      normsValues: is3n,
      finalSoftcap: softcap == 0 ? nil : softcap,
      bosToken: try keys.token("bos_token_id") ?? 2,
      eosTokens: try keys.eosTokens(),
      layers: try keys.layerTable(layerCount).records(file.path),
      gemma3n: is3n ? try keys.gemma3n() : nil
    )
    try validate(file.path)
  }
}

/// The metadata of a file under its architecture's prefix.
private struct GGUFKeys {
  let file: GGUFFile
  let architecture: Architecture

  init(_ file: GGUFFile) throws(GemmaError) {
    guard let name = try file.string("general.architecture") else {
      throw GemmaError(.config, "general.architecture is missing", context: file.path)
    }
    guard let architecture = Architecture(rawValue: name) else {
      let known = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
      throw GemmaError(
        .unsupported,
        "general.architecture is \(name); known are \(known)",
        context: file.path
      )
    }
    self.file = file
    self.architecture = architecture
  }

  /// The full name of a key, for example `gemma3n.block_count`.
  func name(_ key: String) -> String { "\(architecture.rawValue).\(key)" }

  func integer(_ key: String) throws(GemmaError) -> Int? { try file.integer(name(key)) }

  func float(_ key: String) throws(GemmaError) -> Float? {
    try file.double(name(key)).map { Float($0) }
  }

  func need(_ key: String) throws(GemmaError) -> Int {
    guard let value = try integer(key) else { throw missing(name(key)) }
    return value
  }

  func needFloat(_ key: String) throws(GemmaError) -> Float {
    guard let value = try float(key) else { throw missing(name(key)) }
    return value
  }

  /// Returns a value that stands once or, the same, for every layer.
  func uniform(_ key: String, _ layerCount: Int) throws(GemmaError) -> Int? {
    guard let values = try perLayer(key, layerCount) else { return nil }
    guard Set(values).count == 1 else {
      throw GemmaError(
        .unsupported,
        "\(name(key)) differs between layers: \(Set(values).sorted())",
        context: file.path
      )
    }
    return values[0]
  }

  /// Returns a value a layer, from an array or from a single value.
  func perLayer(_ key: String, _ layerCount: Int) throws(GemmaError) -> [Int]? {
    guard let value = file.value(name(key)) else { return nil }
    let values: [Int]
    if case .array = value {
      values = try file.integers(name(key)) ?? []
    } else {
      values = [try need(key)]
    }
    return try LayerTable.perLayer(values, name(key), layerCount: layerCount, file.path)
  }

  private func missing(_ key: String) -> GemmaError {
    GemmaError(.config, "\(key) is missing", context: file.path)
  }

  // MARK: Outside the layers

  func checkParts() throws(GemmaError) {
    let count = try file.integer("split.count") ?? 1
    guard count <= 1 else {
      throw GemmaError(
        .unsupported,
        "split.count is \(count): a model in parts; merge them with llama-gguf-split --merge",
        context: file.path
      )
    }
  }

  func vocabularySize() throws(GemmaError) -> Int {
    let rows = try rowCount("token_embd.weight")
    let size = try integer("vocab_size") ?? rows
    guard size == rows else {
      throw GemmaError(
        .config,
        "\(name("vocab_size")) is \(size), token_embd.weight has \(rows) rows",
        context: file.path
      )
    }
    return size
  }

  func token(_ key: String) throws(GemmaError) -> Int32? {
    guard let value = try file.integer("tokenizer.ggml.\(key)") else { return nil }
    guard let token = Int32(exactly: value), token >= 0 else {
      throw GemmaError(.config, "tokenizer.ggml.\(key) is \(value)", context: file.path)
    }
    return token
  }

  func eosTokens() throws(GemmaError) -> [Int32] {
    var tokens = [try token("eos_token_id") ?? 1]
    if let turnEnd = try token("eot_token_id"), !tokens.contains(turnEnd) { tokens.append(turnEnd) }
    return tokens
  }

  // Gemma 3's `query_pre_attn_scalar` is not in the file. It is the head dimension, but the 27B
  // model's is hidden size over heads; llama.cpp too knows it by its 62 layers (models/gemma3.cpp).
  func attentionScale(
    _ layerCount: Int,
    _ hiddenSize: Int,
    _ headCount: Int,
    _ headDim: Int
  ) -> Float {
    let scalar = layerCount == 62 ? Float(hiddenSize) / Float(headCount) : Float(headDim)
    return 1 / scalar.squareRoot()
  }

  func gemma3n() throws(GemmaError) -> Gemma3nConfig {
    Gemma3nConfig(
      streamCount: try need("altup.num_inputs"),
      activeStream: try need("altup.active_idx"),
      scalesActiveStream: file.tensors.contains { $0.name == "blk.0.altup_correct_scale.weight" },
      laurelRank: try rowCount("blk.0.laurel_l.weight"),
      perLayerInputSize: try need("embedding_length_per_layer_input"),
      perLayerVocabularySize: try rowCount("per_layer_token_embd.weight")
    )
  }

  /// Returns the rows of a matrix that says a size no key says.
  private func rowCount(_ tensor: String) throws(GemmaError) -> Int {
    guard let stored = file.tensors.first(where: { $0.name == tensor }) else {
      throw GemmaError(.tensor, "tensor \(tensor) is missing", context: file.path)
    }
    guard stored.shape.count == 2 else {
      throw GemmaError(
        .tensor,
        "tensor \(tensor) has shape \(stored.shape), a matrix is expected",
        context: file.path
      )
    }
    return stored.shape[0]
  }

  // MARK: The layers

  func layerTable(_ layerCount: Int) throws(GemmaError) -> LayerTable {
    guard let sizes = try perLayer("feed_forward_length", layerCount) else {
      throw missing(name("feed_forward_length"))
    }
    let is3n = architecture == .gemma3n
    return LayerTable(
      isSliding: try slidingPattern(layerCount),
      window: try need("attention.sliding_window"),
      fullRope: LayerRecord.RopeParameters(
        theta: try needFloat("rope.freq_base"),
        positionScale: try ropeScale()
      ),
      slidingRope: LayerRecord.RopeParameters(theta: try float("rope.freq_base_swa") ?? 10_000),
      feedForwardSizes: sizes,
      sparsityDeviations: is3n
        ? try sparsity(layerCount) : Array(repeating: nil, count: layerCount),
      sharingCount: is3n ? try sharingCount() : 0
    )
  }

  /// Published files store this count as a float, others as an integer.
  private func sharingCount() throws(GemmaError) -> Int {
    let key = "attention.shared_kv_layers"
    guard case .double(let number)? = file.value(name(key)) else { return try need(key) }
    guard let count = Int(exactly: number) else {
      throw GemmaError(.config, "\(name(key)) is \(number)", context: file.path)
    }
    return count
  }

  private func slidingPattern(_ layerCount: Int) throws(GemmaError) -> [Bool] {
    let key = name("attention.sliding_window_pattern")
    if case .array? = file.value(key) {
      let pattern = try file.bools(key) ?? []
      guard pattern.count == layerCount else {
        throw GemmaError(
          .config,
          "\(key) has \(pattern.count) values for \(layerCount) layers",
          context: file.path
        )
      }
      return pattern
    }
    let period = try file.integer(key) ?? (architecture == .gemma3n ? 5 : 6)
    guard period > 0 else {
      throw GemmaError(.config, "\(key) is \(period)", context: file.path)
    }
    return LayerTable.slidingPattern(period: period, layerCount: layerCount)
  }

  private func ropeScale() throws(GemmaError) -> Float {
    let type = try file.string(name("rope.scaling.type")) ?? "none"
    switch type {
    case "none": return 1
    case "linear": return 1 / (try needFloat("rope.scaling.factor"))
    default:
      throw GemmaError(
        .unsupported,
        "\(name("rope.scaling.type")) is \(type); none and linear are known",
        context: file.path
      )
    }
  }

  /// The file stores standard deviations; minus infinity where nothing is cut.
  private func sparsity(_ layerCount: Int) throws(GemmaError) -> [Float?] {
    let key = name("activation_sparsity_scale")
    guard let values = try file.doubles(key) else { throw missing(key) }
    guard values.count == layerCount else {
      throw GemmaError(
        .config,
        "\(key) has \(values.count) values for \(layerCount) layers",
        context: file.path
      )
    }
    return values.map { $0 == -.infinity ? nil : Float($0) }
  }
}
