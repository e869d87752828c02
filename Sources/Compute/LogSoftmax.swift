// How likely tokens are, by the logits of one row.

internal import Glibc

/// The logarithm of the softmax of a row of logits, in f64.
///
/// It reads the row once; then any token's log probability is two subtractions.
package struct LogSoftmax: Sendable {
  private let highest: Double
  private let logSum: Double

  /// - Complexity: O(n) for n logits.
  package init(_ logits: [Float]) {
    let highest = Double(logits.max() ?? 0)
    // The highest is subtracted first, so that no power overflows.
    logSum = Glibc.log(logits.reduce(0.0) { $0 + Glibc.exp(Double($1) - highest) })
    self.highest = highest
  }

  /// Returns the natural logarithm of the probability of a token with this logit; never above 0 for one
  /// of the row's.
  package func logProbability(ofLogit logit: Float) -> Double {
    Double(logit) - highest - logSum
  }
}
