// The parts that executables of the reference backend may share: decoded weights and KV caches.

internal import Synchronization

/// A weight, and its decoded values after they were first requested.
final class ReferenceWeight: Sendable {
  let source: WeightBytes
  private let weight: WeightRef
  private let decoded = Mutex<[Float]?>(nil)

  init(_ weight: WeightRef, _ source: WeightBytes) {
    self.weight = weight
    self.source = source
  }

  /// Returns whether these are the bytes of this weight at the same address, and not only equal
  /// bytes.
  func holds(_ bytes: WeightBytes) -> Bool {
    unsafe source.bytes.baseAddress == bytes.bytes.baseAddress
      && source.bytes.count == bytes.bytes.count
  }

  var decodedByteCount: Int {
    decoded.withLock { ($0?.count ?? 0) * MemoryLayout<Float>.stride }
  }

  /// All rows.
  var matrix: [Float] {
    decoded.withLock { decoded in
      if let decoded { return decoded }
      var all: [Float] = []
      all.reserveCapacity(weight.rows.count * weight.columns)
      for index in 0..<weight.rows.count { all += row(index, columns: 0..<weight.columns) }
      decoded = all
      return all
    }
  }

  /// Returns some columns of a row.
  func row(_ index: Int, columns: Range<Int>) -> [Float] {
    guard let stride = weight.type.byteCount(columns: weight.columns) else {
      preconditionFailure("\(weight.name): rows of \(weight.columns) \(weight.type)")
    }
    let bytes = unsafe UnsafeRawBufferPointer(
      rebasing: source.bytes[(index * stride)..<((index + 1) * stride)]
    )
    return unsafe Dequantize.values(
      bytes,
      type: weight.type,
      start: columns.lowerBound,
      count: columns.count
    )
  }
}

/// Keys and values of one layer for every slot, in f32.
///
/// Rows are stored by their position, which is simpler than a ring. Rows that a ring would
/// overwrite stay until the slot is discarded, but are never read.
final class ReferenceCache: CacheStorage {
  let type = CacheType.f32
  private let shape: Cache
  /// By slot and position: [kvHeadCount * headDim] each.
  private var slots: [Int: [Int: (keys: [Float], values: [Float])]] = [:]

  init(_ shape: Cache) { self.shape = shape }

  var positionByteCount: Int { shape.width * 2 * MemoryLayout<Float>.stride }

  func read(_ positions: Range<Int>, slot: Int) -> (keys: [Float], values: [Float]) {
    let kept = slots[slot] ?? [:]
    let rows = positions.map { position in
      guard let row = kept[position] else {
        preconditionFailure("slot \(slot): position \(position) was never written")
      }
      return row
    }
    return (rows.flatMap(\.keys), rows.flatMap(\.values))
  }

  func write(_ rows: CacheRows, slot: Int) {
    for (index, position) in rows.positions.enumerated() {
      let columns = (index * shape.width)..<((index + 1) * shape.width)
      slots[slot, default: [:]][position] = (Array(rows.keys[columns]), Array(rows.values[columns]))
    }
  }

  func copy(_ positions: Range<Int>, from source: Int, to target: Int) {
    for position in positions { slots[target, default: [:]][position] = slots[source]?[position] }
  }

  func discard(slot: Int) { slots[slot] = nil }
}
