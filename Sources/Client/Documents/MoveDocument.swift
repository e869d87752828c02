// What `trestle rebalance --json` and `drain --json` print.

package import Wire

/// What was moved, and how long the pipeline paused for it.
package struct MoveDocument: Codable, Sendable, Hashable {
  package var epoch: UInt32
  package var layersMoved: Int
  package var kvBytesMoved: UInt64
  package var pauseMs: Double

  package init(_ moved: Rebalanced) {
    epoch = moved.epoch
    layersMoved = moved.layersMoved
    kvBytesMoved = moved.kvBytesMoved
    pauseMs = Double(moved.pauseMicroseconds) / 1000
  }
}
