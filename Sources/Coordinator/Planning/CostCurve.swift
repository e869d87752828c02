// What a piece of a stage costs at some numbers of rows, and so at any.

/// Time as a function of the rows of a step: measured at some counts, straight lines between them.
package struct CostCurve: Sendable, Hashable, Codable {
  /// Ascending, from 1 or more.
  package var rows: [Int]
  /// One for each of `rows`.
  package var microseconds: [Double]

  /// The row counts that are measured.
  ///
  /// Powers of two up to a micro-batch's most; the kernels change their ways at 8 and 32 rows.
  package static let measuredRows = [1, 2, 4, 8, 16, 32, 64, 128]

  package init(rows: [Int], microseconds: [Double]) {
    self.rows = rows
    self.microseconds = microseconds
  }

  /// Costs nothing, whatever the rows.
  package static let zero = CostCurve(rows: [1], microseconds: [0])

  /// Returns the time for some rows: none costs nothing, fewer than measured what the fewest cost,
  /// more are continued in a straight line.
  package func time(rows count: Int) -> Double {
    guard count > 0, let first = microseconds.first, count > rows[0] else {
      return count > 0 ? microseconds.first ?? 0 : 0
    }
    guard rows.count > 1 else { return first * Double(count) / Double(rows[0]) }
    let above = rows.firstIndex { $0 >= count } ?? rows.count - 1
    let (left, right) = (rows[above - 1], rows[above])
    let slope = (microseconds[above] - microseconds[above - 1]) / Double(right - left)
    // A measurement may fall with more rows, by noise; continued, it would reach below zero.
    let isBeyond = count > right
    let from = isBeyond ? right : left
    return microseconds[isBeyond ? above : above - 1]
      + (isBeyond ? max(0, slope) : slope) * Double(count - from)
  }

  /// Returns this curve with that of another taken off, nowhere below zero.
  package func subtracting(_ other: CostCurve) -> CostCurve {
    CostCurve(
      rows: rows,
      microseconds: zip(rows, microseconds).map { max(0, $1 - other.time(rows: $0)) }
    )
  }

  /// Returns this curve without what more rows in less time show to be noise.
  package func rising() -> CostCurve {
    var curve = self
    for index in microseconds.indices.dropLast().reversed() {
      curve.microseconds[index] = min(microseconds[index], curve.microseconds[index + 1])
    }
    return curve
  }

  /// Checks what a file says.
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
