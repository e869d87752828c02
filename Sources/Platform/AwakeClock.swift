// The time that a process has been awake. A process may stand still for seconds or hours: Ctrl-Z, a
// laptop that sleeps, a paused container, a snapshot of a virtual machine. It has heard of nobody
// meanwhile, through no fault of theirs. So its patience is measured on a clock that leaves out what it
// has slept, and nothing that it measures has to be put right afterwards.

/// Turns readings of the system's clock into instants on an axis without standstills.
///
/// A loop reads it each time round, at least every 100 ms. A longer pause between two readings than
/// `longestPause` is a standstill and takes no time at all.
package struct AwakeClock: Sendable {
  private struct Standstill: Sendable {
    /// When it ended, by the system's clock.
    var end: ContinuousClock.Instant
    /// What has been left out by then, in all.
    var leftOut: Duration
  }

  /// Older times than so many standstills ago are of no interest to anybody.
  private static let mostStandstills = 16

  private let longestPause: Duration
  private var lastReading: ContinuousClock.Instant
  private var standstills: [Standstill] = []
  /// What had been left out before the first of them.
  private var leftOutBefore = Duration.zero

  /// - Parameters:
  ///   - longestPause: The longest pause between two readings that may be a busy loop's. A second is
  ///     ten times what loops wait in poll.
  ///   - now: The first reading.
  package init(longestPause: Duration = .seconds(1), now: ContinuousClock.Instant) {
    self.longestPause = longestPause
    lastReading = now
  }

  /// Takes a reading of the system's clock and returns it on the axis without standstills.
  ///
  /// The axis never goes back, whatever the readings do.
  package mutating func read(_ reading: ContinuousClock.Instant) -> ContinuousClock.Instant {
    let now = max(reading, lastReading)
    let pause = now - lastReading
    if pause > longestPause {
      if standstills.count == Self.mostStandstills {
        leftOutBefore = standstills.removeFirst().leftOut
      }
      standstills.append(Standstill(end: now, leftOut: leftOut + pause))
    }
    lastReading = now
    return now - leftOut
  }

  /// Everything that has been left out so far.
  package var leftOut: Duration { standstills.last?.leftOut ?? .zero }

  /// Whether a standstill ended less than so long ago, as of the last reading.
  package func hasStoodStill(within duration: Duration) -> Bool {
    standstills.last.map { lastReading - $0.end < duration } ?? false
  }

  /// Returns an instant of the system's clock, past or to come, on the axis without standstills.
  ///
  /// One that lies within a standstill comes out at most that standstill early, never after the axis's
  /// own now if it was not after the last reading.
  package func place(_ instant: ContinuousClock.Instant) -> ContinuousClock.Instant {
    guard let later = standstills.firstIndex(where: { $0.end > instant }) else {
      return instant - leftOut
    }
    let before = later == 0 ? leftOutBefore : standstills[later - 1].leftOut
    return min(instant - before, standstills[later].end - standstills[later].leftOut)
  }
}
