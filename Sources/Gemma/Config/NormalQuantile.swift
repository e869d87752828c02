// The quantile of the standard normal distribution, which turns an activation sparsity into
// standard deviations above the mean.

import Glibc

/// Returns `z` with `Φ(z) = probability`.
///
/// It bisects `Φ(z) = erfc(−z/√2)/2` (Abramowitz and Stegun, 26.2.29), which glibc computes to an
/// ulp. Speed does not matter, because it runs once for each layer when a model is opened.
///
/// - Precondition: `0 < probability < 1`.
func normalQuantile(_ probability: Double) -> Double {
  precondition(probability > 0 && probability < 1, "no quantile of \(probability)")
  // Φ(±39) differs from 0 and 1 by less than the smallest double.
  var (low, high) = (-39.0, 39.0)
  while true {
    let middle = (low + high) / 2
    // When no double is left between the two, the middle is one of them, and the loop ends.
    guard middle > low, middle < high else { return high }
    if erfc(-middle / 2.0.squareRoot()) / 2 < probability { low = middle } else { high = middle }
  }
}
