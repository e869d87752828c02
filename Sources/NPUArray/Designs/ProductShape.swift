// How a product of any shape is made of calls, and how its matrices lie in the machine's memory.
//
// Rows beyond what the cores hold, depth beyond what the memory tiles hold, and columns beyond what a lock counts are
// further calls. Rows that are missing at the end are computed from others, and not stored. Columns that are missing are
// zeros in the packed B; those of C beyond a multiple of 8 are not stored. Depth that is missing is zeros in B, so that
// it does not matter what A has there.

/// A product of `rows` x `depth` by `depth` x `columns` bytes.
package struct ProductShape: Sendable, Hashable {
  package let rows: Int
  package let depth: Int
  package let columns: Int
  /// Rows and columns of cores.
  package let side: Int
  /// The calls, in their order.
  package let calls: [ProductCall]
  /// Rows that C has room for: each row of cores stores one at least.
  package let rowsOfC: Int

  /// Beyond any model; sums and products of sizes stay far from overflows.
  private static let most = 1 << 20

  /// - Parameters:
  ///   - rows: Of A and C.
  ///   - depth: Columns of A, rows of B.
  ///   - columns: Of B and C.
  ///   - side: Rows and columns of cores.
  ///   - rowsOfC: Room for rows in each part of C; nil for as many as there must be.
  /// - Throws: `NPUError.operand` for a size below one, or above a million, or too little room.
  package init(
    rows: Int,
    depth: Int,
    columns: Int,
    side: Int = 4,
    rowsOfC: Int? = nil
  ) throws(NPUError) {
    guard [rows, depth, columns].allSatisfy((1...Self.most).contains), (1...4).contains(side) else {
      throw NPUError(
        .operand,
        "a product of \(rows) x \(depth) by \(depth) x \(columns) on \(side) columns"
      )
    }
    self.rows = rows
    self.depth = depth
    self.columns = columns
    self.side = side
    let passes = Self.parts(Self.parts(columns, MatrixProduct.columns), side)
    let depthRanges = Self.depthRanges(depth)
    let rowRanges = Self.ranges(rows, most: MatrixProduct.rows * side, unit: 4)
    let passRanges = Self.ranges(passes, most: MatrixProduct.mostPasses)
    calls = depthRanges.enumerated().flatMap { part, steps in
      rowRanges.flatMap { rows in
        passRanges.map { passes in
          ProductCall(
            side: side,
            depthPart: part,
            firstStep: steps.lowerBound,
            steps: steps.count,
            rows: rows,
            passes: passes,
            allColumns: columns
          )
        }
      }
    }
    let ends = calls.map { call in
      call.rows.lowerBound + (0..<side).reduce(0) { $0 + call.rows(of: $1).count }
    }
    let needed = ends.max() ?? 0
    guard rowsOfC.map({ (needed...Self.most).contains($0) }) ?? true else {
      throw NPUError(.operand, "room for \(rowsOfC ?? 0) rows of C, of which there are \(needed)")
    }
    self.rowsOfC = rowsOfC ?? needed
  }

  // MARK: Parts

  /// Steps of k.
  private var steps: Int { Self.parts(depth, MatrixProduct.depth) }
  /// How often all of k is taken up anew, each time with a C of its own: sums of parts of k that the machine adds.
  package var depthParts: Int { Self.parts(steps, MatrixProduct.mostSteps) }
  /// Columns of 64, and how many of them each column of cores has.
  private var strips: Int { Self.parts(columns, MatrixProduct.columns) }
  package var passes: Int { Self.parts(strips, side) }
  /// The steps of each part of k.
  package var stepsOfParts: [Int] { Self.depthRanges(depth).map(\.count) }

  private static func parts(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }

  /// Equal parts of a range, as far as they can be equal in units of `unit`.
  private static func ranges(_ count: Int, most: Int, unit: Int = 1) -> [Range<Int>] {
    let units = parts(count, unit)
    let ranges = parts(units, most / unit)
    return (0..<ranges).map { part in
      units * part / ranges * unit..<min(count, units * (part + 1) / ranges * unit)
    }
  }

  private static func depthRanges(_ depth: Int) -> [Range<Int>] {
    ranges(parts(depth, MatrixProduct.depth), most: MatrixProduct.mostSteps)
  }

  // MARK: A

  /// Bytes from one row of A to the next; what is behind its `depth` bytes does not matter.
  package var pitchOfA: Int { steps * MatrixProduct.depth }
  /// Rows that A has room for: the cores read that many, whatever is in them.
  package var rowsOfA: Int {
    calls.map { $0.rows.lowerBound + max(MatrixProduct.rows, ($0.rows.count + 3) / 4 * 4) }.max()
      ?? 0
  }
  package var wordsOfA: Int { rowsOfA * pitchOfA / 4 }

  // MARK: B

  package var wordsOfB: Int {
    steps * passes * side * MatrixProduct.depth * MatrixProduct.columns / 4
  }

  /// Bytes before what a call reads of B in a column of cores.
  func offsetOfB(_ call: ProductCall, column: Int) -> Int {
    let step = MatrixProduct.depth * MatrixProduct.columns
    return
      (call.firstStep * passes * side
      + (column * passes + call.passes.lowerBound) * call.steps) * step
  }

  /// B in the order in which the cores want it.
  ///
  /// Part of k by part, column of cores by column, pass by pass, step by step: for each pair of column tiles, for each
  /// step of 8, two tiles of 8 x 8, each row of k by row.
  ///
  /// - Parameter b: Row by row, `depth` x `columns` bytes.
  /// - Returns: The words.
  /// - Throws: `NPUError.operand` for a matrix of another size.
  package func packed(_ b: [Int8]) throws(NPUError) -> [UInt32] {
    guard b.count == depth * columns else {
      throw NPUError(.operand, "\(b.count) bytes are no matrix of \(depth) x \(columns)")
    }
    var words: [UInt32] = []
    words.reserveCapacity(wordsOfB)
    for range in Self.depthRanges(depth) {
      for column in 0..<side {
        for pass in 0..<passes {
          for step in range {
            let first = (pass * side + column) * MatrixProduct.columns
            for pair in 0..<MatrixProduct.columns / 16 {
              for tile in 0..<MatrixProduct.depth / 8 * 2 {
                let row = step * MatrixProduct.depth + tile / 2 * 8
                append(b, row, first + pair * 16 + tile % 2 * 8, to: &words)
              }
            }
          }
        }
      }
    }
    return words
  }

  /// Adds a tile of 8 x 8 of B.
  private func append(_ b: [Int8], _ row: Int, _ column: Int, to words: inout [UInt32]) {
    for row in row..<row + 8 {
      for half in [column, column + 4] {
        var word: UInt32 = 0
        for byte in 0..<4 where row < depth && half + byte < columns {
          let value = UInt8(bitPattern: b[row * columns + half + byte])
          word |= UInt32(value) << UInt32(8 * byte)
        }
        words.append(word)
      }
    }
  }

  // MARK: C

  /// Numbers from one row of C to the next: whole tiles of 8.
  package var pitchOfC: Int { Self.parts(columns, 8) * 8 }
  /// For each part of k a C of its own, one behind the other; C is their sum.
  package var wordsOfC: Int { depthParts * rowsOfC * pitchOfC }

  /// Words before a call's first row.
  func offsetOfC(_ call: ProductCall) -> Int {
    (call.depthPart * rowsOfC + call.rows.lowerBound) * pitchOfC
  }

  /// Element (row, column) of C.
  ///
  /// - Precondition: There are such a row and column, and `wordsOfC` words.
  /// - Parameters:
  ///   - row: Below `rows`.
  ///   - column: Below `columns`.
  ///   - words: What the array has written.
  /// - Returns: The sum of all parts of k.
  package func element(_ row: Int, _ column: Int, in words: [UInt32]) -> Int32 {
    (0..<depthParts).reduce(0) { sum, part in
      sum &+ Int32(bitPattern: words[(part * rowsOfC + row) * pitchOfC + column])
    }
  }

  // MARK: Marks

  /// Words that the longest call leaves as marks, those of all columns behind each other.
  package var markWords: Int { side * (calls.map { $0.steps * $0.passes.count }.max() ?? 0) }
  /// What a column of cores stores that has no columns of B in the last pass.
  var unusedWords: Int { 8 * (side * MatrixProduct.rows + side) }
  package var wordsOfMarks: Int { markWords + side * unusedWords }
}

