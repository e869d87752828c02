// The caches of the token model: rings with real places, which later positions write over.

import Compute

/// A row of a buffer or cache as the token model reads it: a state, and whose it is.
struct TokenRow: Hashable {
  var state: UInt32
  var token: Int32
  var position: Int

  /// Returns the row as floats, which hold its three numbers exactly; the others are zero.
  func values(width: Int) -> [Float] {
    [Float(state), Float(token), Float(position)] + Array(repeating: 0, count: width - 3)
  }

  /// Reads a row; nil if no row of the token model has such values.
  init?(_ values: ArraySlice<Float>) {
    let first = values.startIndex
    guard let state = UInt32(exactly: values[first]), let token = Int32(exactly: values[first + 1]),
      let position = Int(exactly: values[first + 2])
    else { return nil }
    self.init(state: state, token: token, position: position)
  }

  init(state: UInt32, token: Int32, position: Int) {
    self.state = state
    self.token = token
    self.position = position
  }
}

/// Keys of one layer for every slot; values are the same rows once more.
final class TokenCache: CacheStorage {
  let type = CacheType.f32
  let shape: Cache
  private let capacity: Int
  /// By slot and place in the ring; empty before the first row.
  private var slots: [[TokenRow?]]

  init(_ shape: Cache, _ limits: ExecutableLimits) {
    self.shape = shape
    capacity = shape.capacity(limits)
    slots = Array(repeating: [], count: limits.slots)
  }

  var positionByteCount: Int { shape.width * 2 * MemoryLayout<Float>.stride }

  /// Returns what lies where a position has its place.
  ///
  /// - Throws: `ComputeError` with code `batch` if it is another position, or nothing.
  func row(at position: Int, slot: Int) throws(ComputeError) -> TokenRow {
    let row = slots[slot].isEmpty ? nil : slots[slot][position % capacity]
    guard let row, row.position == position else {
      throw ComputeError(
        .batch,
        "layer \(shape.layer), slot \(slot): position \(row?.position ?? -1) lies where \(position) should"
      )
    }
    return row
  }

  /// Puts a row in its place.
  func put(_ row: TokenRow, at position: Int, slot: Int) {
    if slots[slot].isEmpty { slots[slot] = Array(repeating: nil, count: capacity) }
    slots[slot][position % capacity] = row
  }

  func read(
    _ positions: Range<Int>,
    slot: Int
  ) throws(ComputeError) -> (keys: [Float], values: [Float]) {
    var rows: [Float] = []
    for position in positions {
      rows += try row(at: position, slot: slot).values(width: shape.width)
    }
    return (rows, rows)
  }

  func write(_ rows: CacheRows, slot: Int) throws(ComputeError) {
    guard rows.keys == rows.values else {
      throw ComputeError(.batch, "layer \(shape.layer): keys and values of different rows")
    }
    for (index, position) in rows.positions.enumerated() {
      let values = rows.keys[(index * shape.width)..<((index + 1) * shape.width)]
      guard let row = TokenRow(values) else {
        throw ComputeError(.batch, "layer \(shape.layer): \(values) are no keys")
      }
      put(row, at: position, slot: slot)
    }
  }

  func copy(
    _ positions: Range<Int>,
    from source: Int,
    to target: Int
  ) throws(ComputeError) {
    for position in positions {
      put(try row(at: position, slot: source), at: position, slot: target)
    }
  }

  func discard(slot: Int) { slots[slot] = [] }
}
