// What an answer's piece takes while it is kept, for those who count what a client has not read.

extension Delta {
  /// The bytes of its texts, tokens and scores, about as they lie in memory.
  package var contentBytes: Int {
    let scores = scored.reduce(0) { sum, token in
      token.likeliest.reduce(sum + token.drawn.contentBytes) { $0 + $1.contentBytes }
    }
    return text.utf8.count + thought.utf8.count + 4 * tokens.count + scores
  }
}

extension ScoredToken {
  fileprivate var contentBytes: Int { MemoryLayout<ScoredToken>.stride + piece.count }
}
