// Keys and values in the imaginary device's memory: all that a device must write for its KV caches.

internal import Compute

/// Rows of one cache in f16, a ring for each slot.
final class FakeGPUCache: CacheStorage {
  let type = CacheType.f16
  private let width: Int
  private let capacity: Int
  private let context: DeviceContext
  private let byteCount: Int
  /// By slot: [capacity, keys and values, width] f16; empty where nothing was written.
  private var slots: [[Float16]]
  private var isBound = false

  /// - Throws: `ComputeError` with code `memory` if the device has no memory for it.
  init(
    _ cache: Cache,
    _ limits: ExecutableLimits,
    _ context: DeviceContext
  ) throws(ComputeError) {
    width = cache.width
    capacity = cache.capacity(limits)
    self.context = context
    byteCount = limits.slots * capacity * 2 * width * MemoryLayout<Float16>.size
    try context.allocate(byteCount, for: "the KV cache of layer \(cache.layer)")
    slots = Array(repeating: [], count: limits.slots)
  }

  deinit {
    precondition(!isBound || context.isCurrent, "a cache freed on a thread not its own")
    context.free(byteCount)
  }

  var positionByteCount: Int { 2 * width * MemoryLayout<Float16>.size }

  /// Where a position's keys lie; its values follow.
  private func start(of position: Int) -> Int { position % capacity * 2 * width }

  private func bind() throws(ComputeError) {
    try context.bind()
    isBound = true
  }

  func read(
    _ positions: Range<Int>,
    slot: Int
  ) throws(ComputeError) -> (keys: [Float], values: [Float]) {
    try bind()
    var keys: [Float] = []
    var values: [Float] = []
    for position in positions {
      let row = slots[slot][start(of: position)...].prefix(2 * width)
      keys += row.prefix(width).map { Float($0) }
      values += row.dropFirst(width).map { Float($0) }
    }
    return (keys, values)
  }

  func write(_ rows: CacheRows, slot: Int) throws(ComputeError) {
    try bind()
    if slots[slot].isEmpty { slots[slot] = Array(repeating: 0, count: capacity * 2 * width) }
    for (index, position) in rows.positions.enumerated() {
      let first = start(of: position)
      for column in 0..<width {
        slots[slot][first + column] = Float16(rows.keys[index * width + column])
        slots[slot][first + width + column] = Float16(rows.values[index * width + column])
      }
    }
  }

  func copy(_ positions: Range<Int>, from source: Int, to target: Int) throws(ComputeError) {
    try bind()
    if slots[target].isEmpty { slots[target] = Array(repeating: 0, count: capacity * 2 * width) }
    for position in positions {
      let places = start(of: position)..<(start(of: position) + 2 * width)
      slots[target].replaceSubrange(places, with: slots[source][places])
    }
  }

  func discard(slot: Int) { slots[slot] = [] }
}
