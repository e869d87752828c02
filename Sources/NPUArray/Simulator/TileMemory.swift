// The memory of one tile: what its channels and its core share.

/// Bytes that a tile has.
@safe final class TileMemory {
  let count: Int
  private let bytes: UnsafeMutableRawBufferPointer

  init(count: Int, pattern: UInt8) {
    self.count = count
    unsafe bytes = .allocate(byteCount: count, alignment: 32)
    for index in 0..<count { unsafe bytes[index] = pattern }
  }

  deinit { unsafe bytes.deallocate() }

  /// A value of plain bits.
  ///
  /// - Precondition: All of it is in the memory.
  func load<Value: BitwiseCopyable>(_ type: Value.Type, at place: Int) -> Value {
    precondition(place >= 0 && place + MemoryLayout<Value>.size <= count)
    return unsafe bytes.loadUnaligned(fromByteOffset: place, as: type)
  }

  /// Stores a value of plain bits.
  ///
  /// - Precondition: All of it is in the memory.
  func store<Value: BitwiseCopyable>(_ value: Value, at place: Int) {
    precondition(place >= 0 && place + MemoryLayout<Value>.size <= count)
    unsafe bytes.storeBytes(of: value, toByteOffset: place, as: Value.self)
  }
}
