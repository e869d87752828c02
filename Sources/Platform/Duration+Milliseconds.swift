// Durations as the system's calls take them.

extension Duration {
  /// The milliseconds that cover the duration, from 0 to the largest `CInt`.
  package var wholeMilliseconds: Int {
    guard self > .zero else { return 0 }
    guard self < .milliseconds(Int(CInt.max)) else { return Int(CInt.max) }
    let (seconds, attoseconds) = components
    return Int(seconds) * 1000 + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
