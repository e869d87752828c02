// Randomness that replays: a small generator with a known seed, and the two environment variables
// that steer it. No test draws from the system's randomness.

import Foundation
package import Testing

/// A random generator whose whole sequence follows from its seed.
///
/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014,
/// figure 16): one addition and one mix a number, and every seed is a good one.
package struct SeededRandom: RandomNumberGenerator, Sendable, CustomStringConvertible {
  /// What the sequence follows from.
  package let seed: UInt64
  private var state: UInt64

  package init(_ seed: UInt64) {
    self.seed = seed
    state = seed
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// How to see the same sequence again: fit for the comment of an `#expect`.
  package var description: String { "TRESTLE_SEED=\(seed) replays this" }
}

extension SeededRandom {
  /// Returns evenly spread numbers.
  package mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }

  /// Returns bytes of any value.
  package mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) }
  }

  /// Returns the bytes with one to four faults such as files and wires make: a flipped bit, a
  /// byte of another value, a piece lost, a piece repeated, the tail cut off, a length turned
  /// into a huge one.
  ///
  /// Mutated good input reaches far deeper into a parser than random bytes, which fail at the
  /// first check.
  package mutating func corrupted(_ bytes: [UInt8]) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...4, using: &self) {
      guard let at = result.indices.randomElement(using: &self) else {
        return self.bytes(Int.random(in: 0...16, using: &self))
      }
      let end = min(result.count, at + Int.random(in: 1...16, using: &self))
      switch Int.random(in: 0..<6, using: &self) {
      case 0: result[at] ^= 1 << UInt8.random(in: 0..<8, using: &self)
      case 1: result[at] = UInt8.random(in: .min ... .max, using: &self)
      case 2: result.removeSubrange(at..<end)
      case 3: result.insert(contentsOf: Array(result[at..<end]), at: at)
      case 4: result.removeSubrange(at...)
      default: for index in at..<min(end, at + 8) { result[index] = 0xff }
      }
    }
    return result
  }
}

/// Returns the seed of this run: `TRESTLE_SEED` where it is set, else the test's own.
package func testSeed(default seed: UInt64) -> UInt64 {
  environmentNumber("TRESTLE_SEED") ?? seed
}

/// Returns how often a fuzz test repeats: `TRESTLE_FUZZ_ITERATIONS` where it is set (long runs by
/// hand), else the test's own count, which should cost a second or two at most.
package func fuzzIterations(default count: Int) -> Int {
  environmentNumber("TRESTLE_FUZZ_ITERATIONS") ?? count
}

private func environmentNumber<Number: FixedWidthInteger>(_ name: String) -> Number? {
  guard let text = ProcessInfo.processInfo.environment[name], !text.isEmpty else { return nil }
  let number = Number(text)
  precondition(number != nil, "\(name)=\(text) is not a whole number")
  return number
}

extension Trait where Self == IssueHandlingTrait {
  /// Adds the seed to every issue of the test: `@Test(.seeded(default: 7))` beside a
  /// `SeededRandom(testSeed(default: 7))` in its body.
  package static func seeded(default seed: UInt64) -> Self {
    let random = SeededRandom(testSeed(default: seed))
    return .compactMapIssues { issue in
      var issue = issue
      issue.comments.append("\(random)")
      return issue
    }
  }
}
