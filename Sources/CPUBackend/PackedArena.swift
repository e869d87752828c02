// Memory for packed weights: large pieces with huge pages, filled in the order of use, so that a
// step reads sequentially through them.

internal import Compute

/// Memory that only grows; each slice returns to the system when nothing references it any more.
final class PackedArena {
  /// The piece that slices are cut from; earlier pieces are kept alive by their slices.
  private var piece: MappedMemory?
  /// How many bytes of the piece are in use.
  private var used = 0

  /// The least size of a piece.
  ///
  /// Pages that are never written take no memory, so this costs only address space.
  private static let pieceByteCount = 1 << 28

  /// Returns memory aligned to a cache line.
  ///
  /// - Throws: `ComputeError` with code `memory` that names `purpose`, if no memory is left.
  func allocate(_ count: Int, purpose: String) throws(ComputeError) -> PackedSlice {
    let piece = try piece(with: count, purpose: purpose)
    defer { used += (count + 63) / 64 * 64 }
    return PackedSlice(of: piece, offset: used, byteCount: count)
  }

  private func piece(with count: Int, purpose: String) throws(ComputeError) -> MappedMemory {
    if let piece, piece.byteCount - used >= count { return piece }
    let new = try MappedMemory(byteCount: max(count, Self.pieceByteCount), purpose: purpose)
    new.preferHugePages()
    piece = new
    used = 0
    return new
  }
}

/// The memory of one packed weight; executables that share the weight share it.
@safe final class PackedSlice {
  let base: UnsafeMutablePointer<UInt8>
  let byteCount: Int
  private let piece: MappedMemory
  private let offset: Int

  init(of piece: MappedMemory, offset: Int, byteCount: Int) {
    self.piece = piece
    self.offset = offset
    self.byteCount = byteCount
    unsafe base = unsafe (piece.base + offset).assumingMemoryBound(to: UInt8.self)
  }

  // The pages at its ends may be shared with its neighbours; they are freed with the piece.
  deinit {
    let page = MappedMemory.pageByteCount
    let first = (offset + page - 1) / page * page
    let end = (offset + byteCount) / page * page
    if first < end { piece.discard(offset: first, count: end - first) }
  }
}

/// Values of one weight decoded to f32; executables that share the weight share them.
@safe final class DecodedValues {
  let values: UnsafeMutableBufferPointer<Float>

  /// The values are all zero at first.
  init(count: Int) {
    unsafe values = .allocate(capacity: max(count, 1))
    unsafe values.initialize(repeating: 0)
  }

  deinit { unsafe values.deallocate() }

  var byteCount: Int { unsafe values.count * MemoryLayout<Float>.stride }

  var base: UnsafePointer<Float> {
    guard let base = unsafe values.baseAddress else { preconditionFailure("an empty allocation") }
    return unsafe UnsafePointer(base)
  }
}
