// Which positions of each slot one KV cache holds. Executables that share the cache's memory share
// its ledger, too.

internal import Synchronization

/// The positions that one cache holds of each slot.
///
/// It may be used from several threads, because an executable may be made while another one with
/// the same cache runs.
package final class CacheLedger: Sendable {
  package let ring: CacheRing
  private let slots: Mutex<[Slot]>

  private struct Slot {
    var held: HeldPositions
    /// Whether the slot's memory may contain rows, held or not.
    var isWritten = false
  }

  init(_ ring: CacheRing, slotCount: Int) {
    self.ring = ring
    let empty = Slot(held: HeldPositions(capacity: ring.capacity))
    slots = Mutex(Array(repeating: empty, count: slotCount))
  }

  /// The number of slots.
  var slotCount: Int { slots.withLock { $0.count } }

  /// How many positions of all slots together are held.
  var heldCount: Int { slots.withLock { $0.reduce(0) { $0 + $1.held.range.count } } }

  func held(slot: Int) -> Range<Int> { slots.withLock { $0[slot].held.range } }

  /// Notes the positions that a step has written.
  func append(_ positions: Range<Int>, slot: Int) {
    slots.withLock {
      $0[slot].held.append(positions)
      $0[slot].isWritten = true
    }
  }

  /// Notes rows that are about to be stored, and returns those that have room.
  func put(_ positions: Range<Int>, slot: Int) -> Range<Int> {
    slots.withLock {
      $0[slot].isWritten = true
      return $0[slot].held.put(positions)
    }
  }

  /// Forgets the positions from `count` on.
  func keep(upTo count: Int, slot: Int) { slots.withLock { $0[slot].held.keep(upTo: count) } }

  /// Returns which of the first `count` positions are held.
  func held(slot: Int, upTo count: Int) -> Range<Int> {
    slots.withLock { slots in
      var held = slots[slot].held
      held.keep(upTo: count)
      return held.range
    }
  }

  /// Forgets all positions of a slot.
  ///
  /// - Returns: Whether the slot's memory may contain rows.
  func clear(slot: Int) -> Bool {
    slots.withLock { slots in
      defer { slots[slot] = Slot(held: HeldPositions(capacity: ring.capacity)) }
      return slots[slot].isWritten
    }
  }
}
