// A set of characters: Unicode scalar values, as ranges.

/// A set of Unicode scalar values.
struct CodePointSet: Hashable, Sendable {
  /// Sorted, without overlaps or neighbours, without surrogates.
  private(set) var ranges: [ClosedRange<UInt32>] = []

  static let all = CodePointSet([0...0x10FFFF])

  init() {}

  init(_ ranges: [ClosedRange<UInt32>]) {
    var parts: [ClosedRange<UInt32>] = []
    // Surrogates are no characters.
    for range in ranges {
      if range.lowerBound < 0xD800 {
        parts.append(range.lowerBound...min(range.upperBound, 0xD7FF))
      }
      if range.upperBound > 0xDFFF {
        parts.append(max(range.lowerBound, 0xE000)...range.upperBound)
      }
    }
    parts.sort { $0.lowerBound < $1.lowerBound }
    for range in parts {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound + 1 {
        self.ranges[self.ranges.count - 1] =
          last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  init(_ scalar: Unicode.Scalar) { self.init([scalar.value...scalar.value]) }

  var isEmpty: Bool { ranges.isEmpty }

  func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

  func union(_ other: CodePointSet) -> CodePointSet { CodePointSet(ranges + other.ranges) }

  var inverted: CodePointSet {
    var result: [ClosedRange<UInt32>] = []
    var start: UInt32 = 0
    for range in ranges {
      if range.lowerBound > start { result.append(start...range.lowerBound - 1) }
      start = range.upperBound + 1
    }
    if start <= 0x10FFFF { result.append(start...0x10FFFF) }
    return CodePointSet(result)
  }

  func intersection(_ other: CodePointSet) -> CodePointSet {
    inverted.union(other.inverted).inverted
  }

  func subtracting(_ other: CodePointSet) -> CodePointSet { intersection(other.inverted) }
}
