// Memory for packed weights: large pieces with huge pages, filled in the order of use, so that a step
// reads straight ahead through them.

internal import Compute

/// Memory that only grows, until all of it is freed at once.
@safe final class PackedArena {
  private var pieces: [MappedMemory] = []
  /// Bytes of the last piece in use.
  private var used = 0
  /// Bytes handed out.
  private(set) var byteCount = 0

  /// What a piece has at least.
  ///
  /// Pages nobody writes take no memory, so this costs address space only.
  private static let pieceByteCount = 1 << 28

  /// Returns memory aligned to a cache line.
  ///
  /// - Throws: `ComputeError` with code `device`, naming `purpose`, if there is none.
  func allocate(
    _ count: Int,
    purpose: String
  ) throws(ComputeError) -> UnsafeMutablePointer<UInt8> {
    if pieces.last.map({ $0.byteCount - used < count }) ?? true {
      let piece = try MappedMemory(byteCount: max(count, Self.pieceByteCount), purpose: purpose)
      piece.preferHugePages()
      pieces.append(piece)
      used = 0
    }
    guard let piece = pieces.last else { preconditionFailure("a piece was just added") }
    let address = unsafe piece.base + used
    used += (count + 63) / 64 * 64
    byteCount += count
    return unsafe address.assumingMemoryBound(to: UInt8.self)
  }
}
