// Keys and values on their way from one executable to another, and what every executable checks
// before it gives or takes any.

/// Keys and values of one slot in one cache: what moves between executables, whatever their own
/// layout.
package struct CacheRows: Sendable, Hashable {
  /// The cache's layer (`Cache.layer`).
  package var layer: Int
  package var positions: Range<Int>
  // [positions, kvHeadCount * headDim] f32 each: the values that the cache's own type stands for, so
  // that a cache of the same type keeps them as they were, bit for bit.
  package var keys: [Float]
  package var values: [Float]

  package init(layer: Int, positions: Range<Int>, keys: [Float], values: [Float]) {
    self.layer = layer
    self.positions = positions
    self.keys = keys
    self.values = values
  }
}

extension Executable {
  /// Checks that there is such a slot.
  package func validate(slot: Int) throws(ComputeError) {
    guard (0..<limits.slots).contains(slot) else {
      throw ComputeError(.batch, "slot \(slot) outside 0..<\(limits.slots)")
    }
  }

  /// Checks that there are such a cache and such a slot.
  package func validate(cache: Int, slot: Int) throws(ComputeError) {
    guard program.caches.indices.contains(cache) else {
      throw ComputeError(.batch, "cache \(cache) outside 0..<\(program.caches.count)")
    }
    try validate(slot: slot)
  }

  /// Checks what `exportRows` is asked for.
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
        context: "layer \(program.caches[cache].layer), slot \(slot)"
      )
    }
  }

  /// Checks what `importRows` is given.
  package func validateImport(
    _ rows: CacheRows,
    cache: Int,
    slot: Int
  ) throws(ComputeError) {
    try validate(cache: cache, slot: slot)
    let own = program.caches[cache]
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

  /// Checks that every cache holds what a row at `position` may see before itself.
  ///
  /// `place` says who asks.
  package func validateHistory(
    slot: Int,
    position: Int,
    place: String
  ) throws(ComputeError) {
    for (index, cache) in program.caches.enumerated() {
      let seen = cache.seen(from: position)
      let held = heldPositions(cache: index, slot: slot)
      guard seen.isEmpty || seen.clamped(to: held) == seen else {
        throw ComputeError(
          .batch,
          "\(place): slot \(slot) needs positions \(seen), \(held) are held",
          context: "layer \(cache.layer)"
        )
      }
    }
  }

  /// Checks what `resume` is asked for.
  package func validateResume(slot: Int, at count: Int) throws(ComputeError) {
    try validate(slot: slot)
    guard (0...limits.contextTokens).contains(count) else {
      throw ComputeError(.batch, "\(count) positions, the context has \(limits.contextTokens)")
    }
    try validateHistory(slot: slot, position: count, place: "resume at \(count)")
  }

  /// Checks what `copy` is asked for.
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

  /// Checks that each slot's rows continue where its last step ended, over what caches hold.
  ///
  /// A program without caches runs any row.
  ///
  /// - Throws: `ComputeError` with code `batch`, naming the row.
  package func validatePositions(_ batch: Batch) throws(ComputeError) {
    guard !program.caches.isEmpty else { return }
    var previousSlot: Int?
    for (index, row) in batch.rows.enumerated() where row.slot != previousSlot {
      previousSlot = row.slot
      let count = positionCount(slot: row.slot)
      guard row.position == count else {
        throw ComputeError(
          .batch,
          "row \(index): slot \(row.slot) holds \(count) positions, the row is at \(row.position)"
        )
      }
      try validateHistory(slot: row.slot, position: row.position, place: "row \(index)")
    }
  }
}
