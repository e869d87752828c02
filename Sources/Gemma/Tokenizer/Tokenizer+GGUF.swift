// The tokenizer in a GGUF file: pieces with scores, as SentencePiece makes them, or Gemma 4's pieces with ranked
// merges. The keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, section "Tokenizer".

package import ModelFiles

extension Tokenizer {
  /// Reads the tokenizer of a GGUF file.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - rowCount: The rows of the model's embedding. A token beyond them, such as the image tokens
  ///     of a multimodal model, is treated as a control token, which no user text becomes.
  /// - Throws: `GemmaError.tokenizer` if the file has no tokenizer or an inconsistent one,
  ///   `.unsupported` if its kind is not supported, `.config` if a key does not have the expected
  ///   type.
  package init(gguf file: GGUFFile, rowCount: Int = .max) throws(GemmaError) {
    guard let model = try file.string("tokenizer.ggml.model") else {
      throw GemmaError(
        .tokenizer,
        "the file holds no tokenizer (key tokenizer.ggml.model)",
        context: file.path
      )
    }
    guard model == "llama" || model == "gemma4" else {
      throw GemmaError(
        .unsupported,
        "tokenizer.ggml.model is \(model.excerpt), only \"llama\" (SentencePiece) and \"gemma4\" are read",
        context: file.path
      )
    }
    let isGemma4 = model == "gemma4"
    var vocabulary = try Tokenizer.vocabulary(of: file)
    for id in min(rowCount, vocabulary.count)..<vocabulary.count {
      vocabulary.setKind(.control, of: id)
    }
    if isGemma4 { vocabulary.markGemma4Tokens() }
    var added = AddedTokens(order: .longest)
    for (id, kind) in vocabulary.kinds.enumerated() {
      switch kind {
      case .normal, .byte, .absent: continue
      case .userDefined, .control, .unknown:
        // SentencePiece sometimes gives padding tokens an empty text, which cannot be matched.
        let text = vocabulary.bytes(of: id)
        if text.isEmpty { continue }
        // Gemma 4's user-defined tokens are marks of calls of tools, which no user's text may become.
        try added.add(text, token: Int32(id), isSpecial: isGemma4 || kind != .userDefined)
      }
    }
    merger = PieceMerger(
      vocabulary: vocabulary,
      rules: isGemma4
        ? .ranked(try MergeTable(file, vocabulary)) : try .scored(file, vocabulary),
      unknown: try Tokenizer.token(file, "unknown_token_id", vocabulary),
      fusesUnknown: false,
      usesByteTokens: true
    )
    self.added = added
    normalizedAdded = nil
    // A missing key means true, as the first models of the format, which lack it, expect.
    let addsPrefix = try file.bool("tokenizer.ggml.add_space_prefix") ?? true
    spaces = SpaceRules(arePrefixed: addsPrefix && !isGemma4)
    bosToken = try Tokenizer.token(file, "bos_token_id", vocabulary)
    // The first files of Gemma 4 say false, and the model cannot do without (llama.cpp sets it, too).
    let addsBOS = try file.bool("tokenizer.ggml.add_bos_token") ?? true || isGemma4
    let addsEOS = try file.bool("tokenizer.ggml.add_eos_token") ?? false
    let eos = try Tokenizer.token(file, "eos_token_id", vocabulary)
    surroundings = Surroundings(
      addsBOS: addsBOS,
      eos: addsEOS ? eos : nil,
      // llama.cpp adds BOS after the template has run, although the template may have written one
      // already.
      addsBOSToChats: addsBOS
    )
    channelMarks = ChannelMarks(vocabulary)
    suppressedTokens = try Tokenizer.suppressedTokens(of: file, vocabulary)
    eosTokens = Tokenizer.withTurnEnds(
      try file.endTokens().filter { Int($0) < vocabulary.count },
      vocabulary
    )
  }

  // The tokens that end an answer in models that were tuned with the chat formats of other families
  // (llama.cpp, llama_vocab::impl::load).
  private static let foreignTurnEnds = [
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>",
  ]

