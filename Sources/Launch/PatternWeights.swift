// Weights for measurements, in which values do not matter.

internal import Compute

/// Gives the same bytes to every weight.
///
/// The time of an op does not depend on their values.
struct PatternWeights: WeightSource {
  private let memory: Memory

  // Sendable: the memory is written in init only.
  @safe private final class Memory: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(byteCount: Int) {
      unsafe bytes = .allocate(byteCount: byteCount, alignment: 64)
      var generator = SystemRandomNumberGenerator()
      for offset in stride(from: 0, to: byteCount, by: 8) {
        // Two bits of each byte are 0 and the next is 1, so that a number that is read from them, in
        // f16, bf16 or f32, is below 2 and not subnormal: some processors take 100 times as long
        // for those.
        let word = (generator.next() & 0x3F3F_3F3F_3F3F_3F3F) | 0x2020_2020_2020_2020
        unsafe bytes.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
      }
    }

    deinit { unsafe bytes.deallocate() }
  }

  init(for program: Program) {
    let largest = program.ops.flatMap(\.weights).map(Self.byteCount).max() ?? 0
    memory = Memory(byteCount: (largest + 7) / 8 * 8)
  }

  private static func byteCount(_ weight: WeightRef) -> Int {
    (weight.type.byteCount(columns: weight.columns) ?? 0) * weight.rows.count
  }

  func bytes(of weight: WeightRef) throws -> WeightBytes {
    let count = Self.byteCount(weight)
    let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory.bytes[..<count])
    return unsafe WeightBytes(bytes: bytes, owner: memory)
  }
}
