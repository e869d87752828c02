// Tokens that an answer never has: those for images and sound, and those that a model's files forbid.

internal import ModelFiles

extension Checkpoint {
  /// Returns the tokens that are never drawn, in ascending order.
  ///
  /// Of a GGUF file the tokenizer names all of them; of a directory, generation_config.json adds its
  /// `suppress_tokens`.
  ///
  /// - Throws: `GemmaError.config` if one is outside the vocabulary; and errors of reading.
  package func suppressedTokens(_ tokenizer: Tokenizer?) throws(GemmaError) -> [Int32] {
    var tokens = Set(tokenizer?.suppressedTokens ?? [])
    let path = path + "/generation_config.json"
    if format == .huggingFace, ModelPath.exists(path) {
      let file = try JSONObject.read(path)
      for id in try file.integers("suppress_tokens") ?? [] {
        guard (0..<config.vocabularySize).contains(id) else {
          throw GemmaError(
            .config,
            "suppress_tokens holds \(id), the vocabulary has \(config.vocabularySize) tokens",
            context: path
          )
        }
        tokens.insert(Int32(id))
      }
    }
    return tokens.filter { $0 < config.vocabularySize }.sorted()
  }
}

extension Tokenizer {
  /// Reads the tokens that a GGUF file forbids.
  ///
  /// - Throws: `GemmaError.tokenizer` if one is outside the vocabulary, `.config` if the key holds none.
  static func suppressedTokens(
    of file: GGUFFile,
    _ vocabulary: Vocabulary
  ) throws(GemmaError) -> [Int32] {
    let key = "tokenizer.ggml.suppress_tokens"
    var tokens = Set(vocabulary.isGemma4 ? vocabulary.mediaTokens : [])
    for id in try file.integerOrIntegers(key) ?? [] {
      guard (0..<vocabulary.count).contains(id) else {
        throw GemmaError(
          .tokenizer,
          "\(key) holds \(id), outside the vocabulary of \(vocabulary.count)",
          context: file.path
        )
      }
      tokens.insert(Int32(id))
    }
    return tokens.sorted()
  }
}
