// Drawn tokens on their way from the last stage to a client: what no honest worker says of them, and the text
// of each token beside its log probability, which clients cannot know.

internal import Gemma
internal import Wire

extension WantedRow {
  /// Returns what an honest last stage would not have drawn, or said of likelihoods; nil if all is well.
  func nonsense(
    in result: RowResult,
    vocabularySize: Int,
    suppressed: [Int32] = []
  ) -> String? {
    if !(0..<vocabularySize).contains(Int(result.token)) {
      return "token \(result.token), the vocabulary has \(vocabularySize)"
    }
    if let mask, !mask.allows(result.token) {
      return "token \(result.token), which was not allowed"
    }
    if !isEvaluated, mask == nil, suppressed.contains(result.token) {
      return "token \(result.token), which is never drawn"
    }
    let expected = min(likeliestCount ?? 0, vocabularySize)
    if result.likeliest.count != expected {
      return "\(result.likeliest.count) likeliest tokens instead of \(expected)"
    }
    guard likeliestCount != nil else { return nil }
    if let bad = result.likeliest.first(where: { Int($0.token) >= vocabularySize }) {
      return "the likeliest token \(bad.token), the vocabulary has \(vocabularySize)"
    }
    let scores = [result.logProbability] + result.likeliest.map(\.logProbability)
    if let bad = scores.first(where: { !($0.isFinite && $0 <= 0) }) {
      return "the log probability \(bad)"
    }
    return nil
  }
}

extension DrawnToken {
  /// What a client is told of a result.
  init(_ result: RowResult, tokenizer: Tokenizer?) {
    self.init(
      drawn: ScoredToken(result.token, result.logProbability, tokenizer),
      likeliest: result.likeliest.map { ScoredToken($0.token, $0.logProbability, tokenizer) }
    )
  }
}

extension ScoredToken {
  fileprivate init(_ token: Int32, _ logProbability: Double, _ tokenizer: Tokenizer?) {
    // A model may have more logits than its tokenizer has tokens; such a token has no text.
    let piece = tokenizer?.bytes(of: token) ?? []
    self.init(
      token: token,
      logProbability: logProbability,
      piece: Array(piece.prefix(Limits.pieceBytes)),
      isSpecial: tokenizer?.isSpecial(token) ?? false
    )
  }
}
