// Periodic housekeeping of a serving process: it returns free memory to the system after a burst, and
// reports the peers that the socket guard has turned away.

internal import CLinux

/// Housekeeping that a process's event loop calls.
package struct Upkeep {
  /// How often the size of the free heap is read, which takes microseconds.
  private static let interval = Duration.seconds(2)
  /// The shortest time between two reports, so that a flood of callers gives one line, not a flood
  /// of lines.
  private static let silence = Duration.seconds(10)
  /// How much must have become free before the heap is trimmed; smaller amounts are soon in use
  /// again.
  private static let spareBytes: UInt64 = 64 << 20

  private var nextLook: ContinuousClock.Instant
  private var nextWord: ContinuousClock.Instant
  private var told = SocketGuard.Counts()
  /// The least heap that has been free since the last trim, because glibc still counts trimmed
  /// memory as free.
  private var freeBytes = UInt64.max

  package init(now: ContinuousClock.Instant) {
    nextLook = now
    nextWord = now
  }

  /// Trims the heap and reports refusals, if they are due.
  ///
  /// - Returns: How many peers have been turned away since the last report, by reason, for a line
  ///   in the log; nil if there is nothing to report.
  package mutating func run(at now: ContinuousClock.Instant) -> [String: String]? {
    guard now >= nextLook else { return nil }
    nextLook = now + Self.interval
    trim()
    return now >= nextWord ? news(at: now) : nil
  }

  private mutating func trim() {
    let free = clinux_free_heap()
    if free > freeBytes, free - freeBytes >= Self.spareBytes {
      clinux_trim_heap()
      freeBytes = free
    } else {
      freeBytes = min(freeBytes, free)
    }
  }

  private mutating func news(at now: ContinuousClock.Instant) -> [String: String]? {
    let counts = SocketGuard.counts
    let all = [
      ("too_many", counts.full, told.full), ("one_peer", counts.crowded, told.crowded),
      ("no_resources", counts.exhausted, told.exhausted),
      ("mute", counts.displaced, told.displaced), ("endless", counts.unended, told.unended),
      ("other_protocol", counts.outdated, told.outdated),
    ]
    let fresh = all.filter { $1 > $2 }.map { ($0, "\($1 - $2)") }
    guard !fresh.isEmpty else { return nil }
    told = counts
    nextWord = now + Self.silence
    return Dictionary(uniqueKeysWithValues: fresh)
  }
}
