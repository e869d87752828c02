// Looks up a model's sizes in GGUF metadata, with the defaults of llama.cpp: src/llama-model.cpp
// and gguf-py/gguf/constants.py in ggml-org/llama.cpp. ModelConfig+GGUF.swift makes a config of
// them.

internal import ModelFiles

/// The metadata of a file under its architecture's prefix.
struct GGUFKeys {
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
        "general.architecture is \(name), which is not supported; use a model with one of \(known)",
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

  func needUniform(_ key: String, _ layerCount: Int) throws(GemmaError) -> Int {
    guard let value = try uniform(key, layerCount) else { throw missing(name(key)) }
    return value
  }

  /// Returns the value of a key that converters spell in several ways; nil if none of them is
  /// present.
  ///
  /// - Throws: `GemmaError.config` if two spellings have different values, and what `read` throws.
  func spelled<Value: Equatable>(
    _ spellings: [String],
    _ read: (String) throws(GemmaError) -> Value?
  ) throws(GemmaError) -> Value? {
    var found: (key: String, value: Value)?
    for key in spellings {
      guard let value = try read(key) else { continue }
      if let found, found.value != value {
        throw GemmaError(
          .config,
          "\(name(found.key)) is \(found.value), but \(name(key)) is \(value)",
          context: file.path
        )
      }
      found = found ?? (key, value)
    }
    return found?.value
  }

  /// Returns a value that is given once, or for every layer with the same number.
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

  /// Returns one value for each layer, from an array or from a single value.
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

  func vocabularySize() throws(GemmaError) -> Int {
    let rows = try rowCount("token_embd.weight")
    let size = try integer("vocab_size") ?? rows
    // The vocabulary of a model for images may have one token more than the text model has rows.
    guard size == rows || size == tokenCount else {
      throw GemmaError(
        .config,
        "\(name("vocab_size")) is \(size), but token_embd.weight has \(rows) rows",
        context: file.path
      )
    }
    return rows
  }

  /// How many tokens the vocabulary lists; 0 if the file has none.
  private var tokenCount: Int {
    guard case .array(let array)? = file.value("tokenizer.ggml.tokens") else { return 0 }
    return array.count
  }

  func token(_ key: String) throws(GemmaError) -> Int32? {
    guard let value = try file.integer("tokenizer.ggml.\(key)") else { return nil }
    guard let token = Int32(exactly: value), token >= 0 else {
      throw GemmaError(.config, "tokenizer.ggml.\(key) is \(value)", context: file.path)
    }
    return token
  }

  func eosTokens() throws(GemmaError) -> [Int32] {
    let tokens = try file.endTokens()
    return tokens.isEmpty ? [1] : tokens
  }

  // The file lacks Gemma 3's `query_pre_attn_scalar`. It is the head dimension, except in the 27B
  // model, where it is the hidden size divided by the heads. Like llama.cpp, this recognises that
  // model by its 62 layers (models/gemma3.cpp).
  func attentionScale(
    _ layerCount: Int,
    _ hiddenSize: Int,
    _ headCount: Int,
    _ headDim: Int
  ) -> Float {
    let scalar = layerCount == 62 ? Float(hiddenSize) / Float(headCount) : Float(headDim)
    return 1 / scalar.squareRoot()
  }

  // The defaults are the constants of llama.cpp, which reads none of these keys (llama_hparams,
  // "gemma3n altup").
  func altUp() throws(GemmaError) -> AltUpConfig {
    let hasScale = file.tensors.contains { $0.name == "blk.0.altup_correct_scale.weight" }
    return AltUpConfig(
      streamCount: try integer("altup.num_inputs") ?? 4,
      activeStream: try integer("altup.active_idx") ?? 0,
      scalesActiveStream: try file.bool(name("altup.correct_scale")) ?? hasScale
    )
  }

