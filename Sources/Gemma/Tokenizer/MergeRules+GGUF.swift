// The merge rules of a GGUF file: ranked pairs (tokenizer.ggml.merges), or scores of tokens.

internal import ModelFiles

extension MergeTable {
  /// Reads the pairs of a GGUF file, the best first, each two tokens with a space between them.
  ///
  /// - Throws: `GemmaError.tokenizer` if there are none, too many, or one that names no tokens.
  init(_ file: GGUFFile, _ vocabulary: Vocabulary) throws(GemmaError) {
    let key = "tokenizer.ggml.merges"
    guard let merges = try file.bytes(key) else {
      throw GemmaError(.tokenizer, "the file holds no merges (key \(key))", context: file.path)
    }
    guard merges.count <= MergeTable.countLimit else {
      throw GemmaError(
        .tokenizer,
        "\(key) has \(merges.count) entries, at most \(MergeTable.countLimit) are read",
        context: file.path
      )
    }
    self.init()
    for (rank, merge) in merges.enumerated() {
      // A token may begin with a space, none contains one further on.
      guard let middle = merge.dropFirst().firstIndex(of: 0x20) else {
        throw GemmaError(
          .tokenizer,
          "\(key)[\(rank)] is not a pair of tokens",
          context: file.path
        )
      }
      let both = Array(merge[..<middle] + merge[(middle + 1)...])
      guard add(both, middle: middle, rank: rank, in: vocabulary) else {
        throw GemmaError(
          .tokenizer,
          "\(key)[\(rank)] joins \(Vocabulary.name(both[..<middle])) and"
            + " \(Vocabulary.name(both[middle...])), but they or the result are no tokens",
          context: file.path
        )
      }
    }
  }

  /// Adds a pair by its texts, one behind the other; returns false if they or the joined text are no tokens.
  mutating func add(_ both: [UInt8], middle: Int, rank: Int, in vocabulary: Vocabulary) -> Bool {
    guard let left = vocabulary.id(of: both, in: 0..<middle),
      let right = vocabulary.id(of: both, in: middle..<both.count),
      let merged = vocabulary.id(of: both, in: both.indices)
    else { return false }
    add(left: left, right: right, rank: rank, merged: merged)
    return true
  }
}

extension MergeRules {
  /// Reads the scores of a GGUF file.
  ///
  /// Equal scores share a rank.
  ///
  /// - Throws: `GemmaError.tokenizer` if a token has none, or one that is no number.
  static func scored(_ file: GGUFFile, _ vocabulary: Vocabulary) throws(GemmaError) -> MergeRules {
    guard let scores = try file.doubles("tokenizer.ggml.scores"), scores.count == vocabulary.count
    else {
      throw GemmaError(
        .tokenizer,
        "tokenizer.ggml.scores is absent or has not \(vocabulary.count) entries",
        context: file.path
      )
    }
    if let index = scores.firstIndex(where: \.isNaN) {
      throw GemmaError(
        .tokenizer,
        "tokenizer.ggml.scores[\(index)] is not a number",
        context: file.path
      )
    }
    var ranks = [UInt32](repeating: MergeRules.unmergeable, count: scores.count)
    var rank: UInt32 = 0
    var previous: Double?
    for id in scores.indices.sorted(by: { scores[$0] > scores[$1] }) {
      if let previous, scores[id] < previous { rank += 1 }
      previous = scores[id]
      switch vocabulary.kinds[id] {
      case .normal, .userDefined: ranks[id] = rank
      case .control, .unknown, .byte, .absent: continue
      }
    }
    return .scored(ranks)
  }
}
