// Decodes each stored type to f32, one block at a time in plain Swift. This is the reference of
// every kernel. Layouts: ggml/src/ggml-common.h and dequantize_row_* of ggml/src/ggml-quants.c in
// ggml-org/llama.cpp.

/// Decodes rows of stored weights.
package enum Dequantize {
  /// Returns `count` values of a row from `start` on.
  ///
  /// - Precondition: `start` and `count` are multiples of the type's block length, and `row` holds
  ///   the whole row.
  package static func values(
    _ row: UnsafeRawBufferPointer,
    type: TensorType,
    start: Int,
    count: Int
  ) -> [Float] {
    let length = type.blockLength
    precondition(
      start.isMultiple(of: length) && count.isMultiple(of: length),
      "\(start) and \(count) are not multiples of \(type)'s block of \(length)"
    )
    switch type {
    case .f32: return unsafe floats(row, start, count) { (bits: UInt32) in Float(bitPattern: bits) }
    case .f16: return unsafe floats(row, start, count, halfToFloat)
    case .bf16:
      return unsafe floats(row, start, count) { (bits: UInt16) in
        Float(bitPattern: UInt32(bits) << 16)
      }
    default: break
    }
    var values: [Float] = []
    values.reserveCapacity(count)
    for block in (start / length)..<((start + count) / length) {
      let first = block * type.blockByteCount
      let bytes = unsafe UnsafeRawBufferPointer(
        rebasing: row[first..<(first + type.blockByteCount)]
      )
      unsafe append(block: bytes, type: type, to: &values)
    }
    return values
  }

  /// Converts numbers that stand alone, which are no blocks; a large model is read a billion at a time.
  @inline(__always)
  private static func floats<Bits: BitwiseCopyable>(
    _ row: UnsafeRawBufferPointer,
    _ start: Int,
    _ count: Int,
    _ value: (Bits) -> Float
  ) -> [Float] {
    let size = MemoryLayout<Bits>.size
    let bytes = unsafe UnsafeRawBufferPointer(
      rebasing: row[(start * size)..<((start + count) * size)]
    )
    return unsafe [Float](unsafeUninitializedCapacity: count) { values, initialized in
      for index in 0..<count {
        let bits = unsafe bytes.loadUnaligned(fromByteOffset: index * size, as: Bits.self)
        unsafe values.initializeElement(at: index, to: value(bits))
      }
      initialized = count
    }
  }

  private static func append(
    block: UnsafeRawBufferPointer,
    type: TensorType,
    to values: inout [Float]
  ) {
    switch type {
    case .f32, .f16, .bf16: preconditionFailure("\(type) has no blocks")
    case .q4_0, .q4_1: unsafe appendQ4(block, hasMinimum: type == .q4_1, to: &values)
    case .q5_0, .q5_1: unsafe appendQ5(block, hasMinimum: type == .q5_1, to: &values)
    case .q8_0:
      let scale = unsafe half(block, 0)
      for index in 0..<32 {
        values.append(scale * Float(Int8(bitPattern: unsafe block[2 + index])))
      }
    case .q2_K: unsafe appendQ2K(block, to: &values)
    case .q3_K: unsafe appendQ3K(block, to: &values)
    case .q4_K, .q5_K: unsafe appendK(block, hasHighBits: type == .q5_K, to: &values)
    case .q6_K: unsafe appendQ6K(block, to: &values)
    case .iq4_nl:
      let scale = unsafe half(block, 0)
      for index in 0..<32 { values.append(scale * (unsafe tableValue(block, 2, index))) }
    case .iq4_xs: unsafe appendIQ4XS(block, to: &values)
    }
  }

  private static func half(_ block: UnsafeRawBufferPointer, _ offset: Int) -> Float {
    halfToFloat(unsafe block.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  // q4_0: [scale f16][16 bytes]: byte i holds weight i low, weight i + 16 high; w = (q - 8) · scale.
  // q4_1: [scale f16][minimum f16][16 bytes]; w = q · scale + minimum.
  private static func appendQ4(
    _ block: UnsafeRawBufferPointer,
    hasMinimum: Bool,
    to values: inout [Float]
  ) {
    let scale = unsafe half(block, 0)
    let minimum = hasMinimum ? unsafe half(block, 2) : -8 * scale
    let first = hasMinimum ? 4 : 2
    for index in 0..<32 {
      let byte = unsafe block[first + index % 16]
      let quant = index < 16 ? byte & 15 : byte >> 4
      values.append(Float(quant) * scale + minimum)
    }
  }

  // q5_0: [scale f16][32 high bits][16 bytes]; w = (q - 16) · scale. q5_1 has a minimum as q4_1.
  private static func appendQ5(
    _ block: UnsafeRawBufferPointer,
    hasMinimum: Bool,
    to values: inout [Float]
  ) {
    let scale = unsafe half(block, 0)
    let minimum = hasMinimum ? unsafe half(block, 2) : -16 * scale
    let first = hasMinimum ? 4 : 2
    let highBits = unsafe block.loadUnaligned(fromByteOffset: first, as: UInt32.self)
    for index in 0..<32 {
      let byte = unsafe block[first + 4 + index % 16]
      let low = index < 16 ? byte & 15 : byte >> 4
      let quant = low | UInt8((highBits >> UInt32(index)) & 1) << 4
      values.append(Float(quant) * scale + minimum)
    }
  }

  // q4_K: [scale f16][minimum scale f16][12 bytes: 8 six-bit scales, 8 six-bit minima][128 bytes].
  // q5_K: 32 bytes of high bits stand before the nibbles. Eight sub-blocks of 32; sub-blocks 2j and
  // 2j + 1 share 32 bytes, low and high nibbles. w = q · scale · s - minimum · m.
  private static func appendK(
    _ block: UnsafeRawBufferPointer,
    hasHighBits: Bool,
    to values: inout [Float]
  ) {
    let scale = unsafe half(block, 0)
    let minimum = unsafe half(block, 2)
    let nibbles = hasHighBits ? 48 : 16
    for sub in 0..<8 {
      let (subScale, subMinimum) = unsafe sixBitPair(block, sub)
      let step = scale * Float(subScale)
      let offset = minimum * Float(subMinimum)
      for index in 0..<32 {
        let byte = unsafe block[nibbles + sub / 2 * 32 + index]
        var quant = sub.isMultiple(of: 2) ? byte & 15 : byte >> 4
        if hasHighBits { quant |= ((unsafe block[16 + index] >> UInt8(sub)) & 1) << 4 }
        values.append(Float(quant) * step - offset)
      }
    }
  }

  // Sub-blocks 0-3: the low six bits of bytes j and j + 4. Sub-blocks 4-7: four bits in byte j + 4,
  // two more in the top of bytes j - 4 and j.
  private static func sixBitPair(
    _ block: UnsafeRawBufferPointer,
    _ sub: Int
  ) -> (scale: UInt8, minimum: UInt8) {
    let first = 4
    if sub < 4 {
      return unsafe (block[first + sub] & 63, block[first + sub + 4] & 63)
    }
    let shared = unsafe block[first + sub + 4]
    return unsafe (
      (shared & 15) | (block[first + sub - 4] >> 6) << 4,
      (shared >> 4) | (block[first + sub] >> 6) << 4
    )
  }

  // q6_K: [128 bytes low nibbles][64 bytes high pairs][16 int8 scales][scale f16]. Two halves of
  // 128 weights: weight 32g + l (g = 0..<4) takes its nibble from byte l + 32(g mod 2), low for
  // g < 2, and its high pair from bits 2g of byte l. w = (q - 32) · scale · s, one s for 16 weights.
  private static func appendQ6K(_ block: UnsafeRawBufferPointer, to values: inout [Float]) {
    let scale = unsafe half(block, 208)
    for index in 0..<256 {
      let part = index / 128
      let group = index % 128 / 32
      let lane = index % 32
      let low = unsafe block[part * 64 + group % 2 * 32 + lane]
      let high = (unsafe block[128 + part * 32 + lane] >> UInt8(2 * group)) & 3
      let quant = Int(group < 2 ? low & 15 : low >> 4) | Int(high) << 4
      let subScale = Float(Int8(bitPattern: unsafe block[192 + index / 16]))
      values.append(scale * subScale * Float(quant - 32))
    }
  }
}

// Types of two and three bits, and those whose quants index a table.
extension Dequantize {
  // q2_K: [16 bytes: scale s low, minimum m high, one for 16 weights][64 bytes of pairs][scale f16]
  // [minimum scale f16]. w = q · (scale · s) - minimum · m.
  private static func appendQ2K(_ block: UnsafeRawBufferPointer, to values: inout [Float]) {
    let scale = unsafe half(block, 80)
    let minimum = unsafe half(block, 82)
    for index in 0..<256 {
      let sub = unsafe block[index / 16]
      let quant = unsafe pair(block, 16, index)
      values.append(
        Float(quant) * (scale * Float(sub & 15)) - minimum * Float(sub >> 4)
      )
    }
  }

  // q3_K: [32 bytes of high bits: bit j of byte l is weight 32j + l's][64 bytes of pairs][12 bytes:
  // 16 six-bit scales s][scale f16]. w = scale · (s - 32) · (q - 4), one s for 16 weights.
  private static func appendQ3K(_ block: UnsafeRawBufferPointer, to values: inout [Float]) {
    let scale = unsafe half(block, 108)
    for index in 0..<256 {
      let high = (unsafe block[index % 32] >> UInt8(index / 32)) & 1
      let quant = Int(unsafe pair(block, 32, index)) | Int(high) << 2
      let step = scale * Float(Int(unsafe sixBitScale(block, index / 16)) - 32)
      values.append(step * Float(quant - 4))
    }
  }

  // Two halves of 128 weights: weight 32g + l of one stands in bits 2g of its byte l.
  private static func pair(
    _ block: UnsafeRawBufferPointer,
    _ first: Int,
    _ index: Int
  ) -> UInt8 {
    let (part, group, lane) = (index / 128, index % 128 / 32, index % 32)
    return (unsafe block[first + part * 32 + lane] >> UInt8(2 * group)) & 3
  }

  // Bytes 0 to 7 have the low four bits of scales 0 to 7 (low nibble) and 8 to 15 (high); bytes 8 to 11
  // the two bits above: byte 8 + i those of scales i, i + 4, i + 8 and i + 12, from the lowest bits up.
  private static func sixBitScale(_ block: UnsafeRawBufferPointer, _ index: Int) -> UInt8 {
    let byte = unsafe block[96 + index % 8]
    let low = index < 8 ? byte & 15 : byte >> 4
    let high = (unsafe block[104 + index % 4] >> UInt8(2 * (index / 4))) & 3
    return low | high << 4
  }

  // iq4_xs: [scale f16][8 × 2 high bits][4 bytes: 8 × 4 low bits of scales s][128 bytes: eight
  // sub-blocks of 32 weights as in iq4_nl]. w = scale · (s - 32) · table[q].
  private static func appendIQ4XS(_ block: UnsafeRawBufferPointer, to values: inout [Float]) {
    let scale = unsafe half(block, 0)
    let high = unsafe block.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
    for sub in 0..<8 {
      let byte = unsafe block[4 + sub / 2]
      let low = sub.isMultiple(of: 2) ? byte & 15 : byte >> 4
      let subScale = Int(low) | Int((high >> UInt16(2 * sub)) & 3) << 4
      let step = scale * Float(subScale - 32)
      for index in 0..<32 {
        values.append(step * (unsafe tableValue(block, 8 + 16 * sub, index)))
      }
    }
  }

  // kvalues_iq4nl of ggml-common.h: sixteen steps, finer near zero, where most weights are.
  private static let table: [Float] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]

  // 16 bytes of nibbles: byte i holds weight i low, weight i + 16 high.
  private static func tableValue(
    _ block: UnsafeRawBufferPointer,
    _ first: Int,
    _ index: Int
  ) -> Float {
    let byte = unsafe block[first + index % 16]
    return table[Int(index < 16 ? byte & 15 : byte >> 4)]
  }
}

/// Converts IEEE 754 binary16 bits to f32, exactly. (`Float16` is not available everywhere, and the
/// bits are all that is needed.)
package func halfToFloat(_ bits: UInt16) -> Float {
  let sign = UInt32(bits & 0x8000) << 16
  let exponent = UInt32(bits >> 10) & 31
  let fraction = UInt32(bits & 0x3FF)
  switch exponent {
  case 0:
    let magnitude = Float(fraction) * 0x1p-24  // subnormal: fraction · 2⁻²⁴
    return sign == 0 ? magnitude : -magnitude
  case 31: return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
  default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
  }
}

/// Returns the bits of the f16 next to a value, ties to even; infinity beyond the largest.
package func floatToHalf(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  let sign = UInt16(bits >> 16) & 0x8000
  let size = bits & 0x7FFF_FFFF
  if size > 0x7F80_0000 { return sign | 0x7E00 }  // NaN
  if size >= 0x477F_F000 { return sign | 0x7C00 }  // 65520 and more
  if size < 0x3880_0000 {
    // A subnormal: its bits are the number of 2⁻²⁴. Adding 0.5 rounds there, to even.
    let shifted = Float(bitPattern: size) + 0.5
    return sign | UInt16(shifted.bitPattern - 0x3F00_0000)
  }
  let odd = (size >> 13) & 1
  return sign | UInt16((size - 0x3800_0000 + 0xFFF + odd) >> 13)
}
