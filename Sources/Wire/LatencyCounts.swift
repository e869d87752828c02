// Times in buckets with fixed bounds, for programs that keep them: counts of several coordinators, or of the same
// one at several times, can be added and subtracted.

extension LatencyCounts {
  /// The bounds in microseconds: 1, 2 and 5 in each power of ten from a millisecond to 500 seconds.
  package static let bounds: [UInt64] = [1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]
    .flatMap { [$0, 2 * $0, 5 * $0] }

  /// None has been counted.
  package init() {
    self.init(counts: Array(repeating: 0, count: Self.bounds.count + 1), sumMicroseconds: 0)
  }

  /// Counts a time.
  package mutating func add(_ duration: Duration) {
    let microseconds = UInt64(max(0, duration / .microseconds(1)))
    counts[Self.bounds.firstIndex { microseconds <= $0 } ?? Self.bounds.count] += 1
    sumMicroseconds += microseconds
  }
}
