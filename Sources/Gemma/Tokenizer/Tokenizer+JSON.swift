// tokenizer.json, the file of Hugging Face's tokenizers library, as far as Gemma's use it: byte
// pair encoding with byte fallback, spaces written as `▁`. Anything else in it that would change
// the tokens is refused by name.

extension Tokenizer {
  /// Reads a tokenizer.json.
  ///
  /// - Parameters:
  ///   - path: The tokenizer.json.
  ///   - configPath: The tokenizer_config.json that names the begin and end tokens; without one
  ///     `<bos>` and `<eos>` are, if there are such tokens.
  /// - Throws: `GemmaError.format` if it is no JSON, `.tokenizer` if it contradicts itself,
  ///   `.unsupported` if it uses what we do not know.
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
      if token.isNormalized {
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
    addsBOS =
      try config?.bool("add_bos_token") ?? (file.firstToken != nil && file.firstToken == bos)
    let eos = config.map { $0.value("eos_token").flatMap(Tokenizer.text) } ?? "<eos>"
    eosTokens = Tokenizer.withTurnEnd(
      eos.flatMap(file.vocabulary.id).map { [$0] } ?? [],
      file.vocabulary
    )
  }

  // A token in tokenizer_config.json: its text, or an object that holds it.
  private static func text(_ value: JSONValue) -> String? {
    value.string ?? value["content"]?.string
  }
}
