// The rate limit of the log, per kind of line and per peer. A peer that can cause lines must not be
// able to fill a disk or to hide other lines.

/// Admits lines within a rate limit, and counts those that it drops.
///
/// A kind is the constant phrase of a message. Each kind has a token bucket, and each peer has a
/// smaller one for each kind. Thousands of peers with new names still share the bucket of their
/// kind.
struct LineRate {
  /// The size of a bucket: how many lines at once, and how many more each second.
  struct Limit {
    var burst: Double
    var perSecond: Double
  }

  private struct Allowance {
    var lines: Double
    var at: ContinuousClock.Instant

    init(_ limit: Limit, _ now: ContinuousClock.Instant) {
      lines = limit.burst
      at = now
    }

    mutating func grow(_ limit: Limit, _ now: ContinuousClock.Instant) {
      lines = min(limit.burst, lines + max(0, (now - at) / .seconds(1)) * limit.perSecond)
      at = max(at, now)
    }
  }

  private struct Source: Hashable {
    var kind: String
    /// Nil for the bucket that all peers of the kind share.
    var peer: String?
  }

  // The start or the loss of all 256 workers is logged in full; a flood is limited to about 100 KiB
  // a minute.
  static let kindLimit = Limit(burst: 256, perSecond: 8)
  static let peerLimit = Limit(burst: 16, perSecond: 2)
  /// The most buckets.
  ///
  /// Beyond that, full ones are forgotten first, then all those of peers, then all.
  static let memory = 1024

  private var allowances: [Source: Allowance] = [:]
  private var suppressed: [String: Int] = [:]

  /// Returns whether a line may be written.
  mutating func admits(kind: String, peer: String, at now: ContinuousClock.Instant) -> Bool {
    let (own, all) = (Source(kind: kind, peer: peer), Source(kind: kind, peer: nil))
    if allowances.count > Self.memory { forget(now) }
    refill(own, Self.peerLimit, now)
    refill(all, Self.kindLimit, now)
    guard (allowances[own]?.lines ?? 0) >= 1, (allowances[all]?.lines ?? 0) >= 1 else {
      // There are few phrases. If there were too many, those beyond the limit would share one
      // count.
      suppressed[suppressed.count < Self.memory ? kind : "", default: 0] += 1
      return false
    }
    allowances[own]?.lines -= 1
    allowances[all]?.lines -= 1
    return true
  }

  /// Returns how many lines of each kind were not admitted since the last call.
  mutating func takeSuppressed() -> [(kind: String, count: Int)] {
    defer { suppressed = [:] }
    return suppressed.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private mutating func refill(_ source: Source, _ limit: Limit, _ now: ContinuousClock.Instant) {
    allowances[source, default: Allowance(limit, now)].grow(limit, now)
  }

  private mutating func forget(_ now: ContinuousClock.Instant) {
    for (source, _) in allowances where source.peer != nil {
      refill(source, Self.peerLimit, now)
      if allowances[source]?.lines == Self.peerLimit.burst { allowances[source] = nil }
    }
    if allowances.count > Self.memory { allowances = allowances.filter { $0.key.peer == nil } }
    if allowances.count > Self.memory { allowances = [:] }
  }
}
