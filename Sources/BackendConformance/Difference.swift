// How far two tensors lie apart, with numbers and a place.

/// The difference between what a backend computed and what was expected.
package struct Difference: Sendable, CustomStringConvertible {
  package var maxAbs: Float = 0
  package var maxRelative: Float = 0
  /// The first element beyond the limit, with both values.
  package var first: (index: Int, got: Float, want: Float)?
  package var failureCount = 0
  package var count: Int
  package var limit: Float

  /// Compares; a `limit` of 0 asks for the same bits, any other is the largest absolute difference
  /// that passes.
  package init(_ got: [Float], _ want: [Float], limit: Float) {
    count = want.count
    self.limit = limit
    guard got.count == want.count else {
      first = (min(got.count, want.count), .nan, .nan)
      failureCount = max(got.count, want.count)
      maxAbs = .infinity
      return
    }
    for index in want.indices where got[index].bitPattern != want[index].bitPattern {
      let difference = abs(got[index] - want[index])
      maxAbs = max(maxAbs, difference.isNaN ? .infinity : difference)
      if want[index] != 0 { maxRelative = max(maxRelative, difference / abs(want[index])) }
      guard limit == 0 || !(difference <= limit) else { continue }
      failureCount += 1
      if first == nil { first = (index, got[index], want[index]) }
    }
  }

  package var passes: Bool { failureCount == 0 }

  package var description: String {
    var text = "max-abs \(maxAbs), max-rel \(maxRelative), limit \(limit)"
    if let first {
      text += "; \(failureCount) of \(count) beyond it, the first at \(first.index): "
      text += "got \(first.got), want \(first.want)"
    }
    return text
  }
}
