// The ring rule: how many positions of a slot a cache keeps, and which of them a row sees. Backends
// size their memory by it, the ledger counts by it, and the coordinator decides by it which
// prefixes can be reused. It is written only here.

/// How many positions of a slot one cache keeps, and how many of them a row sees.
///
/// Position `p` is stored at `p` modulo `capacity`, so writing a position overwrites the one
/// `capacity` before it.
package struct CacheRing: Sendable, Hashable {
  /// How many positions a row sees, its own included; nil for all.
  package let window: Int?
  /// How many positions of a slot are kept at once.
  package let capacity: Int

  package init(window: Int?, limits: ExecutableLimits) {
    self.window = window
    // A step writes all its rows before the first attends, so the ring holds the window of the
    // step's first row and all its rows: window + maxRows - 1 positions.
    let ring = window?.addingReportingOverflow(limits.maxRows - 1)
    capacity = min(
      limits.contextTokens,
      ring.map { $0.overflow ? limits.contextTokens : $0.partialValue } ?? limits.contextTokens
    )
  }

  /// Returns the positions before its own that a row at `position` sees.
  package func seen(from position: Int) -> Range<Int> {
    Self.seen(from: position, window: window)
  }

  fileprivate static func seen(from position: Int, window: Int?) -> Range<Int> {
    (window.map { max(0, position - $0 + 1) } ?? 0)..<position
  }

  /// Returns whether a slot whose steps have come to `reached` positions can go on at `count`.
  ///
  /// A ring never regains overwritten positions when a slot is cut back: the positions that are
  /// left begin at `reached - capacity`, however often the slot was cut back since. For a slot that
  /// begins anew, `reached` is 0.
  package func canResume(at count: Int, reached: Int) -> Bool {
    max(0, reached - capacity) <= seen(from: count).lowerBound
  }
}

extension Cache {
  /// Returns how the cache keeps positions in an executable with these limits.
  package func ring(in limits: ExecutableLimits) -> CacheRing {
    CacheRing(window: window, limits: limits)
  }

  /// Returns how many positions of a slot the cache keeps in an executable with these limits.
  package func capacity(_ limits: ExecutableLimits) -> Int { ring(in: limits).capacity }

  /// Returns the positions before its own that a row at `position` sees.
  package func seen(from position: Int) -> Range<Int> {
    CacheRing.seen(from: position, window: window)
  }
}
