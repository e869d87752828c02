// Counters of the compute thread, which another thread reads for its heartbeats.

package import Wire

/// The counters of one worker process.
package struct StageCounters: Sendable {
  package var steps: UInt64 = 0
  /// See `Program.layerRows`.
  package var layerRows: UInt64 = 0
  package var skippedLayerRows: UInt64 = 0
  /// When the step that is running began; nil between steps.
  package var stepBegan: ContinuousClock.Instant?
  package var kvBytes: UInt64 = 0
  /// Messages that were refused as malformed or unexpected.
  package var rejectedMessages: UInt64 = 0
  /// The result of the last self-test; nil before the first.
  package var selfTest: SelfTestReport?

  package init() {}
}
