// Scores for the pieces of a vocabulary that has ranked merges: SentencePiece, and so llama.cpp for Gemma 3 and 3n,
// merges any two pieces whose joined text is a token, the one with the best score first
// (https://github.com/google/sentencepiece, src/bpe_model.cc; llm_tokenizer_spm in src/llama-vocab.cpp of
// ggml-org/llama.cpp).

/// The scores with which merging by score gives the same tokens as merging by rank.
///
/// A token's score is the negative rank of the merge that makes it last when its own text is merged alone. That merge
/// is the only one by which any text becomes the token: two neighbouring pieces whose joined text is the token have
/// come about as in that text alone, for no merge has reached across its ends. So if merging by score takes the same
/// way for each token's text, it does for all texts.
struct PieceScores {
  /// By token; those that merging never makes have the lowest.
  let scores: [Float]

  /// Computes the scores.
  ///
  /// It fails if the vocabulary is not SentencePiece's: if merging by score would make tokens that the ranked merges
  /// do not make, or would not make those that they make.
  init?(_ merger: PieceMerger) {
    guard case .ranked(let table) = merger.rules else { return nil }
    let vocabulary = merger.vocabulary
    // Scored merging keeps the bytes of a character together.
    guard
      !table.pairs.contains(where: { vocabulary.isByte($0.left) || vocabulary.isByte($0.right) })
    else { return nil }
    var ranks = [UInt32](repeating: MergeRules.unmergeable, count: vocabulary.count)
    for (id, kind) in vocabulary.kinds.enumerated() where kind == .normal || kind == .userDefined {
      ranks[id] = table.lastRank(of: id, in: vocabulary) ?? MergeRules.unmergeable - 1
    }
    let scored = PieceMerger(
      vocabulary: vocabulary,
      rules: .scored(ranks),
      unknown: merger.unknown,
      fusesUnknown: false,
      usesByteTokens: merger.usesByteTokens
    )
    for (id, kind) in vocabulary.kinds.enumerated() where kind == .normal {
      let text = Array(vocabulary.bytes(of: id))
      guard merger.tokens(of: text) == scored.tokens(of: text) else { return nil }
    }
    // Floats hold all ranks exactly: there are fewer than 2²⁴ (MergeTable.countLimit).
    let lowest = -Float(MergeTable.countLimit)
    scores = ranks.map { $0 < MergeTable.countLimit ? -Float($0) : lowest }
  }
}

extension PieceMerger {
  /// Returns the tokens of a text.
  func tokens(of text: [UInt8]) -> [Int32] {
    var tokens: [Int32] = []
    append(text, to: &tokens)
    return tokens
  }

  /// Whether merging makes the token of its own text.
  func makes(_ id: Int) -> Bool { tokens(of: Array(vocabulary.bytes(of: id))) == [Int32(id)] }
}

extension Vocabulary {
  fileprivate func isByte(_ id: Int32) -> Bool { kinds[Int(id)] == .byte }
}

extension MergeTable {
  /// Longer tokens are not merged here, which takes quadratic time; then they have no score.
  private static let lengthLimit = 1 << 10

  /// Returns the rank of the merge that makes a token last when its text is merged alone; nil if merging does not
  /// make it or it is one character.
  fileprivate func lastRank(of id: Int, in vocabulary: Vocabulary) -> UInt32? {
    let text = Array(vocabulary.bytes(of: id))
    guard text.count <= Self.lengthLimit else { return nil }
    var pieces: [Int32] = []
    var start = 0
    for end in 1...max(1, text.count) where end >= text.count || text[end] & 0xC0 != 0x80 {
      guard let piece = vocabulary.id(of: text, in: start..<min(end, text.count)) else {
        return nil
      }
      pieces.append(piece)
      start = end
    }
    var last: UInt32?
    while pieces.count > 1 {
      var best: (rank: UInt32, merged: Int32, place: Int)?
      for place in 0..<(pieces.count - 1) {
        guard let pair = find(left: pieces[place], right: pieces[place + 1]) else { continue }
        if pair.rank < best?.rank ?? .max { best = (pair.rank, pair.merged, place) }
      }
      guard let best else { return nil }
      pieces[best.place] = best.merged
      pieces.remove(at: best.place + 1)
      last = best.rank
    }
    return pieces == [Int32(id)] ? last : nil
  }
}