  /// Returns the end tokens that a file names, plus those whose text ends a turn.
  ///
  /// Converted files often name only the token that ends a text.
  static func withTurnEnds(_ ends: [Int32], _ vocabulary: Vocabulary) -> [Int32] {
    var result: [Int32] = []
    let own = ["<end_of_turn>", Gemma4Tokens.turnMarks[1], Gemma4Tokens.toolResponse]
    let known = (own + foreignTurnEnds).compactMap(vocabulary.controlToken)
    for token in ends + known where !result.contains(token) { result.append(token) }
    return result
  }

  private static func vocabulary(of file: GGUFFile) throws(GemmaError) -> Vocabulary {
    guard let tokens = try file.bytes("tokenizer.ggml.tokens"), !tokens.isEmpty else {
      throw GemmaError(
        .tokenizer,
        "the file holds no tokens (key tokenizer.ggml.tokens)",
        context: file.path
      )
    }
    let types = try file.integers("tokenizer.ggml.token_type")
    guard types.map({ $0.count == tokens.count }) ?? true else {
      throw GemmaError(
        .tokenizer,
        "tokenizer.ggml.token_type has \(types?.count ?? 0) entries for \(tokens.count) tokens",
        context: file.path
      )
    }
    var vocabulary = Vocabulary(expectedCount: tokens.count)
    for (id, token) in tokens.enumerated() {
      let kind: TokenKind
      switch types?[id] {
      case nil: kind = Vocabulary.byteValue(token[...]) == nil ? .normal : .byte
      case 1, 5: kind = .normal  // 5, unused: text may become it, as in SentencePiece
      case 2: kind = .unknown
      case 3: kind = .control
      case 4: kind = .userDefined
      case 6: kind = .byte
      case let type?:
        throw GemmaError(
          .tokenizer,
          "tokenizer.ggml.token_type[\(id)] is \(type), 1 to 6 are known",
          context: file.path
        )
      }
      try vocabulary.add(token[...], id: id, kind: kind)
    }
    if types == nil {
      for key in ["bos", "eos", "eot", "unknown", "padding"] {
        guard let token = try token(file, "\(key)_token_id", vocabulary) else { continue }
        vocabulary.setKind(key == "unknown" ? .unknown : .control, of: Int(token))
      }
    }
    for mark in turnMarks {
      if let token = vocabulary.id(of: mark) { vocabulary.setKind(.control, of: Int(token)) }
    }
    return vocabulary
  }

  private static func token(
    _ file: GGUFFile,
    _ key: String,
    _ vocabulary: Vocabulary
  ) throws(GemmaError) -> Int32? {
    let key = "tokenizer.ggml.\(key)"
    guard let id = try file.integerOrIntegers(key)?.first else { return nil }
    guard (0..<vocabulary.count).contains(id) else {
      throw GemmaError(
        .tokenizer,
        "\(key) is \(id), outside the vocabulary of \(vocabulary.count)",
        context: file.path
      )
    }
    return Int32(id)
  }
}

extension GGUFFile {
  // The keys whose tokens end an answer in llama.cpp (llama_vocab::impl::load, special_eog_ids),
  // and the list that newer converters write.
  private static let endKeys = [
    "eos_token_id", "eos_token_ids", "eot_token_id", "eom_token_id", "fim_pad_token_id",
    "fim_rep_token_id", "fim_sep_token_id",
  ]

  /// Returns the tokens that the metadata names as the end of a text or a turn; empty if it names
  /// none.
  ///
  /// - Throws: `GemmaError.config` if a key holds no tokens.
  func endTokens() throws(GemmaError) -> [Int32] {
    var tokens: [Int32] = []
    for name in GGUFFile.endKeys {
      let key = "tokenizer.ggml.\(name)"
      for id in try integerOrIntegers(key) ?? [] {
        guard let token = Int32(exactly: id), token >= 0 else {
          throw GemmaError(.config, "\(key) is \(id)", context: path)
        }
        if !tokens.contains(token) { tokens.append(token) }
      }
    }
    return tokens
  }
}
