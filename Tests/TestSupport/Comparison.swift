// A comparison that shows numbers, not a verdict.

/// How far two tensors lie apart, and where.
package struct Comparison: Sendable, CustomStringConvertible {
  /// What was compared, for the report.
  package var name: String
  package var shape: [Int]
  package var tolerance: Float
  /// Elements of what was computed and of what was expected.
  package var counts: (got: Int, want: Int)
  /// The largest difference; infinite where one side is no number.
  package var maxAbs: Float
  /// Where the largest difference is.
  package var worstIndex: Int
  /// The first element beyond the tolerance.
  package var firstIndex: Int?
  /// How many elements are beyond the tolerance.
  package var failureCount: Int
  /// The first few values from `firstIndex` on (from the start where all match).
  package var excerpt: [(index: Int, got: Float, want: Float)]

  /// True if both have the same count and no element is beyond the tolerance.
  package var matches: Bool { counts.got == counts.want && failureCount == 0 }

  package var description: String {
    guard counts.got == counts.want else {
      return "\(name): \(counts.got) values where \(counts.want) are expected"
    }
    var text = "\(name) \(shape): max-abs \(maxAbs) at \(coordinates(worstIndex))"
    text += ", tolerance \(tolerance)"
    if let firstIndex {
      text += "; \(failureCount) of \(counts.got) beyond it, first at \(coordinates(firstIndex))"
    }
    for row in excerpt {
      text += "\n  \(coordinates(row.index)) got \(row.got), want \(row.want)"
    }
    return text
  }

  /// Returns the index as one position an axis, as `[2, 17]`.
  func coordinates(_ index: Int) -> [Int] {
    guard shape.reduce(1, *) == counts.want, !shape.isEmpty else { return [index] }
    var rest = index
    var result: [Int] = []
    for extent in shape.reversed() {
      result.insert(rest % extent, at: 0)
      rest /= extent
    }
    return result
  }
}

/// Compares what was computed with what is expected: `#expect(report.matches, "\(report)")`.
///
/// The tolerance is the largest absolute difference that passes; 0 asks for equal values. The
/// shape, outermost axis first, is for the report: it names places by it.
package func compare(
  _ got: [Float],
  _ want: [Float],
  tolerance: Float,
  shape: [Int] = [],
  name: String = "tensor"
) -> Comparison {
  var report = Comparison(
    name: name,
    shape: shape.isEmpty ? [want.count] : shape,
    tolerance: tolerance,
    counts: (got.count, want.count),
    maxAbs: 0,
    worstIndex: 0,
    firstIndex: nil,
    failureCount: 0,
    excerpt: []
  )
  guard got.count == want.count else { return report }
  for index in want.indices {
    // Equal infinities differ by nothing; a NaN differs from all, also from a NaN.
    var difference: Float = 0
    if got[index] != want[index] {
      difference = abs(got[index] - want[index])
      if difference.isNaN { difference = .infinity }
    }
    if difference > report.maxAbs {
      report.maxAbs = difference
      report.worstIndex = index
    }
    if difference > tolerance {
      report.firstIndex = report.firstIndex ?? index
      report.failureCount += 1
    }
  }
  let start = report.firstIndex ?? 0
  report.excerpt = (start..<min(want.count, start + 4)).map { ($0, got[$0], want[$0]) }
  return report
}
