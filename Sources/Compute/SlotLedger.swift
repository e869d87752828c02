// The position count of each slot of an executable, the positions that its caches hold, and the
// checks of requests. It only counts; the rows themselves are in the storages.

/// The bookkeeping of the slots of one executable.
///
/// The positions that a cache holds of a slot and the position at which the slot continues are two
/// different things. The first belong to the cache, which two executables may share
/// (`CacheLedger`), the second to the executable. Steps change both, `put` and `copy` only the
/// first, `resume` the second.
///
/// It is used by one thread at a time; only `caches` may be read by another.
package final class SlotLedger {
  /// The ledger of each cache of the program.
  package let caches: [CacheLedger]
  let shapes: [Cache]
  let limits: ExecutableLimits
  /// The position that each slot's next row must have.
  private var positionCounts: [Int]

  /// - Parameters:
  ///   - shapes: The caches of the program.
  ///   - limits: The sizes that the executable supports.
  ///   - shared: For each cache, its ledger in the previous executable with the same memory; nil if
  ///     the memory is new. Empty if no memory is shared.
  package init(
    _ shapes: [Cache],
    limits: ExecutableLimits,
    sharing shared: [CacheLedger?] = []
  ) {
    self.shapes = shapes
    self.limits = limits
    caches = shapes.enumerated().map { index, shape in
      let ring = shape.ring(in: limits)
      guard shared.indices.contains(index), let known = shared[index] else {
        return CacheLedger(ring, slotCount: limits.slots)
      }
      precondition(
        known.ring == ring && known.slotCount == limits.slots,
        "layer \(shape.layer): a cache of \(known.ring) taken over as \(ring)"
      )
      return known
    }
    positionCounts = Array(repeating: 0, count: limits.slots)
  }

  /// Returns the position that a slot's next row must have.
  package func positionCount(slot: Int) -> Int { positionCounts[slot] }

  /// Returns the positions of a slot that a cache holds: all of them, or those that its ring has
  /// not overwritten.
  package func heldPositions(cache: Int, slot: Int) -> Range<Int> {
    caches[cache].held(slot: slot)
  }
}

// MARK: - Changes of slots

extension SlotLedger {
  /// Notes that a step has run.
  package func append(_ batch: Batch) {
    batch.forEachSlot { slot, positions in
      positionCounts[slot] = positions.upperBound
      for cache in caches { cache.append(positions, slot: slot) }
    }
  }

  /// Notes rows that are about to be stored, and returns those that have room.
  ///
  /// Rows that touch or overlap the held positions extend them, others replace them. If there are
  /// more than a ring has room for, the last positions are kept.
  package func put(_ positions: Range<Int>, cache: Int, slot: Int) -> Range<Int> {
    caches[cache].put(positions, slot: slot)
  }

  /// Sets a slot's position count, and forgets the positions from there on.
  package func resume(slot: Int, at count: Int) {
    positionCounts[slot] = count
    for cache in caches { cache.keep(upTo: count, slot: slot) }
  }

  /// Forgets what one cache holds of a slot; the position count does not change.
  ///
  /// - Returns: Whether the slot's memory may contain rows.
  package func forget(cache: Int, slot: Int) -> Bool {
    checkInRange(slot)
    return caches[cache].clear(slot: slot)
  }

  /// Sets a slot's position count to 0; what its caches hold is forgotten separately with `forget`.
  package func restart(slot: Int) {
    checkInRange(slot)
    positionCounts[slot] = 0
  }

  /// Returns which of the first `count` positions of a slot a cache holds.
  package func heldPositions(cache: Int, slot: Int, upTo count: Int) -> Range<Int> {
    caches[cache].held(slot: slot, upTo: count)
  }

  private func checkInRange(_ slot: Int) {
    precondition((0..<limits.slots).contains(slot), "slot \(slot) outside 0..<\(limits.slots)")
  }
}
