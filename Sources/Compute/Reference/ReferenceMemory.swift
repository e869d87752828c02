// What executables of the reference backend may share: decoded weights and KV caches.

internal import Synchronization

/// A weight, and its values once somebody has asked for them.
final class ReferenceWeight: Sendable {
  let source: WeightBytes
  private let weight: WeightRef
  private let decoded = Mutex<[Float]?>(nil)

  init(_ weight: WeightRef, _ source: WeightBytes) {
    self.weight = weight
    self.source = source
  }

  /// Returns whether these are the bytes of this weight, not merely equal ones.
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

/// Keys and values of one layer for every slot.
///
/// It forgets nothing that a ring would, but counts only what is held as held.
final class ReferenceCache: Sendable {
  let shape: Cache
  private let contextTokens: Int
  private let slots = Mutex<[Int: Slot]>([:])

  struct Slot: Sendable {
    var held: HeldPositions
    /// By position: [kvHeadCount * headDim] each.
    var rows: [Int: (keys: [Float], values: [Float])] = [:]

    /// Returns the keys and values of a held position.
    func row(_ position: Int) -> (keys: [Float], values: [Float]) {
      guard let row = rows[position] else {
        preconditionFailure("position \(position) is not among \(held.range)")
      }
      return row
    }
  }

  init(_ shape: Cache, limits: ExecutableLimits) {
    self.shape = shape
    contextTokens = limits.contextTokens
  }

  private var empty: Slot { Slot(held: HeldPositions(capacity: contextTokens)) }

  subscript(slot: Int) -> Slot { slots.withLock { $0[slot] ?? empty } }

  func update(slot: Int, _ body: (inout Slot) -> Void) {
    let empty = empty
    slots.withLock { body(&$0[slot, default: empty]) }
  }

  func clear(slot: Int) { slots.withLock { $0[slot] = nil } }

  /// Bytes of the held positions' keys and values.
  var byteCount: Int {
    let positions = slots.withLock { $0.values.reduce(0) { $0 + $1.held.range.count } }
    return positions * shape.width * 2 * MemoryLayout<Float>.stride
  }
}
