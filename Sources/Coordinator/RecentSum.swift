// Sums over the last seconds, for status: rates and shares that follow what happens now.

/// A sum of what was added in the last five seconds.
struct RecentSum: Sendable {
  private static let window = Duration.seconds(5)
  private var samples: [(at: ContinuousClock.Instant, amount: Double)] = []

  mutating func add(_ amount: Double, at now: ContinuousClock.Instant) {
    guard amount > 0 else { return }
    samples.append((now, amount))
    if let fresh = samples.firstIndex(where: { now - $0.at <= Self.window }), fresh > 0 {
      samples.removeFirst(fresh)
    }
  }

  /// Returns the sum over the window, divided by its length in seconds.
  func perSecond(at now: ContinuousClock.Instant) -> Double {
    let sum = samples.filter { now - $0.at <= Self.window }.reduce(0) { $0 + $1.amount }
    return sum / (Self.window / .seconds(1))
  }
}

/// How long a stage has computed.
struct StageClock: Sendable {
  private(set) var total: Duration = .zero
  private(set) var lastStep: Duration = .zero
  /// The mean of a step that only decodes; 0 before the first.
  private(set) var decodeSeconds = 0.0
  private var recentSeconds = RecentSum()

  mutating func add(_ step: Duration, isDecode: Bool, at now: ContinuousClock.Instant) {
    total += step
    if isDecode {
      // Over about the last twenty steps.
      let seconds = step / .seconds(1)
      decodeSeconds += decodeSeconds == 0 ? seconds : (seconds - decodeSeconds) / 20
    }
    lastStep = step
    recentSeconds.add(step / .seconds(1), at: now)
  }

  /// Returns the share of the last seconds that the stage computed, 0 to 1.
  func busyShare(at now: ContinuousClock.Instant) -> Double {
    min(1, recentSeconds.perSecond(at: now))
  }
}
