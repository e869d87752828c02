// Parts of heartbeats and answers that tell how well a device is and how fast the pipeline: a
// self-test, a temperature, latencies.

/// Coordinator → worker: compute the small program of the self-test, between two steps.
///
/// Answered by the next Heartbeat whose selfTest has this number.
package struct SelfTest: Sendable, Hashable {
  /// Counts up; 0 is the one before Hello.
  package var run: UInt32

  package init(run: UInt32) {
    self.run = run
  }
}

/// A temperature of a worker's device.
package struct Temperature: Sendable, Hashable {
  /// As the kernel calls it.
  package var sensor: String
  package var celsius: Double

  package init(sensor: String, celsius: Double) {
    self.sensor = sensor
    self.celsius = celsius
  }
}

/// What a self-test found: a small program on the worker's backend and on the reference.
package struct SelfTestReport: Sendable, Hashable {
  /// Of the SelfTest; 0 is the one before Hello.
  package var run: UInt32
  /// The largest difference, in root mean squares of the reference's result.
  package var maxError: Double
  /// What it may be.
  package var tolerance: Double
  /// What is wrong; empty if it passed.
  package var failure: String

  package init(run: UInt32, maxError: Double, tolerance: Double, failure: String) {
    self.run = run
    self.maxError = maxError
    self.tolerance = tolerance
    self.failure = failure
  }
}

/// That layers move by themselves, and what was decided last.
package struct AutoRebalance: Sendable, Hashable {
  /// With its reason; empty before the first.
  package var decision: String
  /// Of the decision.
  package var ageMilliseconds: UInt64

  package init(decision: String, ageMilliseconds: UInt64) {
    self.decision = decision
    self.ageMilliseconds = ageMilliseconds
  }
}

/// Times of the last minute, each within a twentieth.
package struct LatencySummary: Sendable, Hashable {
  /// How many were measured.
  package var count: UInt64
  package var p50Microseconds: UInt64
  package var p90Microseconds: UInt64
  package var p99Microseconds: UInt64

  /// Nothing measured, if nothing is given.
  package init(
    count: UInt64 = 0,
    p50Microseconds: UInt64 = 0,
    p90Microseconds: UInt64 = 0,
    p99Microseconds: UInt64 = 0
  ) {
    self.count = count
    self.p50Microseconds = p50Microseconds
    self.p90Microseconds = p90Microseconds
    self.p99Microseconds = p99Microseconds
  }
}
