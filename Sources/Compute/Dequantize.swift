// How each stored type decodes to f32: the reference of every kernel. One block at a time, in plain
// Swift. Layouts: ggml/src/ggml-common.h and dequantize_row_* of ggml/src/ggml-quants.c in
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

  private static func append(
    block: UnsafeRawBufferPointer,
    type: TensorType,
    to values: inout [Float]
  ) {
    switch type {
    case .f32: values.append(unsafe block.loadUnaligned(as: Float.self))
    case .f16: values.append(unsafe half(block, 0))
    case .bf16:
      let bits = UInt32(unsafe block.loadUnaligned(as: UInt16.self))
      values.append(Float(bitPattern: bits << 16))
    case .q4_0, .q4_1: unsafe appendQ4(block, hasMinimum: type == .q4_1, to: &values)
    case .q5_0, .q5_1: unsafe appendQ5(block, hasMinimum: type == .q5_1, to: &values)
    case .q8_0:
      let scale = unsafe half(block, 0)
      for index in 0..<32 {
        values.append(scale * Float(Int8(bitPattern: unsafe block[2 + index])))
      }
    case .q4_K, .q5_K: unsafe appendK(block, hasHighBits: type == .q5_K, to: &values)
    case .q6_K: unsafe appendQ6K(block, to: &values)
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

/// Converts IEEE 754 binary16 bits to f32, exactly. (`Float16` exists on this platform only where
/// the compiler has the conversion built in; the bits are all we need.)
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