/// One call of a product.
package struct ProductCall: Sendable, Hashable {
  /// Passes of one column of cores that have equally many columns of C.
  struct Part: Hashable {
    var passes: Range<Int>
    /// Of C, a multiple of 8.
    var columns: Int
    /// Whether there are no such columns: what comes is stored where nobody reads.
    var isUnused = false
  }

  var side: Int
  /// Which part of k, its first step, and how many there are.
  var depthPart: Int
  var firstStep: Int
  package var steps: Int
  package var rows: Range<Int>
  package var passes: Range<Int>
  var allColumns: Int

  /// Units of 4 rows, which tiles of C have.
  private var units: Int { (rows.count + 3) / 4 }

  /// The rows that a row of cores stores, from the first of this call.
  private func share(_ row: Int) -> Range<Int> {
    let (first, end) =
      units >= side
      ? (units * row / side, units * (row + 1) / side) : (min(row, units), min(row + 1, units))
    return first * 4..<max(first * 4, min(end * 4, rows.count))
  }

  /// The first of the 64 rows of A that a row of cores computes.
  func window(of row: Int) -> Int { rows.lowerBound + start(row) }

  private func start(_ row: Int) -> Int {
    max(0, min(share(row).lowerBound, units * 4 - MatrixProduct.rows))
  }

  /// The rows that a row of cores stores: how many, and from which of its 64 on.
  ///
  /// One at least, since what is computed has to go.
  func rows(of row: Int) -> (offset: Int, count: Int) {
    let share = share(row)
    return share.isEmpty ? (0, 1) : (share.lowerBound - start(row), share.count)
  }

  /// The passes of a column of cores: those with 64 columns, then one with fewer or none.
  func parts(of column: Int) -> [Part] {
    let width = MatrixProduct.columns
    let left = { (pass: Int) in max(0, min(width, allColumns - (pass * side + column) * width)) }
    let full = passes.prefix { left($0) == width }.count
    let fullPasses = passes.lowerBound..<passes.lowerBound + full
    var parts = full > 0 ? [Part(passes: fullPasses, columns: width)] : []
    if fullPasses.upperBound < passes.upperBound {
      let rest = left(fullPasses.upperBound)
      parts.append(
        Part(
          passes: fullPasses.upperBound..<passes.upperBound,
          columns: max(8, (rest + 7) / 8 * 8),
          isUnused: rest == 0
        )
      )
    }
    return parts
  }
}
