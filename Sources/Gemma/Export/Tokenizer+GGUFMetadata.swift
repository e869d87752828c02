// The keys by which a GGUF file holds a tokenizer, for one that was read from tokenizer.json. Tokenizer+GGUF.swift
// reads them; llama.cpp's converters write them (conversion/base.py, conversion/gemma.py and LlamaHfVocab in
// gguf-py/gguf/vocab.py of ggml-org/llama.cpp).

internal import ModelFiles

extension Tokenizer {
  /// A token as GGUF has it: its text, its type and its score.
  fileprivate struct Entry {
    var text: [UInt8]
    var type: EntryType
    var score: Float
  }

  /// The types of tokens in a GGUF file (`llama_token_type` in include/llama.h of llama.cpp).
  fileprivate enum EntryType: Int32 {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  /// The score of tokens whose score is not used, as LlamaHfVocab writes it.
  private static let unusedScore: Float = -1000

  /// Returns the keys.
  ///
  /// A vocabulary of Gemma 4 has ranked merges (model `gemma4`), another has scores (model `llama`), as other programs
  /// expect it. If no scores give the same tokens, it has merges, too, which llama.cpp reads for every architecture.
  ///
  /// - Parameters:
  ///   - config: The model's, whose end tokens and whose vocabulary size count: tokens without a row are left out, and
  ///     rows without a token get one, because llama.cpp expects as many tokens as rows.
  ///   - suppressed: The tokens that are never drawn.
  /// - Returns: The keys and values.
  /// - Throws: `GemmaError.unsupported` if GGUF has no such tokenizer.
  func ggufMetadata(
    _ config: ModelConfig,
    suppressed: [Int32]
  ) throws(GemmaError) -> [(key: String, value: GGUFMetadataValue)] {
    guard case .ranked(let table) = merger.rules, spaces.areEscaped, merger.usesByteTokens else {
      throw GemmaError(
        .unsupported,
        "the tokenizer does not write spaces as ▁ or has no tokens for bytes, and GGUF has no such kind"
      )
    }
    let scores = vocabulary.isGemma4 ? nil : PieceScores(merger)
    let entries = (0..<config.vocabularySize).map { entry($0, scores) }
    var keys: [(key: String, value: GGUFMetadataValue)] = [
      ("model", .string(scores == nil ? "gemma4" : "llama"))
    ]
    if scores != nil { keys.append(("pre", .string("default"))) }
    keys += [
      ("tokens", .array(of: .string, entries.map { .string($0.text) })),
      ("scores", .array(of: .float32, entries.map { .float32($0.score) })),
      ("token_type", .array(of: .int32, entries.map { .int32($0.type.rawValue) })),
    ]
    if scores == nil {
      keys.append(("merges", try merges(table, rowCount: config.vocabularySize)))
    }
    return (keys + specialTokens(config, suppressed)).map { ("tokenizer.ggml.\($0.key)", $0.value) }
  }

  private func entry(_ id: Int, _ scores: PieceScores?) -> Entry {
    guard id < vocabulary.count, vocabulary.kinds[id] != .absent else {
      // A control token, which no text becomes and which is not shown.
      return Entry(text: Array("[PAD\(id)]".utf8), type: .control, score: Self.unusedScore)
    }
    let text = Array(vocabulary.bytes(of: id))
    let type = entryType(id, Gemma4Tokens.isUserDefined(text) && vocabulary.isGemma4, scores != nil)
    return Entry(
      // What is cut out of the text before spaces are escaped.
      text: type == .userDefined ? Tokenizer.unescaped(text[...]) : text,
      type: type,
      score: scores?.scores[id] ?? Self.unusedScore
    )
  }

  private func entryType(_ id: Int, _ isMark: Bool, _ isScored: Bool) -> EntryType {
    switch vocabulary.kinds[id] {
    case _ where isMark: return .userDefined
    case .normal: return .normal
    case .byte: return .byte
    case .control: return .control
    case .unknown: return .unknown
    case .absent: return .unused
    case .userDefined:
      // A run of spaces, which tokenizers do not find in text, because they look for ▁ before spaces are escaped. In
      // ranked vocabularies all that merging makes is normal, as in published files of Gemma 4.
      let isMade = !isScored || vocabulary.bytes(of: id).starts(with: PieceMerger.space)
      return isMade && merger.makes(id) ? .normal : .userDefined
    }
  }

  /// Returns the merges of those tokens that have a row.
  private func merges(
    _ table: MergeTable,
    rowCount: Int
  ) throws(GemmaError) -> GGUFMetadataValue {
    var merges: [GGUFMetadataValue] = []
    for pair in table.pairs where max(pair.left, pair.right, pair.merged) < rowCount {
      let parts = [pair.left, pair.right].map { Array(vocabulary.bytes(of: Int($0))) }
      guard !parts.contains(where: { $0.contains(0x20) }) else {
        throw GemmaError(
          .unsupported,
          "the merge of \(parts.map { Vocabulary.name($0[...]) }.joined(separator: " and ")) holds a space, which"
            + " stands between the two in a GGUF file"
        )
      }
      merges.append(.string(parts[0] + [0x20] + parts[1]))
    }
    return .array(of: .string, merges)
  }

  private func specialTokens(
    _ config: ModelConfig,
    _ suppressed: [Int32]
  ) -> [(key: String, value: GGUFMetadataValue)] {
    var keys = config.endKeys
    keys.insert(("bos_token_id", .uint32(UInt32(bosToken ?? config.bosToken))), at: 0)
    // Older readers know one end token and the end of a turn.
    let turnEnd = ["<end_of_turn>", Gemma4Tokens.turnMarks[1]].compactMap(vocabulary.controlToken)
      .first
    if let turnEnd, config.eosTokens.dropFirst().contains(turnEnd) {
      keys.append(("eot_token_id", .uint32(UInt32(turnEnd))))
    }
    let named = [
      ("unknown_token_id", merger.unknown), ("padding_token_id", vocabulary.controlToken("<pad>")),
      ("mask_token_id", vocabulary.controlToken("<mask>")),
    ]
    for (key, id) in named {
      guard let id, id < config.vocabularySize else { continue }
      keys.append((key, .uint32(UInt32(id))))
    }
    keys += [
      ("add_bos_token", .bool(surroundings.addsBOS && bosToken != nil)),
      ("add_eos_token", .bool(surroundings.eos != nil)),
      ("add_space_prefix", .bool(false)),
    ]
    // Those of Gemma 4's vocabulary are known by their names.
    if suppressed != suppressedTokens {
      keys.append(("suppress_tokens", .array(of: .int32, suppressed.map { .int32($0) })))
    }
    return keys
  }
}

extension ModelConfig {
  /// The end tokens, the first in the key that all readers know.
  var endKeys: [(key: String, value: GGUFMetadataValue)] {
    guard let first = eosTokens.first else { return [] }
    let all = GGUFMetadataValue.array(of: .int32, eosTokens.map { .int32($0) })
    return [("eos_token_id", .uint32(UInt32(first)))]
      + (eosTokens.count > 1 ? [("eos_token_ids", all)] : [])
  }
}

extension Gemma4Tokens {
  /// Whether files in GGUF call a token user-defined: the marks that clients find calls and thoughts by.
  fileprivate static func isUserDefined(_ text: [UInt8]) -> Bool {
    let marks = visible + [channelMarks.start, channelMarks.end, toolResponse]
    return marks.contains(String(decoding: text, as: UTF8.self))
  }
}
