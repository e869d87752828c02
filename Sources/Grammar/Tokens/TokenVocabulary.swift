// What the tokens of a model are as bytes, prepared for masks: once a model.

internal import Synchronization

/// The tokens of a model, as bytes.
///
/// Copies share the storage. Making it takes about half a second for 262,144 tokens.
package struct TokenVocabulary: Sendable {
  let storage: VocabularyStorage

  /// - Parameters:
  ///   - tokens: The bytes of each token; nil or empty for one that never may come: control tokens
  ///     and such.
  ///   - endTokens: Tokens that end the model's turn: allowed where the grammar may end, and only
  ///     there. Their bytes are not looked at.
  /// - Precondition: The end tokens are in the vocabulary. No token is longer than 65,535 bytes.
  package init(tokens: [[UInt8]?], endTokens: [Int32]) {
    for token in endTokens {
      precondition(
        tokens.indices.contains(Int(token)),
        "end token \(token) outside \(tokens.indices)"
      )
    }
    storage = VocabularyStorage(tokens: tokens, endTokens: endTokens)
  }

  /// How many tokens there are.
  package var count: Int { storage.texts.count }

  /// The bytes that no token of a single byte spells.
  ///
  /// With any of them an answer may come to a place where the grammar asks for a byte and no token
  /// has it.
  package var unspelledBytes: [UInt8] {
    let single = Set(storage.texts.lazy.filter { $0.count == 1 }.map { $0[0] })
    return (0...255).filter { !single.contains($0) }
  }
}

/// The storage of a vocabulary.
final class VocabularyStorage: Sendable {
  private static let numbers = Atomic<Int>(0)

  /// Tells vocabularies apart, among all that this process makes.
  let number: Int
  /// The bytes of each token; empty for one that never may come.
  let texts: [[UInt8]]
  let endTokens: [Int32]
  /// All tokens.
  let trie: TokenTrie
  /// Those that are not plain: with a quote, a backslash, a control character or a part of a
  /// character.
  let unplainTrie: TokenTrie
  /// For each count up to the most characters that a plain token has: a bit for each plain token of
  /// at most so many.
  let plainMasks: [[UInt8]]
  /// For each character of `PlainSet.plainASCII` a bit for each plain token that has it; at last,
  /// for those that have one beyond ASCII.
  private let maskOfCharacter: [[UInt8]]

  init(tokens: [[UInt8]?], endTokens: [Int32]) {
    number = VocabularyStorage.numbers.add(1, ordering: .relaxed).newValue
    self.endTokens = endTokens
    let ends = Set(endTokens)
    texts = tokens.enumerated().map { ends.contains(Int32($0.offset)) ? [] : $0.element ?? [] }
    var all: [(text: [UInt8], token: Int32)] = []
    var unplain: [(text: [UInt8], token: Int32)] = []
    var plain: [(count: Int, token: Int)] = []
    for (token, text) in texts.enumerated() where !text.isEmpty {
      precondition(text.count <= UInt16.max, "token \(token) has \(text.count) bytes")
      all.append((text, Int32(token)))
      if let count = VocabularyStorage.plainCount(text) {
        plain.append((count, token))
      } else {
        unplain.append((text, Int32(token)))
      }
    }
    trie = TokenTrie(all)
    unplainTrie = TokenTrie(unplain)
    var masks: [[UInt8]] = []
    var mask = [UInt8](repeating: 0, count: (tokens.count + 7) / 8)
    let longest = plain.map(\.count).max() ?? 0
    let byCount = Dictionary(grouping: plain, by: \.count)
    for count in 0...longest {
      for (_, token) in byCount[count] ?? [] { mask[token / 8] |= 1 << UInt8(token % 8) }
      masks.append(mask)
    }
    plainMasks = masks
    let size = (tokens.count + 7) / 8
    let others = PlainSet.plainASCII.count
    var places = [Int](repeating: others, count: 256)
    for (place, byte) in PlainSet.plainASCII.enumerated() { places[Int(byte)] = place }
    var characters = [[UInt8]](repeating: [UInt8](repeating: 0, count: size), count: others + 1)
    for (_, token) in plain {
      for byte in texts[token] { characters[places[Int(byte)]][token / 8] |= 1 << UInt8(token % 8) }
    }
    maskOfCharacter = characters
  }

  /// Returns a bit for each plain token of at most so many characters, all of them of a set.
  func plainMask(_ count: Int, _ set: PlainSet) -> [UInt8] {
    var mask = plainMasks[count]
    for (place, byte) in PlainSet.plainASCII.enumerated() where !set.ascii.contains(byte) {
      Self.clear(&mask, maskOfCharacter[place])
    }
    if !set.hasOthers { Self.clear(&mask, maskOfCharacter[PlainSet.plainASCII.count]) }
    return mask
  }

  private static func clear(_ mask: inout [UInt8], _ other: [UInt8]) {
    let count = min(mask.count, other.count)
    // Both have so many bytes.
    unsafe mask.withUnsafeMutableBufferPointer { mask in
      unsafe other.withUnsafeBufferPointer { other in
        for index in 0..<count { unsafe mask[index] &= ~other[index] }
      }
    }
  }

  /// How many characters a plain text has; nil if it is not plain.
  private static func plainCount(_ text: [UInt8]) -> Int? {
    guard text.allSatisfy({ $0 >= 0x20 && $0 != 0x22 && $0 != 0x5C }) else { return nil }
    if text.allSatisfy({ $0 < 0x80 }) { return text.count }
    guard let valid = String(validating: text, as: UTF8.self) else { return nil }
    return valid.unicodeScalars.count
  }
}
