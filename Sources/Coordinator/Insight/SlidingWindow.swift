// A sliding window over the last seconds or minutes, in slices of equal length: slices older than
// the window are removed, so memory is bounded whatever happens in it.

/// A value for each slice of a window that ends now.
///
/// The window is `count` slices long and the last slice is incomplete, so it covers
/// between `count - 1` and `count` slices of time.
struct SlidingWindow<Value: Sendable>: Sendable {
  let slice: Duration
  let count: Int
  private let empty: Value
  /// Oldest first; slices without events are absent.
  private var slices: [(index: Int, value: Value)] = []
  private var origin: ContinuousClock.Instant?

  init(slice: Duration, count: Int, empty: Value) {
    self.slice = slice
    self.count = count
    self.empty = empty
  }

  /// Changes the value of the current slice.
  mutating func change(at now: ContinuousClock.Instant, _ body: (inout Value) -> Void) {
    if origin == nil { origin = now }
    let current = index(of: now)
    if slices.last.map({ $0.index < current }) ?? true {
      let lastOutside = current - count
      slices.removeAll { $0.index <= lastOutside }
      slices.append((current, empty))
    }
    body(&slices[slices.count - 1].value)
  }

  /// Returns the values of the slices within the window, oldest first.
  func values(at now: ContinuousClock.Instant) -> [Value] {
    let current = index(of: now)
    return slices.filter { $0.index > current - count }.map(\.value)
  }

  private func index(of now: ContinuousClock.Instant) -> Int {
    guard let origin else { return 0 }
    return Int((now - origin) / slice)
  }
}
