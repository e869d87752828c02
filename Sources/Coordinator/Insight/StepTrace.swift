// When one micro-batch was where: what the stages said, on the coordinator's clock.

/// A micro-batch's time in one stage.
package struct StageSlice: Sendable, Hashable {
  package var stage: Int
  package var worker: String
  package var layers: Range<Int>
  /// The rows of the vocabulary whose logits it computes.
  package var vocabulary: Range<Int>
  package var began: ContinuousClock.Instant
  package var duration: Duration
  /// From when the stage before was done with it, or the coordinator had sent it.
  package var wait: Duration
  /// Whether the stage's clock is the coordinator's; else `began` is an estimate.
  package var isExact: Bool
}

/// The way of one micro-batch through the pipeline.
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

/// The clock of a worker's machine against the coordinator's.
struct WorkerClock: Sendable {
  // A quarter of a minute of heartbeats: enough for one that did not wait anywhere.
  private static let mostSamples = 64
  private var samples: [Int64] = []

  /// Takes the worker's clock as a heartbeat told it, in microseconds, and when it came.
  mutating func hear(_ theirs: UInt64, at ours: UInt64) {
    guard theirs > 0 else { return }
    samples.append(Int64(clamping: ours) - Int64(clamping: theirs))
    if samples.count > Self.mostSamples { samples.removeFirst() }
  }

  /// Microseconds to add to the worker's clock.
  ///
  /// The least difference between sending and hearing is the clocks' difference plus the shortest way,
  /// so times come out late by that way. Nil before the first heartbeat.
  var offset: Int64? { samples.min() }
}
