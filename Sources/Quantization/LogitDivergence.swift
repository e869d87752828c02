// How far the logits of one row are from those of another model: what quantisation has done to the next
// token's distribution.

internal import Glibc

/// How a model's logits of a row differ from those of the model that it stands for.
///
/// A row may come in pieces of the vocabulary, in ascending order.
package struct LogitDivergence: Sendable {
  /// `log Σ exp(logit)` of one of the two, with the highest logit taken out, so that no power overflows.
  private struct LogSum {
    var highest = -Float.infinity
    var top = 0
    /// `Σ exp(logit - highest)`.
    var sum = 0.0

    var value: Double { Glibc.log(sum) + Double(highest) }

    /// Makes room for a logit, and returns by how much sums so far must be scaled.
    mutating func raise(to logit: Float, at token: Int) -> Double {
      guard logit > highest else { return 1 }
      let scale = sum == 0 ? 0 : Glibc.exp(Double(highest - logit))
      (highest, top) = (logit, token)
      sum *= scale
      return scale
    }
  }

  private var reference = LogSum()
  private var other = LogSum()
  /// `Σ exp(reference logit - highest) · (reference logit - other logit)`.
  private var weighted = 0.0
  private var count = 0

  package init() {}

  /// - Parameters:
  ///   - other: The logits of the other model, one for each token.
  ///   - reference: The logits of the model that is right, for the same tokens.
  package init(of other: ArraySlice<Float>, from reference: ArraySlice<Float>) {
    add(other, from: reference)
  }

  /// `Σ p log(p / q)` in nats, p the reference's distribution and q the other's; 0 if they are equal.
  ///
  /// Rounding can bring the divergence of almost equal distributions below zero, which none is. It is NaN if a logit
  /// is, and infinite if the other holds impossible what the reference does not.
  package var klDivergence: Double {
    let divergence = weighted / reference.sum - reference.value + other.value
    return divergence < 0 ? 0 : divergence
  }

  /// Whether the likeliest token is the same; of equally likely ones it is the first.
  package var sameTop: Bool { reference.top == other.top }

  /// The logarithms of the sums of `exp(logit)`, by which a logit becomes a log probability.
  package var logSums: (reference: Double, other: Double) { (reference.value, other.value) }

  /// Adds the next piece of the vocabulary.
  ///
  /// - Precondition: Both have the same count, and at least one logit.
  /// - Complexity: O(n) for n logits, which are read twice.
  package mutating func add(_ other: ArraySlice<Float>, from reference: ArraySlice<Float>) {
    precondition(
      reference.count == other.count && !reference.isEmpty,
      "\(other.count) logits for \(reference.count)"
    )
    unsafe reference.withUnsafeBufferPointer { reference in
      unsafe other.withUnsafeBufferPointer { other in unsafe add(reference, other) }
    }
    count += reference.count
  }

  private typealias Lanes = SIMD16<Float>

  private mutating func add(
    _ references: UnsafeBufferPointer<Float>,
    _ others: UnsafeBufferPointer<Float>
  ) {
    let (top, otherTop) = (unsafe Self.top(of: references), unsafe Self.top(of: others))
    weighted *= unsafe reference.raise(to: references[top], at: count + top)
    _ = unsafe other.raise(to: others[otherTop], at: count + otherTop)
    // Lanes are added up in f64 every so often, so that 262,144 small terms do not lose what they are.
    for first in stride(from: 0, to: references.count, by: 4096) {
      let end = min(first + 4096, references.count)
      var (part, otherPart, weightedPart) = (Lanes(), Lanes(), Lanes())
      for index in stride(from: first, to: end, by: Lanes.scalarCount) {
        let a = unsafe Self.load(references, index, end)
        let b = unsafe Self.load(others, index, end)
        // Where all logits so far are -infinity, no power can be told from their differences.
        let power =
          reference.highest == -.infinity ? Lanes() : Self.exponential(a - reference.highest)
        part += power
        otherPart += other.highest == -.infinity ? Lanes() : Self.exponential(b - other.highest)
        // What has no probability costs nothing, even if the other model's logit is infinitely far.
        weightedPart += (power * (a - b)).replacing(with: 0, where: power .== 0)
      }
      for lane in 0..<Lanes.scalarCount {
        reference.sum += Double(part[lane])
        other.sum += Double(otherPart[lane])
        weighted += Double(weightedPart[lane])
      }
    }
  }

  /// Returns the lanes from an index on; those beyond the end have no probability.
  private static func load(
    _ values: UnsafeBufferPointer<Float>,
    _ index: Int,
    _ end: Int
  ) -> Lanes {
    guard end - index < Lanes.scalarCount, let base = values.baseAddress else {
      return unsafe UnsafeRawPointer(values.baseAddress.unsafelyUnwrapped + index)
        .loadUnaligned(as: Lanes.self)
    }
    var lanes = Lanes(repeating: -.infinity)
    for lane in 0..<(end - index) { lanes[lane] = unsafe base[index + lane] }
    return lanes
  }

  private static func top(of values: UnsafeBufferPointer<Float>) -> Int {
    var (best, index) = (-Float.infinity, 0)
    for place in values.indices where unsafe values[place] > best {
      (best, index) = (unsafe values[place], place)
    }
    return index
  }

  /// Returns e^x for x <= 0, and 0 below -87: `2^n · e^r` with n = round(x / ln 2) and e^r by its series up to r⁷,
  /// of which the next term is at most 5e-9.
  private static func exponential(_ x: Lanes) -> Lanes {
    let isTiny = x .< -87
    let x = x.replacing(with: -87, where: isTiny)
    // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
    let shifted = x * 1.442_695_04 + 12_582_912
    let n = shifted - 12_582_912
    // ln 2 in two parts, the first with few enough bits that n · part is exact.
    let r = (x - n * 0.693_359_375) + n * 2.121_944_40e-4
    var sum = Lanes(repeating: 1 / 5040)
    for factor: Float in [1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1, 1] { sum = sum * r + factor }
    let bits = unsafe unsafeBitCast(shifted, to: SIMD16<UInt32>.self)
    let power = (bits &<< 23) &+ 0x3F80_0000
    let powerOfTwo = unsafe unsafeBitCast(power, to: Lanes.self)
    return (sum * powerOfTwo).replacing(with: 0, where: isTiny)
  }
}
