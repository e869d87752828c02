// The measured cost of a part of a stage at some row counts, and by interpolation at any.

/// Time as a function of the rows of a step: measured at some counts, interpolated linearly between
/// them.
package struct CostCurve: Sendable, Hashable, Codable {
  /// Ascending; the first is 1 or more.
  package var rows: [Int]
  /// One time for each of `rows`.
  package var microseconds: [Double]

  /// The row counts that are measured.
  ///
  /// They are powers of two up to the largest micro-batch; the kernels change their method at 8 and
  /// 32 rows.
  package static let measuredRows = [1, 2, 4, 8, 16, 32, 64, 128]

  package init(rows: [Int], microseconds: [Double]) {
    self.rows = rows
    self.microseconds = microseconds
  }

  /// A curve that is zero for any number of rows.
  package static let zero = CostCurve(rows: [1], microseconds: [0])

  /// Returns the time for a number of rows.
  ///
  /// No rows cost nothing, fewer rows than were measured cost as much as the fewest measured, and
  /// the curve continues beyond the last measurement in a straight line.
  package func time(rows count: Int) -> Double {
    guard count > 0, let first = microseconds.first, count > rows[0] else {
      return count > 0 ? microseconds.first ?? 0 : 0
    }
    guard rows.count > 1 else { return first * Double(count) / Double(rows[0]) }
    let above = rows.firstIndex { $0 >= count } ?? rows.count - 1
    let (left, right) = (rows[above - 1], rows[above])
    let slope = (microseconds[above] - microseconds[above - 1]) / Double(right - left)
    // Noise may make a measurement fall with more rows; continued in a straight line, it would
    // become negative.
    let isBeyond = count > right
    let from = isBeyond ? right : left
    return microseconds[isBeyond ? above : above - 1]
      + (isBeyond ? max(0, slope) : slope) * Double(count - from)
  }

  /// Returns this curve minus another, with negative values set to zero.
  package func subtracting(_ other: CostCurve) -> CostCurve {
    CostCurve(
      rows: rows,
      microseconds: zip(rows, microseconds).map { max(0, $1 - other.time(rows: $0)) }
    )
  }

  /// Returns what more rows cost beyond the fewest that were measured.
  package func beyondFirst() -> CostCurve {
    CostCurve(rows: rows, microseconds: microseconds.map { max(0, $0 - (microseconds.first ?? 0)) })
  }

  /// Returns a curve that never falls with more rows: measurements that do are noise.
  package func rising() -> CostCurve {
    var curve = self
    for index in microseconds.indices.dropLast().reversed() {
      curve.microseconds[index] = min(microseconds[index], curve.microseconds[index + 1])
    }
    return curve
  }

  /// Checks the values that were read from a file.
  ///
  /// - Throws: `CoordinatorError` with code `profile`.
  func validate(_ name: String) throws(CoordinatorError) {
    guard !rows.isEmpty, rows.count == microseconds.count, rows.count <= 64 else {
      throw CoordinatorError(
        .profile,
        "\(name) has \(rows.count) row counts and \(microseconds.count) times; give 1 to 64 of each"
      )
    }
    guard rows[0] > 0, zip(rows, rows.dropFirst()).allSatisfy({ $0 < $1 }), rows.last ?? 0 <= 65536
    else {
      throw CoordinatorError(.profile, "\(name): rows \(rows) do not ascend within 1...65536")
    }
    if let bad = microseconds.first(where: { !($0 >= 0 && $0 <= 1e9) }) {
      throw CoordinatorError(.profile, "\(name): \(bad) microseconds are outside 0...1e9")
    }
  }
}
