// SHA-1, by which git names files; libsodium does not have it. It protects from accidents, not from attackers.

/// SHA-1 of bytes that come in pieces (FIPS 180-4, 6.1).
package struct SHA1: Sendable {
  private var state: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
  /// Bytes that do not fill a block yet.
  private var rest: [UInt8] = []
  private var byteCount = 0

  private static let blockByteCount = 64

  package init() {}

  /// Adds bytes.
  package mutating func update(_ bytes: some Collection<UInt8>) {
    byteCount += bytes.count
    rest += bytes
    var first = 0
    while first + Self.blockByteCount <= rest.count {
      add(block: rest[first..<(first + Self.blockByteCount)])
      first += Self.blockByteCount
    }
    rest.removeFirst(first)
  }

  /// Returns the digest of all bytes, 20 bytes.
  package consuming func finish() -> [UInt8] {
    let bitCount = UInt64(byteCount) * 8
    // A one, zeros up to 8 bytes before the end of a block, and the number of bits.
    let zeroCount = (119 - byteCount % Self.blockByteCount) % Self.blockByteCount
    update([0x80] + [UInt8](repeating: 0, count: zeroCount))
    update((0..<8).reversed().map { UInt8(truncatingIfNeeded: bitCount >> UInt64(8 * $0)) })
    return state.flatMap { word in
      (0..<4).reversed().map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) }
    }
  }

  private mutating func add(block: ArraySlice<UInt8>) {
    var words: [UInt32] = []
    words.reserveCapacity(80)
    for first in stride(from: block.startIndex, to: block.endIndex, by: 4) {
      words.append(block[first..<(first + 4)].reduce(0) { $0 << 8 | UInt32($1) })
    }
    for index in 16..<80 {
      let mixed = words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]
      words.append(rotated(mixed, 1))
    }
    var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
    for (index, word) in words.enumerated() {
      let (mix, constant): (UInt32, UInt32) =
        switch index {
        case ..<20: (b & c | ~b & d, 0x5A82_7999)
        case ..<40: (b ^ c ^ d, 0x6ED9_EBA1)
        case ..<60: (b & c | b & d | c & d, 0x8F1B_BCDC)
        default: (b ^ c ^ d, 0xCA62_C1D6)
        }
      let next = rotated(a, 5) &+ mix &+ e &+ constant &+ word
      (e, d, c, b, a) = (d, c, rotated(b, 30), a, next)
    }
    for (index, word) in [a, b, c, d, e].enumerated() { state[index] &+= word }
  }

  private func rotated(_ word: UInt32, _ count: UInt32) -> UInt32 {
    word << count | word >> (32 - count)
  }
}
