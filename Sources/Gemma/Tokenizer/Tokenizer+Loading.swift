// Finds and loads the tokenizer of a model.

internal import ModelFiles

extension Tokenizer {
  /// Loads the tokenizer that belongs to a model.
  ///
  /// The path is a .gguf file, which holds its tokenizer, or a directory in Hugging Face layout,
  /// where tokenizer.json lies beside the weights.
  ///
  /// - Throws: `GemmaError.tokenizer` if there is none, and errors of reading it.
  package static func load(for modelPath: String) throws(GemmaError) -> Tokenizer {
    switch try ModelPath(tokenizerOf: modelPath) {
    case .gguf(let path): return try Tokenizer(gguf: try GGUFFile.open(path))
    case .huggingFace(let path): return try load(directory: path)
    }
  }

  fileprivate static func load(directory: String) throws(GemmaError) -> Tokenizer {
    let path = directory + "/tokenizer.json"
    guard ModelPath.exists(path) else { throw missing(directory) }
    let config = directory + "/tokenizer_config.json"
    return try Tokenizer(json: path, config: ModelPath.exists(config) ? config : nil)
  }

  /// Returns the error for a directory without a tokenizer.
  fileprivate static func missing(_ directory: String) -> GemmaError {
    let hasModel = ModelPath.exists(directory + "/tokenizer.model")
    return GemmaError(
      .tokenizer,
      hasModel
        ? "the model's directory holds tokenizer.model, which is not read, and no tokenizer.json; put"
          + " the model's own there, or make it with transformers"
          + " (AutoTokenizer.from_pretrained(…).save_pretrained(…))"
        : "the model's directory holds no tokenizer.json; put the model's own there",
      context: directory + "/tokenizer.json"
    )
  }
}

extension ModelPath {
  /// Finds a model's tokenizer; a directory may hold only a tokenizer, without config and weights.
  fileprivate init(tokenizerOf path: String) throws(GemmaError) {
    if Self.isDirectory(path),
      Self.exists(path + "/tokenizer.json")
        || !Self.names(in: path).contains(where: { $0.hasSuffix(".gguf") })
    {
      self = .huggingFace(path)
    } else {
      try self.init(path)
    }
  }
}

extension Checkpoint {
  /// Reads the model's tokenizer from its files, without reading their headers again.
  ///
  /// - Throws: `GemmaError.tokenizer` if there is none, and errors of reading it.
  package func tokenizer() throws(GemmaError) -> Tokenizer {
    if let gguf { return try Tokenizer(gguf: gguf, rowCount: config.vocabularySize) }
    return try Tokenizer.load(directory: path)
  }

  /// Whether the model has a tokenizer, valid or not; a GGUF file always should.
  package var hasTokenizer: Bool { gguf != nil || ModelPath.exists(path + "/tokenizer.json") }
}
