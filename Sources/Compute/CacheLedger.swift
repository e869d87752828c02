// What one KV cache holds of each slot. Executables that follow one another and share the cache's
// memory share its ledger, too.

internal import Synchronization

/// The positions that one cache holds, by slot.
///
/// Safe from several threads: an executable may be made beside one that runs and has the same cache.
package final class CacheLedger: Sendable {
  package let ring: CacheRing
  private let slots: Mutex<[Slot]>

  private struct Slot {
    var held: HeldPositions
    /// Whether rows may lie in its memory, held or not.
    var isWritten = false
  }

  init(_ ring: CacheRing, slotCount: Int) {
    self.ring = ring
    let empty = Slot(held: HeldPositions(capacity: ring.capacity))
    slots = Mutex(Array(repeating: empty, count: slotCount))
  }

  /// How many slots it counts for.
  var slotCount: Int { slots.withLock { $0.count } }

  /// How many positions are held, of all slots together.
  var heldCount: Int { slots.withLock { $0.reduce(0) { $0 + $1.held.range.count } } }

  func held(slot: Int) -> Range<Int> { slots.withLock { $0[slot].held.range } }

  /// Notes the positions that a step has written.
  func append(_ positions: Range<Int>, slot: Int) {
    slots.withLock {
      $0[slot].held.append(positions)
      $0[slot].isWritten = true
    }
  }

  /// Notes rows that are about to be put in place, and returns those of them that have room.
  func put(_ positions: Range<Int>, slot: Int) -> Range<Int> {
    slots.withLock {
      $0[slot].isWritten = true
      return $0[slot].held.put(positions)
    }
  }

  /// Forgets the positions from `count` on.
  func keep(upTo count: Int, slot: Int) { slots.withLock { $0[slot].held.keep(upTo: count) } }

  /// Returns what is held of the first `count` positions.
  func held(slot: Int, upTo count: Int) -> Range<Int> {
    slots.withLock { slots in
      var held = slots[slot].held
      held.keep(upTo: count)
      return held.range
    }
  }

  /// Notes that all of a slot is forgotten.
  ///
  /// - Returns: Whether rows may lie in its memory.
  func clear(slot: Int) -> Bool {
    slots.withLock { slots in
      defer { slots[slot] = Slot(held: HeldPositions(capacity: ring.capacity)) }
      return slots[slot].isWritten
    }
  }
}
