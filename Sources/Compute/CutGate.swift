// What a feed-forward whose gate is cut reads of its weights, where a backend skips what is zero.

import Foundation

/// How much of a feed-forward's weights one row needs behind a cut gate.
package struct CutGate: Sendable, Hashable {
  /// The share of the gate that is left: what a normal distribution has above the cut.
  package let keptShare: Double

  /// `deviations` is where the gate is cut, in standard deviations above its mean.
  package init(deviations: Float) {
    keptShare = 0.5 * erfc(Double(deviations) / 2.0.squareRoot())
  }

  /// The share of the bytes of `up`: the rows that are left.
  package func shareOfUp(_ type: TensorType) -> Double { type.isQuantised ? keptShare : 1 }

  /// The share of the bytes of `down`: the columns that are left, and in q4_0 the scales of every
  /// block of 32 columns that has one of them.
  ///
  /// Other types have no layout by columns and are read whole.
  package func shareOfDown(_ type: TensorType) -> Double {
    guard type == .q4_0 else { return 1 }
    let touched = 1 - pow(1 - keptShare, 32)
    return (2 * touched + 16 * keptShare) / 18
  }
}
