// Looks up a model's sizes in GGUF metadata, with the defaults of llama.cpp: src/llama-model.cpp,
// src/models and gguf-py/gguf/constants.py in ggml-org/llama.cpp. GGUFKeys+Layers.swift has the layers;
// ModelConfig+GGUF.swift makes a config of them.

internal import ModelFiles

/// The metadata of a file under its architecture's prefix.
struct GGUFKeys {
  let file: GGUFFile
  let architecture: Architecture
  let tensorNames: Set<String>

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
    tensorNames = Set(file.tensors.map(\.name))
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

  func missing(_ key: String) -> GemmaError {
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

  // The defaults are the constants of llama.cpp, which reads none of these keys (llama_hparams,
  // "gemma3n altup").
  func altUp() throws(GemmaError) -> AltUpConfig {
    let hasScale = tensorNames.contains("blk.0.altup_correct_scale.weight")
    return AltUpConfig(
      streamCount: try integer("altup.num_inputs") ?? 4,
      activeStream: try integer("altup.active_idx") ?? 0,
      scalesActiveStream: try file.bool(name("altup.correct_scale")) ?? hasScale
    )
  }

  /// Returns the per-layer inputs; nil if the model has none.
  func perLayerInput() throws(GemmaError) -> PerLayerInputConfig? {
    // Without the key, llama.cpp takes 256 for Gemma 3n and none for Gemma 4; Gemma 3 has none.
    let fallback = architecture == .gemma3n ? 256 : 0
    let size = try integer("embedding_length_per_layer_input") ?? fallback
    if architecture == .gemma3 { return nil }
    if architecture == .gemma4, size == 0 {
      guard !tensorNames.contains("per_layer_token_embd.weight") else {
        throw GemmaError(
          .config,
          "\(name("embedding_length_per_layer_input")) is 0 or missing, but there is a"
            + " per_layer_token_embd.weight",
          context: file.path
        )
      }
      return nil
    }
    return PerLayerInputConfig(
      size: size,
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
}
