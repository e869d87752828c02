// How a KV cache stores the values of one head at one position.

internal import Compute

/// The storage of one head's keys, or values, at one position, in words of 32 bits.
///
/// f32 and f16 are the values in sequence. q8_0 is [headDim int8], then an f16 scale for each block of 32,
/// filled to whole words (cache.glsl).
struct CacheLine: Sendable {
  let type: CacheType
  let headDim: Int
  let wordCount: Int

  private static let blockLength = 32

  /// nil if heads of this size cannot be stored like that.
  init?(_ type: CacheType, headDim: Int) {
    self.type = type
    self.headDim = headDim
    switch type {
    case .f32: wordCount = headDim
    case .f16:
      guard headDim.isMultiple(of: 2) else { return nil }
      wordCount = headDim / 2
    case .q8_0:
      guard headDim.isMultiple(of: Self.blockLength) else { return nil }
      wordCount = headDim / 4 + (headDim / Self.blockLength + 1) / 2
    }
  }

  var byteCount: Int { wordCount * MemoryLayout<UInt32>.stride }

  /// Returns the values of lines that follow one another.
  func decode(_ words: [UInt32]) -> [Float] {
    switch type {
    case .f32: words.map(Float.init(bitPattern:))
    case .f16: words.flatMap { [halfToFloat(half($0, 0)), halfToFloat(half($0, 1))] }
    case .q8_0:
      stride(from: 0, to: words.count, by: wordCount).flatMap { line in
        (0..<headDim).map { index in
          let block = index / Self.blockLength
          let scale = halfToFloat(half(words[line + headDim / 4 + block / 2], block % 2))
          let byte = UInt8(truncatingIfNeeded: words[line + index / 4] >> (8 * (index % 4)))
          return Float(Int8(bitPattern: byte)) * scale
        }
      }
    }
  }

  private func half(_ word: UInt32, _ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: word >> (16 * index))
  }

  /// Returns values as lines, stored as the kernels `append` and `append_q8_0` store them.
  func encode(_ values: [Float]) -> [UInt32] {
    switch type {
    case .f32: values.map(\.bitPattern)
    case .f16:
      stride(from: 0, to: values.count, by: 2).map { pair in
        UInt32(floatToHalf(values[pair])) | UInt32(floatToHalf(values[pair + 1])) << 16
      }
    case .q8_0:
      stride(from: 0, to: values.count, by: headDim).flatMap { first in
        quantise(values[first..<(first + headDim)])
      }
    }
  }

  /// Returns one line of q8_0: scale = largest / 127, rounded half to even.
  private func quantise(_ values: ArraySlice<Float>) -> [UInt32] {
    var words = Array(repeating: UInt32(0), count: wordCount)
    for block in 0..<(headDim / Self.blockLength) {
      let first = values.startIndex + block * Self.blockLength
      let own = values[first..<(first + Self.blockLength)]
      // As numbers, the bits of NaNs are the greatest, so a NaN reaches the scale and is not lost.
      let largest = Float(bitPattern: own.map { $0.bitPattern & 0x7FFF_FFFF }.max() ?? 0)
      // The inverse of a smaller one would overflow; such a block is zero.
      if largest < 1e-30 { continue }
      words[headDim / 4 + block / 2] |= UInt32(floatToHalf(largest / 127)) << (16 * (block % 2))
      // Where an infinity or a NaN makes the products NaN, the scale says so whatever the integers are.
      guard largest.isFinite else { continue }
      let inverse = 127 / largest
      for (index, value) in own.enumerated() {
        let quant = Int8((value * inverse).rounded(.toNearestOrEven))
        let byte = UInt32(UInt8(bitPattern: quant))
        words[(block * Self.blockLength + index) / 4] |= byte << (8 * (index % 4))
      }
    }
    return words
  }
}
