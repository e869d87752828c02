// How far two models' logits are apart, against the same sums in f64.

import Foundation
import Quantization
import TestSupport
import Testing

@Suite struct `Logit divergence` {
  private static let seed: UInt64 = 20_261_132
  /// One logit, a tail, a run and its tail, and a vocabulary that takes many runs.
  private static let sizes = [1, 17, 4096, 4096 + 3, 262_144 / 8]

  /// What the definitions say, in f64.
  private struct Plain {
    var klDivergence: Double
    var logSums: (reference: Double, other: Double)

    init(_ other: [Float], _ reference: [Float]) {
      let (a, b) = (Self.logSum(reference), Self.logSum(other))
      logSums = (a, b)
      var sum = 0.0
      for index in reference.indices where reference[index] > -.infinity {
        let log = Double(reference[index]) - a
        sum += exp(log) * (log - (Double(other[index]) - b))
      }
      klDivergence = sum
    }

    private static func logSum(_ logits: [Float]) -> Double {
      let highest = Double(logits.max() ?? 0)
      var sum = 0.0
      for logit in logits { sum += exp(Double(logit) - highest) }
      return log(sum) + highest
    }
  }

  private func expectEqual(
    _ divergence: LogitDivergence,
    _ plain: Plain,
    _ comment: Comment,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    // Powers are good for 1e-7, and sums of a run are made in f32.
    let tolerance = 1e-6 + plain.klDivergence * 2e-6
    #expect(
      abs(divergence.klDivergence - plain.klDivergence) <= tolerance,
      comment,
      sourceLocation: sourceLocation
    )
    #expect(
      abs(divergence.logSums.reference - plain.logSums.reference) < 2e-6,
      comment,
      sourceLocation: sourceLocation
    )
    #expect(
      abs(divergence.logSums.other - plain.logSums.other) < 2e-6,
      comment,
      sourceLocation: sourceLocation
    )
  }

  /// Logits of two models, as far apart as `distance` says.
  private func logits(
    _ count: Int,
    distance: Float,
    _ random: inout SeededRandom
  ) -> (reference: [Float], other: [Float]) {
    let reference = random.normal(count).map { $0 * 4 }
    let noise = random.normal(count)
    return (reference, zip(reference, noise).map { $0 + distance * $1 })
  }

  @Test(.seeded(default: seed), arguments: sizes)
  func `it is what the definition gives in f64`(_ count: Int) {
    var random = SeededRandom(testSeed(default: Self.seed))
    for distance in [0.001, 0.05, 1, 5] as [Float] {
      let (reference, other) = logits(count, distance: distance, &random)
      let divergence = LogitDivergence(of: other[...], from: reference[...])
      expectEqual(divergence, Plain(other, reference), "\(count) logits, \(distance) apart")
    }
  }

  @Test func `it is what hand calculation gives`() {
    // p = (1/2, 1/2), q = (1/4, 3/4): log 2 - log 3 / 2.
    let other = [Float(0), log(3)]
    let divergence = LogitDivergence(of: other[...], from: [7, 7])
    #expect(abs(divergence.klDivergence - (log(2) - log(3) / 2)) < 1e-7)
    #expect(abs(divergence.logSums.reference - (7 + log(2))) < 1e-7)
    #expect(abs(divergence.logSums.other - log(4)) < 1e-7)
    #expect(!divergence.sameTop)
  }

  @Test(.seeded(default: seed)) func `a constant that is added to all logits changes nothing`() {
    var random = SeededRandom(testSeed(default: Self.seed))
    let (reference, other) = logits(4099, distance: 0.3, &random)
    for constant in [-1000, 64, 5000] as [Float] {
      // Moved far, logits lose bits; what is left of them is compared.
      let moved = other.map { $0 + constant }
      let near = moved.map { $0 - constant }
      let divergence = LogitDivergence(of: moved[...], from: reference[...])
      let expected = Plain(near, reference).klDivergence
      // What two logits differ by is rounded to f32, with the constant in it.
      #expect(
        abs(divergence.klDivergence - expected) < Double(abs(constant)) * 0x1p-21,
        "\(constant)"
      )
    }
  }

  @Test(.seeded(default: seed), arguments: sizes)
  func `pieces give the same as the whole`(_ count: Int) {
    var random = SeededRandom(testSeed(default: Self.seed))
    let (reference, other) = logits(count, distance: 0.5, &random)
    let whole = LogitDivergence(of: other[...], from: reference[...])
    for pieceCount in [1, 2, 3, 7] {
      var cuts = (1..<pieceCount).map { _ in Int.random(in: 0...count, using: &random) }.sorted()
      cuts = Array(Set([0] + cuts + [count])).sorted()
      var pieces = LogitDivergence()
      for (first, end) in zip(cuts, cuts.dropFirst()) {
        pieces.add(other[first..<end], from: reference[first..<end])
      }
      #expect(abs(pieces.klDivergence - whole.klDivergence) < 1e-6, "\(cuts)")
      #expect(pieces.sameTop == whole.sameTop, "\(cuts)")
      #expect(abs(pieces.logSums.reference - whole.logSums.reference) < 1e-6, "\(cuts)")
      #expect(abs(pieces.logSums.other - whole.logSums.other) < 1e-6, "\(cuts)")
    }
  }

  @Test func `the highest logit may come in any piece`() {
    for order in [[Float(1), 2, 90], [90, 2, 1], [2, 90, 1], [-90, -500, -80]] {
      let other = order.map { $0 / 2 }
      var pieces = LogitDivergence()
      for index in order.indices { pieces.add(other[index...index], from: order[index...index]) }
      expectEqual(pieces, Plain(other, order), "\(order)")
    }
  }

  @Test(.seeded(default: seed), arguments: sizes) func `equal logits have no divergence`(
    _ count: Int
  ) {
    var random = SeededRandom(testSeed(default: Self.seed))
    let logits = random.normal(count).map { $0 * 10 }
    let divergence = LogitDivergence(of: logits[...], from: logits[...])
    #expect(divergence.klDivergence < 1e-9 && divergence.sameTop)
    #expect(divergence.logSums.reference == divergence.logSums.other)
  }

  @Test(.seeded(default: seed)) func `it is never negative`() {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 200) {
      let (reference, other) = logits(100, distance: 1e-6, &random)
      #expect(LogitDivergence(of: other[...], from: reference[...]).klDivergence >= 0)
    }
  }

  @Test func `the likeliest token is the first of equals`() {
    #expect(LogitDivergence(of: [5, 5, 1], from: [5, 4, 1]).sameTop)
    #expect(!LogitDivergence(of: [4, 5, 5], from: [5, 4, 1]).sameTop)
    var pieces = LogitDivergence()
    pieces.add([1, 5], from: [3, 5])
    pieces.add([5, 2], from: [1, 5])
    #expect(pieces.sameTop)
    pieces.add([6], from: [5])
    #expect(!pieces.sameTop)
  }

  // MARK: Tokens that cannot be

  @Test func `tokens that both models forbid do not count`() {
    let forbidden = -Float.infinity
    let reference = [1, forbidden, 2, forbidden, 0.5] as [Float]
    let other = [1.5, forbidden, 1, forbidden, 0.25] as [Float]
    let divergence = LogitDivergence(of: other[...], from: reference[...])
    expectEqual(
      divergence,
      Plain(other.filter { $0 > forbidden }, reference.filter { $0 > forbidden }),
      ""
    )
    // Only in the reference: it costs what the other gives it.
    expectEqual(
      LogitDivergence(of: [1, 1], from: [1, forbidden]),
      Plain([1, 1], [1, forbidden]),
      "one of two"
    )
    #expect(abs(LogitDivergence(of: [1, 1], from: [1, forbidden]).klDivergence - log(2)) < 1e-7)
  }

  @Test func `a token that only the other model forbids makes the divergence infinite`() {
    let divergence = LogitDivergence(of: [1, -.infinity], from: [1, 1])
    #expect(divergence.klDivergence == .infinity)
  }

  @Test func `a piece of forbidden tokens alone changes nothing`() {
    let forbidden = -Float.infinity
    let (reference, other) = ([1, 2, 3] as [Float], [1.5, 2, 2] as [Float])
    let whole = LogitDivergence(of: other[...], from: reference[...])
    for place in 0...1 {
      var pieces = LogitDivergence()
      if place == 0 { pieces.add([forbidden, forbidden], from: [forbidden, forbidden]) }
      pieces.add(other[...], from: reference[...])
      if place == 1 { pieces.add([forbidden], from: [forbidden]) }
      #expect(abs(pieces.klDivergence - whole.klDivergence) < 1e-7, "\(place)")
    }
  }

  @Test func `logits that are no numbers are not taken for equal ones`() {
    for (other, reference) in [([1, Float.nan], [1, 2]), ([1, 2], [1, Float.nan])]
      as [([Float], [Float])]
    {
      let divergence = LogitDivergence(of: other[...], from: reference[...]).klDivergence
      #expect(divergence.isNaN || divergence == .infinity, "\(divergence)")
    }
  }
}

