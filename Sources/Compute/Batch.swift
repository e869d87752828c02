// The rows of a step; each row is a token of a session at a position.

/// One token of one session in a step.
package struct Row: Sendable, Hashable {
  /// The session's place in the KV caches.
  package var slot: Int
  /// The token's position in its session, from 0.
  package var position: Int
  package var token: Int32
  /// Whether the model's output for this row is wanted.
  ///
  /// It is wanted for the last token of a prompt and for each token that is decoded or scored. The
  /// other rows only contribute keys and values.
  package var isWanted: Bool

  package init(slot: Int, position: Int, token: Int32, isWanted: Bool) {
    self.slot = slot
    self.position = position
    self.token = token
    self.isWanted = isWanted
  }
}

/// The rows of one step.
///
/// The rows of one slot stand together, in ascending, gapless positions.
package struct Batch: Sendable, Hashable {
  package let rows: [Row]
  /// The indices in `rows` of the wanted rows, ascending.
  package let wantedRows: [Int]

  package init(rows: [Row]) {
    self.rows = rows
    self.wantedRows = rows.indices.filter { rows[$0].isWanted }
  }

  package func count(of rowSet: RowSet) -> Int {
    switch rowSet {
    case .all: rows.count
    case .wanted: wantedRows.count
    }
  }

  /// Calls `body` with each row of a set and its index within the set.
  package func forEach<Failure: Error>(
    in rowSet: RowSet,
    _ body: (Int, Row) throws(Failure) -> Void
  ) throws(Failure) {
    switch rowSet {
    case .all: for (index, row) in rows.enumerated() { try body(index, row) }
    case .wanted: for (index, source) in wantedRows.enumerated() { try body(index, rows[source]) }
    }
  }

  /// Calls `body` with each slot of the batch and its positions in the batch.
  ///
  /// - Precondition: The batch is valid: a slot's rows stand together.
  package func forEachSlot(_ body: (_ slot: Int, _ positions: Range<Int>) -> Void) {
    var first = rows.startIndex
    while first < rows.endIndex {
      let (slot, position) = (rows[first].slot, rows[first].position)
      let end = rows[first...].firstIndex { $0.slot != slot } ?? rows.endIndex
      body(slot, position..<(position + end - first))
      first = end
    }
  }
}

extension Batch {
  /// Checks that an embedding has every row's token; nil if the program has no embedding.
  ///
  /// - Throws: `ComputeError` with code `batch`, naming the row at fault.
  package func validate(vocabularySize: Int?) throws(ComputeError) {
    guard let vocabularySize else { return }
    for (index, row) in rows.enumerated() where Int(row.token) >= vocabularySize {
      throw ComputeError(
        .batch,
        "row \(index): token \(row.token) is outside the vocabulary of \(vocabularySize)"
      )
    }
  }

  /// Checks the batch against the limits of an executable.
  ///
  /// - Throws: `ComputeError` with code `batch`, naming the row at fault.
  package func validate(limits: ExecutableLimits) throws(ComputeError) {
    guard rows.count <= limits.maxRows else {
      throw ComputeError(.batch, "\(rows.count) rows, at most \(limits.maxRows) fit a step")
    }
    var seenSlots: Set<Int> = []
    for (index, row) in rows.enumerated() {
      guard (0..<limits.slots).contains(row.slot) else {
        throw ComputeError(.batch, "row \(index): slot \(row.slot) outside 0..<\(limits.slots)")
      }
      guard (0..<limits.contextTokens).contains(row.position) else {
        throw ComputeError(
          .batch,
          "row \(index): position \(row.position) outside 0..<\(limits.contextTokens)"
        )
      }
      guard row.token >= 0 else {
        throw ComputeError(.batch, "row \(index): token \(row.token) is negative")
      }
      if index > 0, rows[index - 1].slot == row.slot {
        guard rows[index - 1].position + 1 == row.position else {
          throw ComputeError(
            .batch,
            "row \(index): position \(row.position) follows \(rows[index - 1].position) in slot \(row.slot)"
          )
        }
      } else if !seenSlots.insert(row.slot).inserted {
        throw ComputeError(.batch, "row \(index): slot \(row.slot) appears twice in the step")
      }
    }
  }
}
