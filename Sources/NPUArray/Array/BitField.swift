// Fields of several bits in words of 32 bits.

/// A field in one of the words of a descriptor.
struct BitField: Sendable, Hashable {
  var word: Int
  var bits: ClosedRange<Int>

  init(_ word: Int, _ bits: ClosedRange<Int>) {
    self.word = word
    self.bits = bits
  }

  init(_ word: Int, _ bit: Int) { self.init(word, bit...bit) }

  var width: Int { bits.count }
  var most: UInt32 { UInt32((UInt64(1) << UInt64(width)) - 1) }

  func value(in words: [UInt32]) -> UInt32 { words[word] >> UInt32(bits.lowerBound) & most }

  func set(_ value: UInt32, in words: inout [UInt32]) {
    words[word] &= ~(most << UInt32(bits.lowerBound))
    words[word] |= (value & most) << UInt32(bits.lowerBound)
  }
}
