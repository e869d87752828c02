// Which tokens a mask allows.

extension TokenMask {
  /// A mask that allows some tokens, in the smaller of the two ways to say so.
  ///
  /// - Precondition: None of them is negative.
  package init(allowing tokens: Set<Int32>) {
    let list = AllowedTokens.tokens(tokens.sorted())
    let bitBytes = tokens.max().map { Int($0) / 8 + 1 } ?? 0
    guard TokenMask(allowed: list).byteCount > bitBytes else {
      self.init(allowed: list)
      return
    }
    var bits = [UInt8](repeating: 0, count: bitBytes)
    for token in tokens { bits[Int(token) / 8] |= 1 << (token % 8) }
    self.init(allowed: .bits(bits))
  }

  /// Whether a token may be drawn.
  package func allows(_ token: Int32) -> Bool {
    switch allowed {
    case .tokens(let tokens): tokens.contains(token)
    case .bits(let bits): Self.isSet(Int(token), in: bits)
    }
  }

  /// Returns whether the bit of a token is set.
  package static func isSet(_ token: Int, in bits: [UInt8]) -> Bool {
    token / 8 < bits.count && bits[token / 8] & (1 << (token % 8)) != 0
  }

  /// Returns why nothing can be drawn with it from a vocabulary of so many tokens; nil if something can.
  package func complaint(vocabularySize: Int) -> String? {
    let highest: Int
    switch allowed {
    case .tokens(let tokens):
      guard let last = tokens.max() else { return "no token is allowed" }
      if let bad = tokens.first(where: { $0 < 0 }) { return "token \(bad) is allowed" }
      highest = Int(last)
    case .bits(let bits):
      guard let byte = bits.lastIndex(where: { $0 != 0 }) else { return "no token is allowed" }
      highest = 8 * byte + 7 - bits[byte].leadingZeroBitCount
    }
    guard highest >= vocabularySize else { return nil }
    return "token \(highest) is allowed, the vocabulary has \(vocabularySize)"
  }

  /// What it takes in a header, but for a few bytes.
  package var byteCount: Int {
    switch allowed {
    // As varints: seven bits a byte.
    case .tokens(let tokens):
      tokens.reduce(0) { $0 + max(1, (38 - $1.leadingZeroBitCount) / 7) }
    case .bits(let bits): bits.count
    }
  }
}
