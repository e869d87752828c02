// Sums over the last seconds, for the rates and shares that status shows.

/// A sum of what was added in the last five seconds.
struct RecentSum: Sendable {
  // 51 slices, the last one incomplete: never less than five seconds.
  private static let slice = Duration.milliseconds(100)
  private static let sliceCount = 51
  private static let window = Duration.seconds(5)
  private var amounts = SlidingWindow(slice: slice, count: sliceCount, empty: 0.0)

  mutating func add(_ amount: Double, at now: ContinuousClock.Instant) {
    guard amount > 0 else { return }
    amounts.change(at: now) { $0 += amount }
  }

  /// Returns the sum over the window, divided by its length in seconds.
  func perSecond(at now: ContinuousClock.Instant) -> Double {
    amounts.values(at: now).reduce(0, +) / (Self.window / .seconds(1))
  }
}
