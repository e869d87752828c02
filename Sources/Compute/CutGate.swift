// How much of its weights a feed-forward with a sparse gate reads if the backend skips zeros.

import Foundation

/// The shares of a feed-forward's weights that one row needs behind a sparse gate.
package struct CutGate: Sendable, Hashable {
  /// The share of the gate's values above the threshold, for normally distributed values.
  package let keptShare: Double

  /// `deviations` is the threshold in standard deviations above the mean.
  package init(deviations: Float) {
    keptShare = 0.5 * erfc(Double(deviations) / 2.0.squareRoot())
  }

  /// The share of the bytes of `up` that is read: the rows of the remaining values.
  package func shareOfUp(_ type: TensorType) -> Double { type.isQuantised ? keptShare : 1 }

  /// The share of the bytes of `down` that is read: in q4_0, the columns of the remaining values
  /// and the scales of every block of 32 columns with at least one of them.
  ///
  /// Other types are not packed by columns and are read whole.
  package func shareOfDown(_ type: TensorType) -> Double {
    guard type == .q4_0 else { return 1 }
    let touched = 1 - pow(1 - keptShare, 32)
    return (2 * touched + 16 * keptShare) / 18
  }
}
