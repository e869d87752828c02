// A model's tokenizer: text to tokens and back. Where its tables come from stands in
// Tokenizer+JSON.swift and Tokenizer+GGUF.swift; how text is cut and joined, in AddedTokens.swift
// and PieceMerger.swift.

/// A part of a prompt whose origin decides how it is tokenized.
package enum PromptPiece: Sendable, Hashable {
  /// Text of the model's chat template: what looks like a special token in it is one.
  case template(String)
  /// Text of a user or a file: what looks like a special token in it stays text.
  case plain(String)
}

/// Turns text into a model's tokens and back.
package struct Tokenizer: Sendable {
  let merger: PieceMerger
  /// What is cut out of the text as it is.
  let added: AddedTokens
  /// What is cut out when spaces have become `▁`: added tokens that are `normalized`.
  let normalizedAdded: AddedTokens?
  let spaces: SpaceRules
  /// The token a text begins with; nil if the model has none.
  package let bosToken: Int32?
  /// The tokens that end a text or a turn.
  package let eosTokens: [Int32]
  /// What the model expects around a text.
  let surroundings: Surroundings

  /// What the model's files say goes around a text.
  struct Surroundings: Sendable, Hashable {
    /// Whether `bosToken` goes before it.
    var addsBOS: Bool
    /// The token that goes behind it; nil for none.
    var eos: Int32?
    /// Whether `bosToken` goes before a chat whose template does not begin with it.
    var addsBOSToChats: Bool
  }

  /// How spaces and the pieces' `▁` correspond.
  struct SpaceRules: Sendable {
    /// Whether spaces become `▁` before merging, and `▁` a space in the text of a token.
    var areEscaped = true
    /// Whether that holds for added tokens, too.
    var areEscapedInAddedTokens = false
    /// Whether a text, and what follows an added token, gets a space put before it.
    var arePrefixed = false
  }

  var vocabulary: Vocabulary { merger.vocabulary }

  /// The number of token ids; ids in between that no token uses count.
  package var vocabularySize: Int { vocabulary.count }

  /// Returns the tokens of a text.
  ///
  /// - Parameters:
  ///   - text: Any text.
  ///   - surrounded: Whether the tokens that the model expects around a text are added: `bosToken`
  ///     before it, for some the end of the text behind it. One that the text brings along is not
  ///     doubled.
  ///   - parseSpecial: Whether `<end_of_turn>` in the text is the token, or just text. Never pass
  ///     true for text of strangers.
  /// - Returns: The ids.
  /// - Complexity: O(n log m) for n bytes with words of m.
  package func encode(_ text: String, addBOS surrounded: Bool, parseSpecial: Bool) -> [Int32] {
    var tokens: [Int32] = []
    append(Array(text.utf8), parseSpecial: parseSpecial, to: &tokens)
    guard surrounded else { return tokens }
    if surroundings.addsBOS, let bosToken, tokens.first != bosToken {
      tokens.insert(bosToken, at: 0)
    }
    if let eos = surroundings.eos, tokens.last != eos { tokens.append(eos) }
    return tokens
  }

  /// Returns the tokens of a prompt made of pieces, as a chat template makes it.
  ///
  /// What is plain is tokenized together with the template's text around it, up to the next special
  /// token of the template, as if the prompt were one text.
  ///
  /// - Throws: `GemmaError.tokenizer` if the template has turns, but the vocabulary no tokens for
  ///   them.
  package func encode(_ pieces: [PromptPiece]) throws(GemmaError) -> [Int32] {
    var tokens: [Int32] = []
    var run: [UInt8] = []
    for piece in pieces {
      guard case .template(let text) = piece else {
        if case .plain(let text) = piece { run += text.utf8 }
        continue
      }
      let bytes = Array(text.utf8)
      for fragment in added.split(bytes, .special) {
        switch fragment {
        case .text(let range):
          try checkTurns(bytes[range])
          run += bytes[range]
        case .token(let token):
          append(run, parseSpecial: false, to: &tokens)
          run.removeAll()
          tokens.append(token)
        }
      }
    }
    append(run, parseSpecial: false, to: &tokens)
    if surroundings.addsBOSToChats, let bosToken, tokens.first != bosToken {
      tokens.insert(bosToken, at: 0)
    }
    return tokens
  }

  /// The most bytes of a text, spaces written out, that one token can stand for.
  ///
  /// Nil where some bytes have no token of their own: then an unknown token may stand for any number.
  package var longestPieceBytes: Int? {
    vocabulary.byteTokens.contains { $0 < 0 } ? nil : vocabulary.longestPiece
  }

  // A model that knows no turns would take their marks for text, and never end one.
  private func checkTurns(_ text: ArraySlice<UInt8>) throws(GemmaError) {
    let text = TemplateText(String(decoding: text, as: UTF8.self))
    for mark in Tokenizer.turnMarks where text.contains(Array(mark.utf8)) {
      throw GemmaError(.tokenizer, "the vocabulary has no special token \(mark.excerpt)")
    }
  }

  /// The marks of Gemma's turns: structure whatever a file says of them, as in llama.cpp
  /// (`llama_vocab::impl::load`, "control-looking token").
  static let turnMarks = ["<start_of_turn>", "<end_of_turn>"]

  /// Returns the text of tokens; bytes that are no UTF-8 become U+FFFD.
  ///
  /// - Parameters:
  ///   - tokens: Token ids.
  ///   - skipSpecial: Whether special tokens are left out, else their names are shown.
  /// - Returns: The text.
  /// - Throws: `GemmaError.tokenizer` if an id is outside the vocabulary.
  package func decode(_ tokens: [Int32], skipSpecial: Bool) throws(GemmaError) -> String {
    var bytes: [UInt8] = []
    for token in tokens {
      guard (0..<vocabularySize).contains(Int(token)) else {
        throw GemmaError(
          .tokenizer,
          "token \(token) is outside the vocabulary of \(vocabularySize)"
        )
      }
      if skipSpecial, isSpecial(token) { continue }
      bytes.append(contentsOf: self.bytes(of: token) ?? [])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Returns what a token stands for: text, part of a character, or a special token's name; nil if
  /// no token has this id.
  package func bytes(of token: Int32) -> [UInt8]? {
    guard let kind = kind(of: token), kind != .absent else { return nil }
    let piece = vocabulary.bytes(of: Int(token))
    switch kind {
    case .byte: return Vocabulary.byteValue(piece).map { [$0] } ?? Array(piece)
    case .normal: return spaces.areEscaped ? Tokenizer.unescaped(piece) : Array(piece)
    case .userDefined:
      return spaces.areEscapedInAddedTokens ? Tokenizer.unescaped(piece) : Array(piece)
    case .control, .unknown, .absent: return Array(piece)
    }
  }

  /// Returns whether a token is structure and no text: a turn's end, padding, the unknown token.
  package func isSpecial(_ token: Int32) -> Bool {
    switch kind(of: token) {
    case .control, .unknown: true
    case .normal, .userDefined, .byte, .absent, nil: false
    }
  }

  /// Returns the token whose text in the model's file is this, for example `<end_of_turn>`.
  package func token(named text: String) -> Int32? { vocabulary.id(of: text) }

  private func kind(of token: Int32) -> TokenKind? {
    vocabulary.kinds.indices.contains(Int(token)) ? vocabulary.kinds[Int(token)] : nil
  }

  private func append(_ bytes: [UInt8], parseSpecial: Bool, to tokens: inout [Int32]) {
    var followsToken = true
    for fragment in added.split(bytes, parseSpecial ? .all : .plain) {
      switch fragment {
      case .token(let token):
        tokens.append(token)
        followsToken = true
      case .text(let range):
        let normal = normalized(bytes[range], prefixed: spaces.arePrefixed && followsToken)
        appendNormalized(normal, parseSpecial: parseSpecial, to: &tokens)
        followsToken = false
      }
    }
  }

  private func appendNormalized(
    _ text: [UInt8],
    parseSpecial: Bool,
    to tokens: inout [Int32]
  ) {
    guard let normalizedAdded else { return merger.append(text, to: &tokens) }
    for fragment in normalizedAdded.split(text, parseSpecial ? .all : .plain) {
      switch fragment {
      case .token(let token): tokens.append(token)
      case .text(let range): merger.append(Array(text[range]), to: &tokens)
      }
    }
  }

  private func normalized(_ text: ArraySlice<UInt8>, prefixed: Bool) -> [UInt8] {
    guard spaces.areEscaped else { return (prefixed ? [0x20] : []) + text }
    return (prefixed ? PieceMerger.space : []) + Tokenizer.escaped(text)
  }

  /// Returns a text with `▁` for spaces.
  static func escaped(_ text: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 2)
    for byte in text {
      if byte == 0x20 {
        result.append(contentsOf: PieceMerger.space)
      } else {
        result.append(byte)
      }
    }
    return result
  }

  /// Returns a piece's text with spaces for `▁`.
  static func unescaped(_ piece: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(piece.count)
    var rest = piece
    while let byte = rest.first {
      if rest.starts(with: PieceMerger.space) {
        result.append(0x20)
        rest = rest.dropFirst(PieceMerger.space.count)
      } else {
        result.append(byte)
        rest = rest.dropFirst()
      }
    }
    return result
  }
}
