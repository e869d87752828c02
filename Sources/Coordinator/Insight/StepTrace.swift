// The timeline of one micro-batch: what the stages have reported, on the coordinator's clock.

/// A micro-batch's time in one stage.
package struct StageSlice: Sendable, Hashable {
  package var stage: Int
  package var worker: String
  package var layers: Range<Int>
  /// The rows of the vocabulary whose logits the stage computes.
  package var vocabulary: Range<Int>
  package var began: ContinuousClock.Instant
  package var duration: Duration
  /// How long it waited after the previous stage had finished, or the coordinator had sent it.
  package var wait: Duration
  /// Whether the stage shares the coordinator's clock; if not, `began` is an estimate.
  package var isExact: Bool
}

/// The path of one micro-batch through the pipeline.
package struct StepTrace: Sendable, Hashable {
  package var epoch: UInt32
  package var sequence: UInt64
  package var prefillRows: Int
  package var decodeRows: Int
  package var lastPosition: Int
  package var slices: [StageSlice]

  var stepClass: StepClass {
    StepClass(
      rowCount: prefillRows + decodeRows,
      lastPosition: lastPosition,
      isPrefill: prefillRows > 0
    )
  }
}

/// The offset between the clock of a worker's machine and the coordinator's.
struct WorkerClock: Sendable {
  // The heartbeats of a quarter of a minute: enough that one of them was not delayed anywhere.
  private static let mostSamples = 64
  private var samples: [Int64] = []

  /// Records the worker's clock in a heartbeat and the coordinator's at its arrival, in
  /// microseconds.
  mutating func hear(_ theirs: UInt64, at ours: UInt64) {
    guard theirs > 0 else { return }
    samples.append(Int64(clamping: ours) - Int64(clamping: theirs))
    if samples.count > Self.mostSamples { samples.removeFirst() }
  }

  /// Microseconds to add to the worker's clock.
  ///
  /// The smallest difference between sending and receiving is the clocks' difference plus the
  /// shortest transit time, so converted times are late by that transit time. It is nil before the
  /// first heartbeat.
  var offset: Int64? { samples.min() }
}
