// Converts tokens into text one at a time, for streaming.

/// Converts tokens into text as they arrive, and cuts it only between whole characters.
///
/// All returned text and that of `flush()` together equal `Tokenizer.decode` of all tokens.
package struct Detokenizer: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  /// The incomplete last character, whose other bytes may follow; at most 3 bytes.
  private var pending: [UInt8] = []

  /// - Parameters:
  ///   - tokenizer: The model's tokenizer.
  ///   - skipSpecial: Whether special tokens are left out; otherwise their names are shown.
  package init(_ tokenizer: Tokenizer, skipSpecial: Bool = true) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
  }

  /// Returns the text that a token completes; "" if it completes none.
  ///
  /// An id without a token adds nothing: a model may have more logits than its tokenizer has
  /// tokens.
  package mutating func append(_ token: Int32) -> String {
    if skipSpecial, tokenizer.isSpecial(token) { return "" }
    pending += tokenizer.bytes(of: token) ?? []
    let whole = pending.count - Detokenizer.incompleteCount(pending)
    defer { pending.removeFirst(whole) }
    return String(decoding: pending[..<whole], as: UTF8.self)
  }

  /// Returns the rest: U+FFFD if the last character was never completed, else "".
  package mutating func flush() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// Returns the number of bytes at the end that form a valid but incomplete character, 0 to 3.
  ///
  /// Which bytes may follow depends on the first byte (The Unicode Standard, table 3-7).
  static func incompleteCount(_ bytes: [UInt8]) -> Int {
    for count in 1...3 where count <= bytes.count {
      let tail = bytes.suffix(count)
      let first = tail[tail.startIndex]
      if first & 0xC0 == 0x80 { continue }
      let length = first < 0xC2 || first > 0xF4 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
      guard count < length else { return 0 }
      guard count > 1 else { return count }
      let second: ClosedRange<UInt8> =
        switch first {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
      return second.contains(tail[tail.startIndex + 1]) ? count : 0
    }
    return 0
  }
}
