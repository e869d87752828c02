// How stored blocks decode, against the package that defines the formats and against blocks written
// by hand.

import Compute
import Foundation
import TestSupport
import Testing

/// A row of Goldens/quantised/values.json.
private struct GoldenRow: Decodable, Sendable, CustomTestStringConvertible {
  var type: String
  var row: String
  var bytes: String
  var values: [Float]

  var testDescription: String { "\(type) \(row)" }

  static let all: [GoldenRow] = {
    let file = Goldens.directory.appending(path: "quantised/values.json")
    guard let data = try? Data(contentsOf: file) else { return [] }
    return (try? JSONDecoder().decode([GoldenRow].self, from: data)) ?? []
  }()

  /// The type of this name, however the case is written: `Q4_K` is `q4_K`.
  var tensorType: TensorType? {
    TensorType.allCases.first { $0.rawValue.lowercased() == type.lowercased() }
  }

  var storedBytes: [UInt8] {
    var digits = bytes[...]
    var result: [UInt8] = []
    while let byte = UInt8(digits.prefix(2), radix: 16) {
      result.append(byte)
      digits = digits.dropFirst(2)
    }
    return result
  }
}

/// Decodes some values of a row.
private func decode(
  _ bytes: [UInt8],
  _ type: TensorType,
  start: Int = 0,
  count: Int? = nil
) -> [Float] {
  let length = bytes.count / type.blockByteCount * type.blockLength
  return unsafe bytes.withUnsafeBytes { row in
    unsafe Dequantize.values(row, type: type, start: start, count: count ?? length)
  }
}

@Suite struct `Stored blocks` {
  // Halves, low byte first: 1.0 is 3C00, 0.5 is 3800, -2.0 is C000.
  private let one: [UInt8] = [0x00, 0x3c]
  private let half: [UInt8] = [0x00, 0x38]
  private let minusTwo: [UInt8] = [0x00, 0xc0]

  @Test func `the golden rows cover every quantised type`() {
    let covered = Set(GoldenRow.all.compactMap(\.tensorType))
    #expect(covered == Set(TensorType.allCases.filter(\.isQuantised)))
  }

  @Test(arguments: GoldenRow.all)
  fileprivate func `agrees bit for bit with the gguf package`(_ row: GoldenRow) throws {
    let type = try #require(row.tensorType)
    let bytes = row.storedBytes
    #expect(bytes.count == type.byteCount(columns: row.values.count))
    let report = compare(
      decode(bytes, type),
      row.values,
      tolerance: 0,
      shape: [row.values.count / type.blockLength, type.blockLength],
      name: row.testDescription
    )
    #expect(report.matches, "\(report)")
  }

  @Test(arguments: GoldenRow.all)
  fileprivate func `a part of a row decodes as it does within the whole`(_ row: GoldenRow) throws {
    let type = try #require(row.tensorType)
    // Two rows' blocks one behind the other, so that the K types have two blocks as well.
    let bytes = row.storedBytes + row.storedBytes.reversed()
    let whole = decode(bytes, type)
    for start in stride(from: 0, to: whole.count, by: type.blockLength) {
      let part = decode(bytes, type, start: start, count: type.blockLength)
      #expect(part.map(\.bitPattern) == whole[start...].prefix(part.count).map(\.bitPattern))
    }
    #expect(decode(bytes, type, start: type.blockLength, count: 0).isEmpty)
  }

  @Test func `plain types are their own values`() {
    #expect(decode([0x00, 0x00, 0x80, 0xbf, 0x00, 0x00, 0x40, 0x40], .f32) == [-1, 3])
    #expect(decode(minusTwo + half, .f16) == [-2, 0.5])
    // The upper half of f32: 3F80 is 1, C049 is -3.140625.
    #expect(decode([0x80, 0x3f, 0x49, 0xc0], .bf16) == [1, -3.140625])
  }

