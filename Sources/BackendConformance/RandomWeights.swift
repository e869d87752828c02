// Weights out of nothing: tensors of every type with random bytes where any byte is valid, and
// random numbers of sane size where it is not.

package import Compute

/// A weight source that holds random tensors.
// Sendable: filled while a case is made, only read after.
package final class RandomWeights: WeightSource, @unchecked Sendable {
  private var tensors: [String: (type: TensorType, columns: Int, bytes: Storage)] = [:]
  private var generator: Generator

  package init(seed: UInt64, name: String) { generator = Generator(seed: seed, name: name) }

  /// Memory at a fixed address. Starts two bytes off any alignment, as tensors in files may.
  // Sendable: written by its maker only, before anybody else sees it.
  @safe private final class Storage: @unchecked Sendable {
    let allocation: UnsafeMutableRawBufferPointer
    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: allocation[2...]) }

    init(_ bytes: [UInt8]) {
      unsafe allocation = .allocate(byteCount: bytes.count + 2, alignment: 64)
      for (index, byte) in bytes.enumerated() { unsafe allocation[index + 2] = byte }
    }

    deinit { unsafe allocation.deallocate() }
  }

  /// Adds a tensor `[rows, columns]` and returns a reference to it, or to some of its rows.
  package func add(
    _ name: String,
    rows: Int,
    columns: Int,
    type: TensorType,
    using part: Range<Int>? = nil
  ) -> WeightRef {
    let blockCount = rows * columns / type.blockLength
    precondition(
      columns.isMultiple(of: type.blockLength),
      "\(columns) columns of \(type) for \(name)"
    )
    var bytes: [UInt8] = []
    bytes.reserveCapacity(blockCount * type.blockByteCount)
    for _ in 0..<blockCount { bytes += generator.block(of: type) }
    tensors[name] = (type, columns, Storage(bytes))
    return WeightRef(name: name, rows: part ?? 0..<rows, columns: columns, type: type)
  }

  package func bytes(of weight: WeightRef) throws -> WeightBytes {
    guard let tensor = tensors[weight.name], tensor.type == weight.type,
      tensor.columns == weight.columns,
      let rowByteCount = weight.type.byteCount(columns: weight.columns),
      unsafe weight.rows.upperBound * rowByteCount <= tensor.bytes.bytes.count
    else { throw ComputeError(.weight, "no tensor \(weight)") }
    let range = (weight.rows.lowerBound * rowByteCount)..<(weight.rows.upperBound * rowByteCount)
    return unsafe WeightBytes(
      bytes: UnsafeRawBufferPointer(rebasing: tensor.bytes.bytes[range]),
      owner: tensor.bytes
    )
  }
}

extension Generator {
  /// Returns the bytes of one block of a type.
  package mutating func block(of type: TensorType) -> [UInt8] {
    var block = (0..<type.blockByteCount).map { _ in byte() }
    switch type {
    case .f32:
      let bits = uniform().bitPattern
      block = (0..<4).map { UInt8(truncatingIfNeeded: bits >> UInt32(8 * $0)) }
    case .f16: put(half(), into: &block, at: 0)
    case .bf16:
      let bits = uniform().bitPattern
      put(UInt16(bits >> 16), into: &block, at: 0)
    case .q4_0, .q5_0, .q8_0, .iq4_nl, .iq4_xs: put(half(), into: &block, at: 0)
    case .q4_1, .q5_1, .q4_K, .q5_K:
      put(half(), into: &block, at: 0)
      put(half(), into: &block, at: 2)
    case .q6_K: put(half(), into: &block, at: 208)
    case .q2_K:
      put(half(), into: &block, at: 80)
      put(half(), into: &block, at: 82)
    case .q3_K: put(half(), into: &block, at: 108)
    }
    return block
  }

  private func put(_ bits: UInt16, into block: inout [UInt8], at index: Int) {
    block[index] = UInt8(truncatingIfNeeded: bits)
    block[index + 1] = UInt8(bits >> 8)
  }

  /// Bits of a binary16 of either sign: mostly 2⁻⁸ to 2⁻⁴, now and then zero or subnormal.
  package mutating func half() -> UInt16 {
    let sign = UInt16(next() & 1) << 15
    let fraction = UInt16(next() & 0x3FF)
    switch next() % 32 {
    case 0: return sign
    case 1: return sign | fraction
    default: return sign | UInt16(7 + next() % 4) << 10 | fraction
    }
  }
}
