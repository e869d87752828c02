// From one split to another in the middle of a session, as a live rebalance goes.

internal import Compute

extension InProcessPipeline {
  /// Takes a slot's first `count` positions over from the stages of another split.
  ///
  /// Caches that were shared at compile hold them already.
  ///
  /// - Returns: How many caches rows had to be moved to.
  /// - Throws: What exporting, importing and resuming throw.
  package func takeOver(slot: Int, count: Int, from old: InProcessPipeline) throws -> Int {
    var moved = 0
    for stage in stages {
      for (index, cache) in stage.program.caches.enumerated() {
        let seen = cache.seen(from: count)
        let held = stage.heldPositions(cache: index, slot: slot)
        guard seen.clamped(to: held) != seen else { continue }
        let source = old.stages.lazy.compactMap { stage in
          stage.program.caches.firstIndex { $0.layer == cache.layer }.map { (stage, $0) }
        }.first
        guard let (owner, place) = source else { continue }
        for piece in [
          seen.lowerBound..<(seen.lowerBound + seen.count / 2), seen.lowerBound..<count,
        ] {
          let rows = try owner.exportRows(cache: place, slot: slot, positions: piece)
          try stage.importRows(rows, cache: index, slot: slot)
        }
        moved += 1
      }
      try stage.resume(slot: slot, at: count)
    }
    return moved
  }
}
