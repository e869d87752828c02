// tokenizer.json, the file format of Hugging Face's tokenizers library, in the subset that Gemma's
// files use: byte pair encoding with byte fallback, and spaces written as `▁`. Anything else that
// would change the tokens is refused by name.

internal import ModelFiles

extension Tokenizer {
  /// Reads a tokenizer.json.
  ///
  /// - Parameters:
  ///   - path: The tokenizer.json.
  ///   - configPath: The tokenizer_config.json that names the begin and end tokens. Without one,
  ///     `<bos>` and `<eos>` are used if they exist.
  /// - Throws: `GemmaError.format` if it is not valid JSON, `.tokenizer` if it is inconsistent,
  ///   `.unsupported` if it uses an unknown feature.
  package init(json path: String, config configPath: String? = nil) throws(GemmaError) {
    var reader = try JSONReader(file: path)
    let file = try TokenizerJSON(&reader, path: path)
    try self.init(file, config: configPath.map(JSONObject.read))
  }

  private init(_ file: TokenizerJSON, config: JSONObject?) throws(GemmaError) {
    var raw = AddedTokens(order: .leftmost)
    var normalized: AddedTokens?
    for token in file.addedTokens {
      let text = Array(token.text.utf8)
      // The mark of a turn holds no space, so normalization does not change it.
      if token.isNormalized, !Tokenizer.turnMarks.contains(token.text) {
        var tokens = normalized ?? AddedTokens(order: .leftmost)
        let normal = file.escapesSpaces ? Tokenizer.escaped(text[...]) : text
        try tokens.add(normal[...], token: token.id, isSpecial: token.isSpecial)
        normalized = tokens
      } else {
        try raw.add(text[...], token: token.id, isSpecial: token.isSpecial)
      }
    }
    merger = PieceMerger(
      vocabulary: file.vocabulary,
      rules: .ranked(file.merges),
      unknown: file.unknownToken,
      fusesUnknown: file.fusesUnknown,
      usesByteTokens: file.usesByteTokens
    )
    added = raw
    normalizedAdded = normalized
    spaces = SpaceRules(
      areEscaped: file.escapesSpaces,
      areEscapedInAddedTokens: file.escapesSpaces
    )
    let bos = config.map { $0.value("bos_token").flatMap(Tokenizer.text) } ?? "<bos>"
    bosToken = bos.flatMap(file.vocabulary.id)
    let eos = config.map { $0.value("eos_token").flatMap(Tokenizer.text) } ?? "<eos>"
    let eosToken = eos.flatMap(file.vocabulary.id)
    let isGemma4 = file.vocabulary.isGemma4
    var surroundings = try Tokenizer.surroundings(file, config, bos: bos, eos: eos, eosToken)
    if isGemma4 { surroundings.addsBOS = true }
    self.surroundings = surroundings
    channelMarks = ChannelMarks(file.vocabulary)
    suppressedTokens = isGemma4 ? file.vocabulary.mediaTokens : []
    eosTokens = Tokenizer.withTurnEnds(eosToken.map { [$0] } ?? [], file.vocabulary)
  }

  /// Returns the tokens around a text.
  ///
  /// tokenizer_config.json decides if it mentions them, else the post-processor does (transformers,
  /// `TokenizersBackend.__init__`).
  private static func surroundings(
    _ file: TokenizerJSON,
    _ config: JSONObject?,
    bos: String?,
    eos: String?,
    _ eosToken: Int32?
  ) throws(GemmaError) -> Surroundings {
    let addsBOS = try config?.bool("add_bos_token")
    let addsEOS = try config?.bool("add_eos_token")
    if addsBOS != nil || addsEOS != nil {
      return Surroundings(
        addsBOS: addsBOS ?? false,
        eos: addsEOS ?? false ? eosToken : nil,
        addsBOSToChats: false
      )
    }
    for (tokens, known) in [(file.leadingTokens, bos), (file.trailingTokens, eos)] {
      guard tokens.isEmpty || tokens == [known] else {
        throw GemmaError(
          .unsupported,
          "the post_processor puts \(tokens.map(\.excerpt).joined(separator: ", ")) around a text;"
            + " only the begin and the end token are supported",
          context: file.path
        )
      }
    }
    return Surroundings(
      addsBOS: !file.leadingTokens.isEmpty,
      eos: file.trailingTokens.isEmpty ? nil : eosToken,
      addsBOSToChats: false
    )
  }

  // Returns a token's text from tokenizer_config.json, where it is a string or an object that holds
  // one.
  private static func text(_ value: JSONValue) -> String? {
    value.string ?? value["content"]?.string
  }
}
