// An executable of nothing but caches: a step leaves its tokens as keys and values. Its storages are
// rings in plain arrays, so that a ledger that believes in rows which were written over is found out.

import Compute

/// Rows of one cache, each a token, in a ring.
final class RingStorage: CacheStorage {
  let type = CacheType.f32
  let positionByteCount = 8
  private(set) var discardCount = 0
  /// Thrown by `write` and `copy`.
  var failure: ComputeError?
  private let capacity: Int
  /// By slot and place.
  private var places: [[(position: Int, token: Float)?]]

  init(_ cache: Cache, _ limits: ExecutableLimits) {
    capacity = cache.capacity(limits)
    places = Array(repeating: Array(repeating: nil, count: capacity), count: limits.slots)
  }

  func read(_ positions: Range<Int>, slot: Int) -> (keys: [Float], values: [Float]) {
    // What lies at a place of another position is what the caller gets: memory does not know.
    let tokens = positions.map { places[slot][$0 % capacity]?.token ?? -1 }
    return (tokens, tokens.map { -$0 })
  }

  func write(_ rows: CacheRows, slot: Int) throws(ComputeError) {
    if let failure { throw failure }
    for (position, token) in zip(rows.positions, rows.keys) {
      places[slot][position % capacity] = (position, token)
    }
  }

  func copy(_ positions: Range<Int>, from source: Int, to target: Int) throws(ComputeError) {
    if let failure { throw failure }
    for position in positions {
      places[target][position % capacity] = places[source][position % capacity]
    }
  }

  func discard(slot: Int) {
    discardCount += 1
    places[slot] = Array(repeating: nil, count: capacity)
  }
}

final class RingExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  let footprint = Footprint(mappedWeightBytes: 0, ownedWeightBytes: 0, sharedWeightBytes: 0)
  let storages: [any CacheStorage]
  /// Thrown by `run`, after the rows were written.
  var failure: ComputeError?

  init(_ windows: [Int?], _ limits: ExecutableLimits, sharing previous: (any Executable)? = nil) {
    var program = Program(layers: 0..<windows.count)
    for (layer, window) in windows.enumerated() {
      _ = program.add(Cache(layer: layer, kvHeadCount: 1, headDim: 1, window: window))
    }
    self.program = program
    self.limits = limits
    storages = program.caches.map {
      previous?.storage(of: $0, limits: limits) ?? RingStorage($0, limits)
    }
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    for row in batch.rows {
      let token = [Float(row.token)]
      for (layer, storage) in storages.enumerated() {
        let rows = CacheRows(
          layer: layer,
          positions: row.position..<(row.position + 1),
          keys: token,
          values: [-token[0]]
        )
        try storage.write(rows, slot: row.slot)
      }
    }
    if let failure { throw failure }
    return []
  }
}
