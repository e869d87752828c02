// How far each slot of an executable has come, what its caches hold, and whether what is asked of them
// makes sense. Values only: no rows, no device.

/// The bookkeeping of the slots of one executable.
///
/// What a cache holds of a slot and where the slot goes on are two things. The first belongs to the
/// cache, which two executables that follow one another may share (`CacheLedger`); the second to the
/// executable. Steps move both on, `put` and `copy` only the first, `resume` the second.
///
/// Used by one thread at a time; only `caches` may be read by another.
package final class SlotLedger {
  /// By cache of the program.
  package let caches: [CacheLedger]
  let shapes: [Cache]
  let limits: ExecutableLimits
  /// By slot: the position its next row must have.
  private var positionCounts: [Int]

  /// - Parameters:
  ///   - shapes: The caches of the program.
  ///   - limits: What the executable has room for.
  ///   - shared: By cache: the ledger of the executable that had this cache's memory before; nil for
  ///     memory that is new. None at all if no memory is shared.
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

  /// Returns the position a slot's next row must have.
  package func positionCount(slot: Int) -> Int { positionCounts[slot] }

  /// Returns the positions a cache holds of a slot: all of them, or what its ring still has.
  package func heldPositions(cache: Int, slot: Int) -> Range<Int> {
    caches[cache].held(slot: slot)
  }
}

// MARK: - What happens to slots

extension SlotLedger {
  /// Notes that a step has run.
  package func append(_ batch: Batch) {
    batch.forEachSlot { slot, positions in
      positionCounts[slot] = positions.upperBound
      for cache in caches { cache.append(positions, slot: slot) }
    }
  }

  /// Notes rows that are about to be put in place, and returns those of them that have room.
  ///
  /// Rows that touch or overlap the held positions join them, others replace them. Of more than a ring
  /// has room for, the last positions stay.
  package func put(_ positions: Range<Int>, cache: Int, slot: Int) -> Range<Int> {
    caches[cache].put(positions, slot: slot)
  }

  /// Makes `count` a slot's position count, and forgets the positions from there on.
  package func resume(slot: Int, at count: Int) {
    positionCounts[slot] = count
    for cache in caches { cache.keep(upTo: count, slot: slot) }
  }

  /// Forgets what one cache holds of a slot; the position count stays.
  ///
  /// - Returns: Whether rows may lie in the slot's memory.
  package func forget(cache: Int, slot: Int) -> Bool {
    checkInRange(slot)
    return caches[cache].clear(slot: slot)
  }

  /// Notes that the slot begins anew; what its caches hold is forgotten one by one.
  package func restart(slot: Int) {
    checkInRange(slot)
    positionCounts[slot] = 0
  }

  /// Returns what a cache can give of the first `count` positions of a slot.
  package func heldPositions(cache: Int, slot: Int, upTo count: Int) -> Range<Int> {
    caches[cache].held(slot: slot, upTo: count)
  }

  private func checkInRange(_ slot: Int) {
    precondition((0..<limits.slots).contains(slot), "slot \(slot) outside 0..<\(limits.slots)")
  }
}