  @Test func `q4_0 keeps weight i low and weight i + 16 high in byte i, centred at 8`() {
    var quants = [UInt8](repeating: 0x88, count: 16)
    quants[0] = 0xf0
    quants[3] = 0x29
    var want = [Float](repeating: 0, count: 32)
    want[0] = -4  // (0 - 8) · ½
    want[16] = 3.5  // (15 - 8) · ½
    want[3] = 0.5
    want[19] = -3
    #expect(decode(half + quants, .q4_0) == want)
  }

  @Test func `q4_1 adds its minimum`() {
    var quants = [UInt8](repeating: 0, count: 16)
    quants[15] = 0x4f
    var want = [Float](repeating: -2, count: 32)
    want[15] = 5.5  // 15 · ½ - 2
    want[31] = 0
    #expect(decode(half + minusTwo + quants, .q4_1) == want)
  }

  @Test func `q5_0 takes bit i of its four bytes as weight i's fifth, centred at 16`() {
    var quants = [UInt8](repeating: 0, count: 16)
    quants[1] = 0x21
    // Bits 0, 1, 17 and 31.
    let high: [UInt8] = [0x03, 0x00, 0x02, 0x80]
    var want = [Float](repeating: -16, count: 32)
    want[0] = 0
    want[1] = 1
    want[17] = 2
    want[31] = 0
    #expect(decode(one + high + quants, .q5_0) == want)
  }

  @Test func `q5_1 has a fifth bit and a minimum`() {
    var quants = [UInt8](repeating: 0, count: 16)
    quants[8] = 0xf0
    let high: [UInt8] = [0x00, 0x00, 0x00, 0x01]  // bit 24
    var want = [Float](repeating: 0.5, count: 32)
    want[24] = -61.5  // 31 · -2 + ½
    #expect(decode(minusTwo + half + high + quants, .q5_1) == want)
  }

  @Test func `q8_0 is signed bytes`() {
    let quants = (0..<32).map { UInt8(bitPattern: Int8(8 * $0 - 128)) }
    #expect(decode(half + quants, .q8_0) == (0..<32).map { Float(4 * $0 - 64) })
  }

  @Test func `q4_K spreads eight six-bit scales and minima over twelve bytes`() {
    // Scales 1...8 plus 32, minima 8...1 plus 16: each uses its upper two bits.
    let scales = (1...8).map { UInt8($0 + 32) }
    let minima = (1...8).map { UInt8(9 - $0 + 16) }
    var packed = [UInt8](repeating: 0, count: 12)
    for sub in 0..<4 {
      packed[sub] = scales[sub] | (scales[sub + 4] >> 4) << 6
      packed[sub + 4] = minima[sub] | (minima[sub + 4] >> 4) << 6
      packed[sub + 8] = (scales[sub + 4] & 15) | (minima[sub + 4] & 15) << 4
    }
    // Low nibbles 3, high nibbles 5: even sub-blocks have 3 throughout, odd ones 5.
    let quants = [UInt8](repeating: 0x53, count: 128)
    let got = decode(one + half + packed + quants, .q4_K)
    for sub in 0..<8 {
      let quant: Float = sub.isMultiple(of: 2) ? 3 : 5
      let want = quant * Float(scales[sub]) - 0.5 * Float(minima[sub])
      #expect(got[(sub * 32)..<(sub * 32 + 32)].allSatisfy { $0 == want }, "sub-block \(sub)")
    }
  }

  @Test func `q6_K has six bits a weight and a signed scale for sixteen`() {
    var low = [UInt8](repeating: 0, count: 128)
    var high = [UInt8](repeating: 0, count: 64)
    // Weight 0: 63. Weight 128 + 96 + 31, the last: nibble 15 high in byte 127, pair 2 in bits 6-7.
    low[0] = 0x0f
    high[0] = 0x03
    low[127] = 0xf0
    high[63] = 0x80
    var scales = [UInt8](repeating: 1, count: 16)
    scales[15] = UInt8(bitPattern: -3)
    var want = [Float](repeating: -32, count: 256)
    want[0] = 31
    for index in 240..<256 { want[index] = 96 }
    want[255] = -45  // (47 - 32) · -3
    #expect(decode(low + high + scales + one, .q6_K) == want)
  }

