// The checks that precede every change of slots. A check throws with the values at fault, and then
// nothing has changed.

extension SlotLedger {
  /// Checks that a slot exists.
  private func validate(slot: Int) throws(ComputeError) {
    guard (0..<limits.slots).contains(slot) else {
      throw ComputeError(.batch, "slot \(slot) outside 0..<\(limits.slots)")
    }
  }

  /// Checks that a cache and a slot exist.
  private func validate(cache: Int, slot: Int) throws(ComputeError) {
    guard shapes.indices.contains(cache) else {
      throw ComputeError(.batch, "cache \(cache) outside 0..<\(shapes.count)")
    }
    try validate(slot: slot)
  }

  /// Checks that each slot's rows continue where its last step ended, and that the caches hold what
  /// they see.
  ///
  /// A program without caches accepts any row.
  ///
  /// - Throws: `ComputeError` with code `batch`, naming the row.
  package func validateAppend(_ batch: Batch) throws(ComputeError) {
    guard !shapes.isEmpty else { return }
    var previousSlot: Int?
    for (index, row) in batch.rows.enumerated() where row.slot != previousSlot {
      previousSlot = row.slot
      let count = positionCount(slot: row.slot)
      guard row.position == count else {
        throw ComputeError(
          .batch,
          "row \(index): slot \(row.slot) holds \(count) positions, but the row is at \(row.position)"
        )
      }
      try validateHistory(slot: row.slot, position: row.position, asker: .row(index))
    }
  }

  /// The operation that needs cached positions, for messages.
  private enum Asker: CustomStringConvertible {
    case row(Int)
    case resume(Int)

    var description: String {
      switch self {
      case .row(let index): "row \(index)"
      case .resume(let count): "resume at \(count)"
      }
    }
  }

  /// Checks that every cache holds the earlier positions that a row at `position` sees.
  private func validateHistory(slot: Int, position: Int, asker: Asker) throws(ComputeError) {
    for (shape, cache) in zip(shapes, caches) {
      let seen = cache.ring.seen(from: position)
      let held = cache.held(slot: slot)
      guard seen.isEmpty || seen.clamped(to: held) == seen else {
        throw ComputeError(
          .batch,
          "\(asker): slot \(slot) needs positions \(seen), \(held) are held",
          context: "layer \(shape.layer)"
        )
      }
    }
  }

  /// Checks that a cache holds the requested positions.
  package func validateExport(
    cache: Int,
    slot: Int,
    positions: Range<Int>
  ) throws(ComputeError) {
    try validate(cache: cache, slot: slot)
    let held = heldPositions(cache: cache, slot: slot)
    guard positions.isEmpty || positions.clamped(to: held) == positions else {
      throw ComputeError(
        .batch,
        "positions \(positions) asked for, \(held) are held",
        context: "layer \(shapes[cache].layer), slot \(slot)"
      )
    }
  }

  /// Checks that rows fit a cache's layer and width, and the context.
  package func validateImport(
    _ rows: CacheRows,
    cache: Int,
    slot: Int
  ) throws(ComputeError) {
    try validate(cache: cache, slot: slot)
    let own = shapes[cache]
    let context = "layer \(own.layer), slot \(slot)"
    guard rows.layer == own.layer else {
      throw ComputeError(.batch, "rows of layer \(rows.layer)", context: context)
    }
    guard rows.positions.lowerBound >= 0, rows.positions.upperBound <= limits.contextTokens else {
      throw ComputeError(
        .batch,
        "positions \(rows.positions) outside 0..<\(limits.contextTokens)",
        context: context
      )
    }
    for (name, count) in [("keys", rows.keys.count), ("values", rows.values.count)]
    where count != rows.positions.count * own.width {
      throw ComputeError(
        .batch,
        "\(count) \(name), \(rows.positions.count * own.width) expected",
        context: context
      )
    }
  }

  /// Checks that a slot can continue at `count`: every cache holds the positions that a row there
  /// sees.
  package func validateResume(slot: Int, at count: Int) throws(ComputeError) {
    try validate(slot: slot)
    guard (0...limits.contextTokens).contains(count) else {
      throw ComputeError(.batch, "\(count) positions, the context has \(limits.contextTokens)")
    }
    try validateHistory(slot: slot, position: count, asker: .resume(count))
  }

  /// Checks that the slots are different, and that the source has at least `count` positions.
  package func validateCopy(slot source: Int, to target: Int, count: Int) throws(ComputeError) {
    try validate(slot: source)
    try validate(slot: target)
    guard source != target else {
      throw ComputeError(.batch, "slot \(source) cannot be copied to itself")
    }
    guard (0...positionCount(slot: source)).contains(count) else {
      throw ComputeError(
        .batch,
        "\(count) positions of slot \(source) asked for, it has \(positionCount(slot: source))"
      )
    }
  }
}