@Suite struct `Divergence summary` {
  /// A row with a divergence; its logits are 0 and x, against 0 and 0: log((1 + eˣ) / 2) - x / 2.
  private func row(_ x: Float) -> LogitDivergence { LogitDivergence(of: [0, x], from: [0, 0]) }

  private func summary(_ rows: [Float], keepingWorst count: Int = 0) -> DivergenceSummary {
    var summary = DivergenceSummary(keepingWorst: count)
    for (position, x) in rows.enumerated() { summary.add(row(x), position: position) }
    return summary
  }

  @Test func `without rows nothing differs`() {
    let summary = DivergenceSummary(keepingWorst: 3)
    #expect(summary.rowCount == 0 && summary.mean == 0 && summary.standardError == 0)
    #expect(summary.highest == 0 && summary.quantile(0.99) == 0 && summary.topAgreement == 1)
    #expect(summary.perplexities == nil && summary.worst.isEmpty)
  }

  @Test func `one row is its own mean, quantiles and maximum`() {
    let summary = summary([2])
    let divergence = row(2).klDivergence
    #expect(divergence > 0.4 && summary.mean == divergence && summary.highest == divergence)
    #expect(summary.quantile(0) == divergence && summary.quantile(1) == divergence)
    #expect(summary.standardError == 0 && summary.rowCount == 1)
  }