  @Test func `q2_K has two bits a weight, and a scale and a minimum for sixteen`() {
    var scales = [UInt8](repeating: 0x21, count: 16)  // s = 1, m = 2
    scales[15] = 0x0f
    var pairs = [UInt8](repeating: 0, count: 64)
    // Weight 33: 3, in bits 2-3 of byte 1. Weight 255: 2, in bits 6-7 of byte 63.
    pairs[1] = 0x0c
    pairs[63] = 0x80
    var want = [Float](repeating: 4, count: 256)  // -(-2 · 2)
    want[33] = 5.5
    for index in 240..<256 { want[index] = 0 }
    want[255] = 15  // 2 · ½ · 15
    #expect(decode(scales + pairs + half + minusTwo, .q2_K) == want)
  }

  @Test func `q3_K has a high bit that is missing from four, and six-bit scales centred at 32`() {
    var high = [UInt8](repeating: 0, count: 32)
    // Weight 0, and weight 255: bit 7 of byte 31.
    high[0] = 0x01
    high[31] = 0x80
    var pairs = [UInt8](repeating: 0, count: 64)
    pairs[63] = 0xc0
    // All scales 33, but the last: 15 | 3 · 16 = 63.
    var scales = [UInt8](repeating: 0x11, count: 8) + [UInt8](repeating: 0xaa, count: 4)
    scales[7] = 0xf1
    scales[11] = 0xea
    var want = [Float](repeating: -4, count: 256)
    want[0] = 0
    for index in 240..<256 { want[index] = -124 }  // -4 · (63 - 32)
    want[255] = 93  // (7 - 4) · 31
    #expect(decode(high + pairs + scales + one, .q3_K) == want)
  }

  @Test func `iq4_nl takes its weights from a table`() {
    let quants = (0..<16).map { UInt8($0) | UInt8(15 - $0) << 4 }
    let table: [Float] = [
      -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ]
    #expect(decode(one + quants, .iq4_nl) == table + table.reversed())
  }

  @Test func `iq4_xs has eight scales of six bits, centred at 32`() {
    // Low bits: sub-block j has j; high bits: 3 for the last, else 2.
    let low: [UInt8] = [0x10, 0x32, 0x54, 0x76]
    let high: [UInt8] = [0xaa, 0xea]
    let quants = [UInt8](repeating: 0x88, count: 128)  // 1 throughout
    let got = decode(one + high + low + quants, .iq4_xs)
    for sub in 0..<8 {
      let want = Float(sub == 7 ? 23 : sub)  // 7 | 3 · 16 - 32
      #expect(got[(sub * 32)..<(sub * 32 + 32)].allSatisfy { $0 == want }, "sub-block \(sub)")
    }
  }
}

@Suite struct `Half to float` {
  @Test func `every finite pattern is (-1)^s · 2^(e-15) · (1 + f/1024), or 2^-14 · f/1024`() {
    for bits in UInt16.min...UInt16.max {
      let exponent = Int(bits >> 10 & 31)
      guard exponent < 31 else { continue }
      let fraction = Double(bits & 1023) / 1024
      let magnitude =
        exponent == 0
        ? Double(sign: .plus, exponent: -14, significand: fraction)
        : Double(sign: .plus, exponent: exponent - 15, significand: 1 + fraction)
      let want = bits >> 15 == 1 ? -magnitude : magnitude
      let got = halfToFloat(bits)
      // Compared as bits, for the sign of zero.
      if Double(got).bitPattern != want.bitPattern {
        Issue.record("\(String(bits, radix: 16)): got \(got), want \(want)")
        return
      }
    }
  }

  @Test func `an all-ones exponent is infinite or no number, with its sign`() {
    #expect(halfToFloat(0x7c00) == .infinity)
    #expect(halfToFloat(0xfc00) == -.infinity)
    for fraction in UInt16(1)..<1024 {
      #expect(halfToFloat(0x7c00 | fraction).isNaN)
      #expect(halfToFloat(0xfc00 | fraction).isNaN)
    }
  }
}
