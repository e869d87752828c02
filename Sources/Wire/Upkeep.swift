// What a process that serves does for itself from time to time: it gives memory back that a burst has
// left, and says what has been turned away in front of its sockets.

internal import CLinux

/// The upkeep of a process, called from its event loop.
package struct Upkeep {
  /// How often the heap is looked at: a look takes microseconds.
  private static let interval = Duration.seconds(2)
  /// How often something is said: a flood of callers is a line, not a flood of lines.
  private static let silence = Duration.seconds(10)
  /// What must have become free for the heap to be trimmed; less is soon in use again.
  private static let spareBytes: UInt64 = 64 << 20

  private var nextLook: ContinuousClock.Instant
  private var nextWord: ContinuousClock.Instant
  private var told = SocketGuard.Counts()
  /// The least that has been free since the heap was trimmed: what was trimmed remains counted.
  private var freeBytes = UInt64.max

  package init(now: ContinuousClock.Instant) {
    nextLook = now
    nextWord = now
  }

  /// Does what is due.
  ///
  /// - Returns: What has been turned away since this was last told, by reason, for a line in the log;
  ///   nil if there is nothing to say.
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
