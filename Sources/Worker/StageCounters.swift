// What a stage's compute thread has done, for the heartbeats that another thread sends.

package import Wire

/// Counts of one worker process, readable from any thread.
package struct StageCounters: Sendable {
  package var steps: UInt64 = 0
  /// See `Program.layerRows`.
  package var layerRows: UInt64 = 0
  package var skippedLayerRows: UInt64 = 0
  /// When the step that is running began; nil between steps.
  package var stepBegan: ContinuousClock.Instant?
  package var kvBytes: UInt64 = 0
  /// Messages refused as malformed or out of place.
  package var rejectedMessages: UInt64 = 0
  /// What the last self-test found; nil before the first.
  package var selfTest: SelfTestReport?

  package init() {}
}
