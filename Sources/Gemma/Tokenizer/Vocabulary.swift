// The pieces of a vocabulary: their text, their kind, and the table that finds a piece by its text.
// MergeRules.swift says which pieces may be merged.

internal import ModelFiles

/// The purpose of a token.
enum TokenKind: UInt8, Sendable {
  /// Text that merging produces.
  case normal
  /// Text that is cut out before merging (type 4 in a GGUF; an added token that is not special).
  case userDefined
  /// A control token: plain text never becomes one, and it is shown only on request.
  case control
  /// The token for text that the vocabulary cannot express; shown like a control token.
  case unknown
  /// One byte of a character that has no token of its own.
  case byte
  /// An id that no token uses.
  case absent
}

/// The tokens of a model, by id and by text.
struct Vocabulary: Sendable {
  /// Ids from here on are refused: no model has them, and tables grow with the largest id.
  static let countLimit = 1 << 22
  /// The limit of the text of all tokens together; Gemma's 262,144 tokens take 2 MB.
  static let byteLimit = 1 << 28

  private(set) var kinds: [TokenKind] = []
  /// The text of all tokens, in the order they were added.
  private var bytes: [UInt8] = []
  private var ranges: [Range<UInt32>] = []  // [count], into `bytes`
  /// A hash table with open addressing and linear probing, at most half full: ids, or -1.
  private var slots: [Int32] = []
  /// An odd number that differs in each process, so that no file can force collisions.
  private let secret = UInt64.random(in: .min ... .max) | 1
  /// The length of the longest token in bytes.
  private(set) var longestPiece = 0
  /// The ids of the byte tokens `<0x00>` to `<0xFF>`, or -1.
  private(set) var byteTokens = [Int32](repeating: -1, count: 256)

  var count: Int { kinds.count }

  init(expectedCount: Int = 0) {
    kinds.reserveCapacity(expectedCount)
    ranges.reserveCapacity(expectedCount)
    slots = [Int32](repeating: -1, count: Vocabulary.slotCount(for: expectedCount))
  }

  /// Adds a token; ids may come in any order and leave gaps.
  ///
  /// - Throws: `GemmaError.tokenizer` if the id is taken or too large, or the text is taken.
  mutating func add(
    _ text: ArraySlice<UInt8>,
    id: Int,
    kind: TokenKind
  ) throws(GemmaError) {
    guard (0..<Vocabulary.countLimit).contains(id) else {
      throw GemmaError(
        .tokenizer,
        "token id \(id) is outside 0..<\(Vocabulary.countLimit)",
        context: Vocabulary.name(text)
      )
    }
    guard text.count <= Vocabulary.byteLimit - bytes.count else {
      throw GemmaError(.tokenizer, "the tokens hold more than \(Vocabulary.byteLimit) bytes")
    }
    if id >= count {
      kinds.append(contentsOf: repeatElement(.absent, count: id + 1 - count))
      ranges.append(contentsOf: repeatElement(0..<0, count: id + 1 - ranges.count))
    }
    guard kinds[id] == .absent else {
      throw GemmaError(
        .tokenizer,
        "token id \(id) is used twice, by \(Vocabulary.name(self.bytes(of: id)))",
        context: Vocabulary.name(text)
      )
    }
    let start = UInt32(bytes.count)
    bytes.append(contentsOf: text)
    kinds[id] = kind
    ranges[id] = start..<UInt32(bytes.count)
    longestPiece = max(longestPiece, text.count)
    guard insert(id) else {
      throw GemmaError(
        .tokenizer,
        "token \(id) has the text of another",
        context: Vocabulary.name(text)
      )
    }
    if let value = Vocabulary.byteValue(text) {
      byteTokens[Int(value)] = Int32(id)
    }
  }

  /// Changes the kind of a token.
  mutating func setKind(_ kind: TokenKind, of id: Int) { kinds[id] = kind }

  /// Returns the text of a token as in the file: `▁` for a space, `<0x0A>` for a byte.
  func bytes(of id: Int) -> ArraySlice<UInt8> {
    bytes[Int(ranges[id].lowerBound)..<Int(ranges[id].upperBound)]
  }

  /// Returns the token whose text is `text[range]`.
  func id(of text: [UInt8], in range: Range<Int>) -> Int32? {
    guard range.count <= longestPiece else { return nil }
    var slot = hash(text, range) & (slots.count - 1)
    while slots[slot] >= 0 {
      let id = slots[slot]
      let candidate = ranges[Int(id)]
      if candidate.count == range.count, equal(Int(candidate.lowerBound), text, range) {
        return id
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  /// Returns the token with this text.
  func id(of text: String) -> Int32? {
    let bytes = Array(text.utf8)
    return id(of: bytes, in: bytes.indices)
  }

  /// Returns the byte that a token spelled `<0xNN>` stands for.
  static func byteValue(_ text: ArraySlice<UInt8>) -> UInt8? {
    guard text.count == 6, text.starts(with: Array("<0x".utf8)), text.last == UInt8(ascii: ">")
    else { return nil }
    let digits = text.dropFirst(3).dropLast()
    return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
  }

  /// Returns a token's text for an error message.
  static func name(_ text: ArraySlice<UInt8>) -> String {
    "token \(String(decoding: text.prefix(160), as: UTF8.self).excerpt)"
  }

  private static func slotCount(for count: Int) -> Int {
    var slots = 16
    while slots < 2 * min(count, countLimit) { slots *= 2 }
    return slots
  }

  // Returns false if a token with this text exists.
  private mutating func insert(_ id: Int) -> Bool {
    if 2 * count > slots.count {
      slots = [Int32](repeating: -1, count: Vocabulary.slotCount(for: 2 * count))
      for other in 0..<count where kinds[other] != .absent && other != id {
        _ = place(other)
      }
    }
    return place(id)
  }

  private mutating func place(_ id: Int) -> Bool {
    let range = Int(ranges[id].lowerBound)..<Int(ranges[id].upperBound)
    var slot = hash(bytes, range) & (slots.count - 1)
    while slots[slot] >= 0 {
      let candidate = ranges[Int(slots[slot])]
      if candidate.count == range.count, equal(Int(candidate.lowerBound), bytes, range) {
        return false
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    slots[slot] = Int32(id)
    return true
  }

  private func hash(_ text: [UInt8], _ range: Range<Int>) -> Int {
    var state = secret
    for index in range {
      // The shift moves the well-mixed upper half of the product to where the next byte is added.
      state = (state ^ UInt64(text[index])) &* 0x9E37_79B9_7F4A_7C15
      state ^= state >> 29
    }
    return Int(truncatingIfNeeded: (state &* secret) >> 20)
  }

  private func equal(_ start: Int, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    for index in 0..<range.count where bytes[start + index] != text[range.lowerBound + index] {
      return false
    }
    return true
  }
}

extension String {
  /// The beginning of a text from a file, quoted and on one line, for an error message.
  var excerpt: String { String(prefix(40)).debugDescription }
}
