// Which positions of a session a cache still has after its ring has overwritten some, after a
// session was cut back to a prefix, and after rows were imported.

/// The positions of one slot that a cache holds, which are always one range without gaps.
///
/// A cache stores position `p` at `p` modulo its capacity, so writing a position overwrites the one
/// `capacity` before it.
package struct HeldPositions: Sendable, Hashable {
  /// How many positions are kept at once.
  package let capacity: Int
  package private(set) var range: Range<Int> = 0..<0

  package init(capacity: Int) {
    precondition(capacity > 0, "a cache of \(capacity) positions")
    self.capacity = capacity
  }

  /// Notes the positions that a step has written; positions after them are no longer valid and are
  /// forgotten.
  ///
  /// - Precondition: `positions` is not empty.
  package mutating func append(_ positions: Range<Int>) {
    precondition(!positions.isEmpty, "nothing was appended at \(positions.lowerBound)")
    keep(upTo: positions.lowerBound)
    if range.upperBound != positions.lowerBound { range = positions }
    range = newest(range.lowerBound..<positions.upperBound)
  }

  /// Notes imported rows and returns those that have room.
  ///
  /// Rows that touch the held range extend it, others replace it. If the result is too large for
  /// the ring, the last positions are kept, in whatever order they come.
  package mutating func put(_ positions: Range<Int>) -> Range<Int> {
    guard !positions.isEmpty else { return positions }
    let touches =
      !range.isEmpty && positions.lowerBound <= range.upperBound
      && range.lowerBound <= positions.upperBound
    let lower = touches ? min(range.lowerBound, positions.lowerBound) : positions.lowerBound
    let upper = touches ? max(range.upperBound, positions.upperBound) : positions.upperBound
    range = newest(lower..<upper)
    return positions.clamped(to: range)
  }

  /// Forgets the positions from `count` on.
  package mutating func keep(upTo count: Int) {
    if range.upperBound > count { range = min(range.lowerBound, count)..<count }
  }

  package mutating func clear() { range = 0..<0 }

  /// Returns whether all of `positions` are held.
  package func contains(_ positions: Range<Int>) -> Bool {
    positions.isEmpty
      || range.lowerBound <= positions.lowerBound && positions.upperBound <= range.upperBound
  }

  private func newest(_ positions: Range<Int>) -> Range<Int> {
    max(positions.lowerBound, positions.upperBound - capacity)..<positions.upperBound
  }
}
