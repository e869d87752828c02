// Where a backend keeps the rows of a KV cache. Which of them count, and whether a request for them
// makes sense, is SlotLedger's affair: a storage is asked only for what it has.

/// The memory of one KV cache: keys and values of every slot, on the backend's device.
///
/// It has room for `Cache.capacity` positions of each slot; position `p` takes the place of the one
/// that many before it. Two executables that follow one another share a cache by having the same
/// storage object. Like them it is used by one thread at a time (see `Executable`).
package protocol CacheStorage: AnyObject {
  /// The type in which keys and values are kept.
  var type: CacheType { get }

  /// Bytes of the keys and values of one position.
  var positionByteCount: Int { get }

  /// Returns the keys and values of positions that have been written, [positions, kvHeadCount * headDim]
  /// f32 each: the values that the cache's own type stands for.
  func read(
    _ positions: Range<Int>,
    slot: Int
  ) throws(ComputeError) -> (keys: [Float], values: [Float])

  /// Keeps rows just as the ops of a step would keep the same values.
  ///
  /// - Precondition: There are rows, and no more than the cache has room for.
  func write(_ rows: CacheRows, slot: Int) throws(ComputeError)

  /// Makes `target` hold the same at some positions as `source`, bit for bit.
  ///
  /// - Precondition: `positions` is not empty, has been written in `source`, and the slots are two.
  func copy(_ positions: Range<Int>, from source: Int, to target: Int) throws(ComputeError)

  /// Gives a slot's memory back, as far as the device can; nothing of it will be read again.
  func discard(slot: Int)
}