  @Test func `the mean and its standard error`() {
    let xs: [Float] = [0, 1, 2, 3, 0.5]
    let summary = summary(xs)
    let values = xs.map { row($0).klDivergence }
    let mean = values.reduce(0, +) / 5
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4
    #expect(abs(summary.mean - mean) < 1e-12)
    #expect(abs(summary.standardError - (variance / 5).squareRoot()) < 1e-12)
    #expect(summary.highest == values[3])
  }

  @Test func `a quantile is exceeded by no more rows than its share leaves`() {
    // 1 to 100 in an order of its own.
    let xs = (0..<100).map { Float(($0 * 37) % 100 + 1) * 0.05 }
    let summary = summary(xs)
    let sorted = xs.map { row($0).klDivergence }.sorted()
    #expect(summary.quantile(0.99) == sorted[98])
    #expect(summary.quantile(0.5) == sorted[49])
    #expect(summary.quantile(0.01) == sorted[0])
    #expect(summary.quantile(0.991) == sorted[99])
    #expect(summary.quantile(1) == sorted[99])
    #expect(summary.quantile(0) == sorted[0])
    for percent in 1...100 {
      #expect(summary.quantile(Double(percent) / 100) == sorted[percent - 1], "\(percent) %")
    }
  }

  @Test func `the worst rows come first, equal ones in their order`() {
    let summary = summary([1, 3, 0, 3, 2, 0.5], keepingWorst: 4)
    #expect(summary.worst.map(\.position) == [1, 3, 4, 0])
    #expect(summary.worst.map(\.klDivergence) == [3, 3, 2, 1].map { row($0).klDivergence })
    #expect(self.summary([1, 3], keepingWorst: 4).worst.map(\.position) == [1, 0])
    #expect(self.summary([1, 3]).worst.isEmpty)
  }

  @Test func `agreement is the share of rows with the same likeliest token`() {
    // Of two equal logits the first is the likeliest.
    #expect(summary([1, -1, -2, 0]).topAgreement == 0.75)
  }

  @Test func `perplexities are of the tokens that follow`() throws {
    var summary = DivergenceSummary()
    // The reference gives its tokens 1/2 and 1/4, the other 1/4 and 1/2.
    let rows: [([Float], [Float])] = [([0, log(3)], [0, 0]), ([0, 0], [0, log(3)])]
    for (other, reference) in rows {
      summary.add(
        LogitDivergence(of: other[...], from: reference[...]),
        position: 0,
        next: (reference[0], other[0])
      )
    }
    // A row without a token that follows counts for the divergence alone.
    summary.add(LogitDivergence(of: [0, 1], from: [0, 2]), position: 2)
    let perplexities = try #require(summary.perplexities)
    #expect(abs(perplexities.reference - 8.0.squareRoot()) < 1e-6)
    #expect(abs(perplexities.other - 8.0.squareRoot()) < 1e-6)
    #expect(summary.rowCount == 3)
  }
}
