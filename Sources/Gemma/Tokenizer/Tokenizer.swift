// A model's tokenizer, from text to tokens and back. Tokenizer+JSON.swift and Tokenizer+GGUF.swift
// load its tables; AddedTokens.swift and PieceMerger.swift split and merge text.

internal import ModelFiles

/// A part of a prompt whose origin decides how it is tokenized.
package enum PromptPiece: Sendable, Hashable {
  /// Text of the model's chat template: special tokens in it are parsed.
  case template(String)
  /// Text of a user or a file: what looks like a special token stays plain text.
  case plain(String)
}

/// Converts text into a model's tokens and back.
package struct Tokenizer: Sendable {
  let merger: PieceMerger
  /// Added tokens that are cut out of the original text.
  let added: AddedTokens
  /// Added tokens that are cut out after spaces have become `▁` (`normalized` ones).
  let normalizedAdded: AddedTokens?
  let spaces: SpaceRules
  /// The token a text begins with; nil if the model has none.
  package let bosToken: Int32?
  /// The tokens that end a text or a turn.
  package let eosTokens: [Int32]
  /// The tokens that the model expects around a text.
  let surroundings: Surroundings
  /// The tokens around what the model thinks; nil if it has none.
  package let channelMarks: ChannelMarks?
  /// The tokens that its file forbids in answers, in ascending order.
  package let suppressedTokens: [Int32]

  /// The tokens around a text, as the model's files specify them.
  struct Surroundings: Sendable, Hashable {
    /// Whether `bosToken` is put before a text.
    var addsBOS: Bool
    /// The token that is put after a text; nil for none.
    var eos: Int32?
    /// Whether `bosToken` is put before a chat whose template does not begin with it.
    var addsBOSToChats: Bool
  }

  /// How spaces and the pieces' `▁` correspond.
  struct SpaceRules: Sendable {
    /// Whether spaces become `▁` before merging, and `▁` becomes a space in the text of a token.
    var areEscaped = true
    /// Whether the same holds for added tokens.
    var areEscapedInAddedTokens = false
    /// Whether a space is put before a text, and before what follows an added token.
    var arePrefixed = false
  }

  var vocabulary: Vocabulary { merger.vocabulary }

  /// The number of token ids, including unused ids in between.
  package var vocabularySize: Int { vocabulary.count }

  /// Returns the tokens of a text.
  ///
  /// - Parameters:
  ///   - text: Any text.
  ///   - surrounded: Whether to add the tokens that the model expects around a text: `bosToken`
  ///     before it and, for some models, the end token after it. A token that the text already has
  ///     is not doubled.
  ///   - parseSpecial: Whether `<end_of_turn>` in the text becomes the token, or stays plain text.
  ///     Never pass true for text from strangers.
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

  /// Returns the tokens of a prompt that a chat template has made from pieces.
  ///
  /// Plain pieces are tokenized together with the surrounding text of the template, up to its next
  /// special token, as if the prompt were one text.
  ///
  /// - Throws: `GemmaError.tokenizer` if the template has turns, but the vocabulary has no tokens
  ///   for them.
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

  /// The most bytes of text, with spaces unescaped, that one token can stand for.
  ///
  /// It is nil if some bytes have no token, because then an unknown token may stand for any number
  /// of bytes.
  package var longestPieceBytes: Int? {
    vocabulary.byteTokens.contains { $0 < 0 } ? nil : vocabulary.longestPiece
  }

  // A model without tokens for turns would read their marks as text and never end a turn.
  private func checkTurns(_ text: ArraySlice<UInt8>) throws(GemmaError) {
    let text = TemplateText(String(decoding: text, as: UTF8.self))
    for mark in Tokenizer.turnMarks where text.contains(Array(mark.utf8)) {
      throw GemmaError(.tokenizer, "the vocabulary has no special token \(mark.excerpt)")
    }
  }

  /// The marks of Gemma's turns, those of Gemma 4 behind the others.
  ///
  /// They are control tokens whatever a file says, as in llama.cpp (`llama_vocab::impl::load`,
  /// "control-looking token").
  static let turnMarks = ["<start_of_turn>", "<end_of_turn>"] + Gemma4Tokens.turnMarks

  /// Returns the text of tokens; invalid UTF-8 becomes U+FFFD.
  ///
  /// - Parameters:
  ///   - tokens: Token ids.
  ///   - skipSpecial: Whether special tokens are left out; otherwise their names are shown.
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

  /// Returns the bytes of a token: text, part of a character, or a special token's name; nil if no
  /// token has this id.
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

  /// Returns whether a token is special, not text: the end of a turn, padding, the unknown token.
  package func isSpecial(_ token: Int32) -> Bool {
    switch kind(of: token) {
    case .control, .unknown: true
    case .normal, .userDefined, .byte, .absent, nil: false
    }
  }

  /// Returns the token that the model's file names so, for example `<end_of_turn>`.
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

  /// Returns a text with spaces replaced by `▁`.
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

  /// Returns a piece's text with `▁` replaced by spaces.
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
