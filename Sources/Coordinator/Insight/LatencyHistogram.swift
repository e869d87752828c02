// Percentiles of latencies in bounded memory, each within a stated relative error.
//
// The buckets are those of DDSketch: Masson, Rim, Lee, "DDSketch: A fast and fully-mergeable quantile
// sketch with relative-error guarantees", VLDB 2019, section 2.

internal import Glibc
internal import Wire

/// Counts of durations in buckets whose bounds grow by a tenth each.
///
/// A percentile lies within `relativeError` of a duration that was added, from a microsecond to a
/// quarter of an hour; shorter and longer durations are counted in the first and the last bucket.
struct LatencyHistogram: Sendable {
  private static let growth = 1.1
  /// The error of a bucket's middle against its bounds: (γ - 1) / (γ + 1), 4.8 %.
  static let relativeError = (growth - 1) / (growth + 1)
  // Bucket i holds (γ^(i-1), γ^i] microseconds: 1.1^217 µs are 960 s.
  private static let bucketCount = 218

  private var counts = [UInt32](repeating: 0, count: bucketCount)
  private(set) var count: UInt64 = 0

  mutating func add(_ duration: Duration) {
    let microseconds = duration / .microseconds(1)
    let index = microseconds > 1 ? Int((log(microseconds) / log(Self.growth)).rounded(.up)) : 0
    counts[min(index, Self.bucketCount - 1)] += 1
    count += 1
  }

  mutating func add(_ other: LatencyHistogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    count += other.count
  }

  /// Returns the duration that a `share` of the added ones does not exceed; nil if none was added.
  func percentile(_ share: Double) -> Duration? {
    let rank = max(1, UInt64((share * Double(count)).rounded(.up)))
    var seen: UInt64 = 0
    for (index, bucket) in counts.enumerated() {
      seen += UInt64(bucket)
      guard seen >= rank else { continue }
      return .microseconds(2 * pow(Self.growth, Double(index)) / (Self.growth + 1))
    }
    return nil
  }
}

/// Latencies: their percentiles in the last minute, and their counts since the start.
struct Latencies: Sendable {
  private(set) var counts = LatencyCounts()
  // Seven slices of ten seconds, the last one incomplete: never less than a minute, at most 70
  // seconds.
  private var slices = SlidingWindow(slice: .seconds(10), count: 7, empty: LatencyHistogram())

  mutating func add(_ duration: Duration, at now: ContinuousClock.Instant) {
    slices.change(at: now) { $0.add(duration) }
    counts.add(duration)
  }

  func summary(at now: ContinuousClock.Instant) -> LatencySummary {
    var all = LatencyHistogram()
    for slice in slices.values(at: now) { all.add(slice) }
    let microseconds = { (share: Double) in
      UInt64(((all.percentile(share) ?? .zero) / .microseconds(1)).rounded())
    }
    return LatencySummary(
      count: all.count,
      p50Microseconds: microseconds(0.5),
      p90Microseconds: microseconds(0.9),
      p99Microseconds: microseconds(0.99)
    )
  }
}
