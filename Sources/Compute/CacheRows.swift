// Keys and values that are moved from one executable to another.

/// Keys and values of one slot in one cache, in a layout that is independent of the backend.
package struct CacheRows: Sendable, Hashable {
  /// The cache's layer (`Cache.layer`).
  package var layer: Int
  package var positions: Range<Int>
  // [positions, kvHeadCount * headDim] f32 each. They are the decoded values of the cache's own
  // type, so a cache of the same type stores them again bit for bit.
  package var keys: [Float]
  package var values: [Float]

  package init(layer: Int, positions: Range<Int>, keys: [Float], values: [Float]) {
    self.layer = layer
    self.positions = positions
    self.keys = keys
    self.values = values
  }

  /// Returns the rows of some of the positions, without a copy if `part` is all of them.
  ///
  /// - Precondition: `part` is among the positions.
  package func rows(at part: Range<Int>, width: Int) -> CacheRows {
    precondition(part.clamped(to: positions) == part, "\(part) of rows \(positions)")
    guard part != positions else { return self }
    let first = (part.lowerBound - positions.lowerBound) * width
    let columns = first..<(first + part.count * width)
    return CacheRows(
      layer: layer,
      positions: part,
      keys: Array(keys[columns]),
      values: Array(values[columns])
    )
  }
}
