// A constraint whose masks anybody can work out.

import Wire

@testable import Coordinator

/// Allows every fifth token, another fifth at each place, and says so now as a list and now as bits.
struct Fifths: TokenConstraint {
  let vocabularySize: Int
  /// After so many tokens none is allowed.
  var end = Int.max
  private var count = 0

  init(vocabularySize: Int, end: Int = .max) {
    self.vocabularySize = vocabularySize
    self.end = end
  }

  static func tokens(at place: Int, of vocabularySize: Int) -> Set<Int32> {
    Set((3..<Int32(vocabularySize)).filter { Int($0) % 5 == place % 5 })
  }

  var allowed: TokenMask? {
    guard count < end else { return TokenMask(allowing: []) }
    let tokens = Self.tokens(at: count, of: vocabularySize)
    guard count % 2 == 0 else { return TokenMask(allowed: .tokens(tokens.sorted())) }
    var bits = [UInt8](repeating: 0, count: (vocabularySize + 7) / 8)
    for token in tokens { bits[Int(token) / 8] |= 1 << (token % 8) }
    return TokenMask(allowed: .bits(bits))
  }

  mutating func accept(_ token: Int32) { count += 1 }
}