  func perLayerInput() throws(GemmaError) -> PerLayerInputConfig {
    PerLayerInputConfig(
      size: try integer("embedding_length_per_layer_input") ?? 256,
      vocabularySize: try rowCount("per_layer_token_embd.weight")
    )
  }

  /// Returns the row count of a matrix, for sizes that no key gives.
  func rowCount(_ tensor: String) throws(GemmaError) -> Int {
    guard let stored = file.tensors.first(where: { $0.name == tensor }) else {
      throw GemmaError(.tensor, "tensor \(tensor) is missing", context: file.path)
    }
    guard stored.shape.count == 2 else {
      throw GemmaError(
        .tensor,
        "tensor \(tensor) has shape \(stored.shape); expected a matrix",
        context: file.path
      )
    }
    return stored.shape[0]
  }

  // MARK: The layers

  /// Returns the table of the layers.
  ///
  /// All of them have the heads of `heads`; the two attention kinds have different ropes.
  func layerTable(
    _ layerCount: Int,
    _ heads: LayerTable.Kind
  ) throws(GemmaError) -> LayerTable {
    guard let sizes = try perLayer("feed_forward_length", layerCount) else {
      throw missing(name("feed_forward_length"))
    }
    let is3n = architecture == .gemma3n
    let window = try uniform("attention.sliding_window", layerCount) ?? 0
    if is3n, window == 0 { throw missing(name("attention.sliding_window")) }
    var (full, sliding) = (heads, heads)
    full.rope = LayerRecord.RopeParameters(
      theta: try spelled(["rope.freq_base", "rope.global.freq_base"], float) ?? 10_000,
      positionScale: try ropeScale()
    )
    let slidingKeys = ["rope.freq_base_swa", "rope.freq_base_local", "rope.local.freq_base"]
    sliding.rope = LayerRecord.RopeParameters(theta: try spelled(slidingKeys, float) ?? 10_000)
    return LayerTable(
      // Without a window, all layers of Gemma 3 have full attention
      // (llama_model_gemma3::load_arch_hparams).
      isSliding: window == 0
        ? Array(repeating: false, count: layerCount) : try slidingPattern(layerCount),
      window: window,
      full: full,
      sliding: sliding,
      feedForwardSizes: sizes,
      sparsityDeviations: is3n
        ? try sparsity(layerCount) : Array(repeating: nil, count: layerCount),
      sharingCount: is3n ? try sharingCount(layerCount) : 0
    )
  }

  /// Without the key, llama.cpp lets the first 20 layers own keys and values
  /// (llama_model_gemma3n::load_arch_hparams).
  private func sharingCount(_ layerCount: Int) throws(GemmaError) -> Int {
    try spelled(["attention.shared_kv_layers", "num_kv_shared_layers"], integer)
      ?? max(0, layerCount - 20)
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

  // A factor without a type is linear. There is an older key for it
  // (llama_model_base::load_hparams).
  private func ropeScale() throws(GemmaError) -> Float {
    let older = try float("rope.scale_linear")
    let factor = try float("rope.scaling.factor") ?? older
    switch try file.string(name("rope.scaling.type")) {
    case "none": return 1
    case nil: return factor.map { 1 / $0 } ?? 1
    case "linear":
      guard let factor else { throw missing(name("rope.scaling.factor")) }
      return 1 / factor
    case let type?:
      throw GemmaError(
        .unsupported,
        "\(name("rope.scaling.type")) is \(type); only none and linear are supported",
        context: file.path
      )
    }
  }

  /// The file stores standard deviations, and minus infinity for dense layers.
  private func sparsity(_ layerCount: Int) throws(GemmaError) -> [Float?] {
    let key = name("activation_sparsity_scale")
    guard let values = try file.doubles(key) else {
      // llama.cpp's constants (llm_build_gemma3n, n_layer_sparsity and f_sparsity_std_mul).
      return (0..<layerCount).map { $0 < 10 ? 1.6448533535003662 : nil }
    }
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
