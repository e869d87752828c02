// What messages are made of, with random content: for round trips, and as the raw material of corrupted
// ones. The messages themselves are in Generated, made from proto/trestle.proto like those of the program.

import Content
import TestSupport
import Wire

/// Makes values of every kind that a message holds: often an extreme, otherwise any value of the
/// range.
struct MessageMaker {
  var random: SeededRandom

  mutating func coin() -> Bool { Bool.random(using: &random) }

  mutating func pick<Value>(_ extremes: [Value], else other: (inout SeededRandom) -> Value) -> Value
  {
    let index = Int.random(in: 0..<(extremes.count * 2), using: &random)
    return index < extremes.count ? extremes[index] : other(&random)
  }

  mutating func integer(_ limit: Int) -> Int {
    pick([0, 1, limit]) { Int.random(in: 0...limit, using: &$0) }
  }

  mutating func number<Number: FixedWidthInteger>(_ range: ClosedRange<Number>) -> Number {
    pick([range.lowerBound, range.upperBound]) { Number.random(in: range, using: &$0) }
  }

  mutating func double(infinite: Bool = false) -> Double {
    let last = infinite ? -Double.infinity : -Double.greatestFiniteMagnitude
    return pick([0, 1, .leastNonzeroMagnitude, .greatestFiniteMagnitude, last]) {
      Double.random(in: -1e9...1e9, using: &$0)
    }
  }

  mutating func float() -> Float {
    pick([0, 1, .leastNonzeroMagnitude, .greatestFiniteMagnitude]) {
      Float.random(in: -10...10, using: &$0)
    }
  }

  /// Returns a text with zeros inside, characters of one to four bytes and of several code points,
  /// and now and then exactly the limit's length.
  mutating func text(_ limit: Int) -> String {
    let pieces = ["a", "\u{0}", "é", "你", "🧗🏽‍♀️", "\n", "\r\n", "\u{10FFFF}", "<start_of_turn>"]
    if limit <= 512, Int.random(in: 0..<16, using: &random) == 0 {
      return String(repeating: "x", count: limit)
    }
    var text = ""
    for _ in 0..<Int.random(in: 0...12, using: &random) {
      let piece = pieces[Int.random(in: pieces.indices, using: &random)]
      if text.utf8.count + piece.utf8.count <= limit { text += piece }
    }
    return text
  }

  /// Returns one of a few keys; more keys would test nothing more.
  mutating func key() -> PublicKey {
    Self.keys[Int.random(in: Self.keys.indices, using: &random)]
  }

  private static let keys = (0..<4).compactMap { _ in try? KeyPair.make().publicKey }

  mutating func value<Value: CaseIterable>(of type: Value.Type) -> Value {
    let cases = Array(Value.allCases)
    return cases[Int.random(in: cases.indices, using: &random)]
  }

  mutating func list<Element>(
    _ limit: Int = 12,
    _ make: (inout MessageMaker) -> Element
  ) -> [Element] {
    let count = pick([0, 1]) { Int.random(in: 0...min(12, limit), using: &$0) }
    return (0..<count).map { _ in make(&self) }
  }

  mutating func bytes(_ limit: Int) -> [UInt8] {
    random.bytes(Int.random(in: 0...min(64, limit), using: &random))
  }

  mutating func range(_ limit: Int) -> Range<Int> {
    let end = integer(limit)
    return Int.random(in: 0...end, using: &random)..<end
  }

  mutating func identity() -> PeerID {
    let count = Int.random(in: 1...255, using: &random)
    return PeerID((0..<count).map { _ in UInt8.random(in: 1...255, using: &random) })
  }

  mutating func digest() -> Digest { Digest(of: random.bytes(4)) }
}
