// The memory in which a backend keeps the rows of a KV cache. SlotLedger keeps track of which rows
// are valid and checks all requests, so a storage is asked only for rows that it has.

/// The memory of one KV cache: keys and values of every slot, on the backend's device.
///
/// It has room for `Cache.capacity` positions of each slot; position `p` overwrites the one that
/// many before it. Two executables share a cache by having the same storage object. A storage is
/// used only by the thread that owns its executables (see `Executable`).
package protocol CacheStorage: AnyObject {
  /// The type in which keys and values are stored.
  var type: CacheType { get }

  /// Bytes of the keys and values of one position.
  var positionByteCount: Int { get }

  /// Returns the keys and values of positions that have been written, [positions, kvHeadCount *
  /// headDim] f32 each, decoded from the cache's own type.
  func read(
    _ positions: Range<Int>,
    slot: Int
  ) throws(ComputeError) -> (keys: [Float], values: [Float])

  /// Stores rows exactly as the ops of a step would store the same values.
  ///
  /// - Precondition: There is at least one row, and no more than the cache has room for.
  func write(_ rows: CacheRows, slot: Int) throws(ComputeError)

  /// Copies some positions of `source` to `target`, bit for bit.
  ///
  /// - Precondition: `positions` is not empty, has been written in `source`, and the slots are
  ///   different.
  func copy(_ positions: Range<Int>, from source: Int, to target: Int) throws(ComputeError)

  /// Releases a slot's memory, as far as the device can. Its contents will not be read again.
  func discard(slot: Int)
}
