// The KV caches of one executable, and how far each of its slots has come.

internal import CPUKernels
internal import Compute

/// The caches of one executable, each its own or shared with the executable before.
@safe final class CPUCaches {
  /// By cache index in the program.
  private let all: [CPUCache]
  /// By slot: the position its next row must have.
  private(set) var nextPositions: [Int]

  /// - Throws: `ComputeError` with code `device` if there is no memory.
  init(
    _ caches: [Cache],
    type: CacheType,
    limits: ExecutableLimits,
    sharing previous: CPUCaches?
  ) throws(ComputeError) {
    var all: [CPUCache] = []
    for cache in caches {
      let shared = previous?.all.first { $0.isFor(cache, type, limits) }
      if let shared {
        all.append(shared)
      } else {
        all.append(try CPUCache(cache, type: type, limits: limits))
      }
    }
    self.all = all
    nextPositions = Array(repeating: 0, count: limits.slots)
  }

  subscript(index: Int) -> CPUCache { all[index] }

  /// By cache index in the program.
  var caches: [cpu_cache] { unsafe all.map { unsafe $0.operand } }

  /// Bytes of the held positions' keys and values.
  var liveByteCount: Int { all.reduce(0) { $0 + $1.liveByteCount } }

  /// Notes the positions that a step has written.
  func advance(by batch: Batch) {
    var first = batch.rows.startIndex
    while first < batch.rows.endIndex {
      let (slot, position) = (batch.rows[first].slot, batch.rows[first].position)
      let end = batch.rows[first...].firstIndex { $0.slot != slot } ?? batch.rows.endIndex
      nextPositions[slot] = position + end - first
      for cache in all { cache.append(position..<(position + end - first), slot: slot) }
      first = end
    }
  }

  func clear(slot: Int) {
    nextPositions[slot] = 0
    for cache in all { cache.clear(slot: slot) }
  }

  func resume(slot: Int, at count: Int) {
    nextPositions[slot] = count
    for cache in all { cache.keep(upTo: count, slot: slot) }
  }

  func copy(slot source: Int, to target: Int, count: Int) {
    for cache in all { cache.copy(slot: source, to: target, count: count) }
  }
}
