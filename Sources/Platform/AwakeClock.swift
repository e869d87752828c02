// The time that a process has been awake. A process may stand still for seconds or hours (Ctrl-Z, a
// suspended laptop, a paused container, a snapshot of a virtual machine). During that time it
// receives no message, and its peers are not to blame. So timeouts are measured on a clock that
// leaves out these standstills, and no deadline has to be corrected afterwards.

/// Turns readings of the system's clock into instants on an axis without standstills.
///
/// A loop reads the clock in each iteration, at least every 100 ms. A pause between two readings
/// that is longer than `longestPause` is a standstill and counts as no time at all.
package struct AwakeClock: Sendable {
  private struct Standstill: Sendable {
    /// The end of the standstill, by the system's clock.
    var end: ContinuousClock.Instant
    /// The total time left out up to that end.
    var leftOut: Duration
  }

  /// How many standstills are remembered; instants before the oldest of them are not asked for.
  private static let mostStandstills = 16

  private let longestPause: Duration
  private var lastReading: ContinuousClock.Instant
  private var standstills: [Standstill] = []
  /// The time that had been left out before the first remembered standstill.
  private var leftOutBefore = Duration.zero

  /// - Parameters:
  ///   - longestPause: The longest pause between two readings that a busy loop may make. The
  ///     default of one second is ten times what loops wait in poll.
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

  /// The total time that has been left out so far.
  package var leftOut: Duration { standstills.last?.leftOut ?? .zero }

  /// Whether a standstill ended less than `duration` before the last reading.
  package func hasStoodStill(within duration: Duration) -> Bool {
    standstills.last.map { lastReading - $0.end < duration } ?? false
  }

  /// Returns the place of an instant of the system's clock, past or future, on the axis without
  /// standstills.
  ///
  /// An instant within a standstill is placed early by at most the length of that standstill. An
  /// instant at or before the last reading is never placed after the axis's current time.
  package func place(_ instant: ContinuousClock.Instant) -> ContinuousClock.Instant {
    guard let later = standstills.firstIndex(where: { $0.end > instant }) else {
      return instant - leftOut
    }
    let before = later == 0 ? leftOutBefore : standstills[later - 1].leftOut
    return min(instant - before, standstills[later].end - standstills[later].leftOut)
  }
}
