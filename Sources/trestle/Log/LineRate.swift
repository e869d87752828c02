// How many lines a second the log takes of one kind, and of one peer: whoever can cause a line must not
// be able to fill a disk, or to drown what others have to say.

/// Admits lines, and counts those it does not.
///
/// A kind is a message's constant phrase. Each has an allowance that grows with time up to a burst, and
/// each of its peers a smaller one; peers with new names by the thousand still share that of their kind.
struct LineRate {
  /// An allowance: so many lines at once, and so many a second.
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
    /// Nil for all of the kind.
    var peer: String?
  }

  // A start or a loss of all 256 workers is told in full; a flood is 100 KiB a minute.
  static let kindLimit = Limit(burst: 256, perSecond: 8)
  static let peerLimit = Limit(burst: 16, perSecond: 2)
  /// Sources that are remembered; when there are more, those that have their full allowance again go,
  /// and if there are none all.
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
      // Phrases are few; were they not, the count would be one for all.
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
