// Byte pair encoding of plain text, the same for both kinds of vocabulary. Added tokens were cut
// out before (AddedTokens.swift), and spaces were replaced by `▁`.

/// Merges the characters of a text into tokens.
///
/// Each character begins as one piece. Of all neighbouring pairs that may be merged, the best is
/// merged, the leftmost of equals first, until none is left (Sennrich et al. 2016,
/// https://arxiv.org/abs/1508.07909, section 3.2). Pairs wait in a heap; pieces form a linked list.
struct PieceMerger: Sendable {
  let vocabulary: Vocabulary
  let rules: MergeRules
  /// The token for a character that neither tokens nor byte tokens express; nil leaves it out.
  let unknown: Int32?
  /// Whether a run of such characters becomes one token.
  let fusesUnknown: Bool
  let usesByteTokens: Bool
  /// The characters that some token has before a `▁`.
  ///
  /// After any other character no pair reaches across a space. So the text is split into words that
  /// are merged separately, each with a small heap.
  private let charactersBeforeSpace: Set<UInt32>

  /// The UTF-8 bytes of `▁`, U+2581.
  static let space: [UInt8] = [0xE2, 0x96, 0x81]
  /// Longer words are split here to bound memory: 16 Mi characters need 0.5 GB.
  static let wordLimit = 1 << 24

  init(
    vocabulary: Vocabulary,
    rules: MergeRules,
    unknown: Int32?,
    fusesUnknown: Bool,
    usesByteTokens: Bool
  ) {
    self.vocabulary = vocabulary
    self.rules = rules
    self.unknown = unknown
    self.fusesUnknown = fusesUnknown
    self.usesByteTokens = usesByteTokens
    charactersBeforeSpace = PieceMerger.charactersBeforeSpace(in: vocabulary)
  }

  /// Appends the tokens of `text`, valid UTF-8.
  ///
  /// - Complexity: O(n log m), where m is the length of the longest word.
  func append(_ text: [UInt8], to tokens: inout [Int32]) {
    var word = Word()
    var previous: UInt32 = 0
    var index = 0
    while index < text.count {
      let end = min(index + PieceMerger.scalarLength(text[index]), text.count)
      let isBoundary =
        text[index] == PieceMerger.space[0] && text[index..<end].elementsEqual(PieceMerger.space)
        && !charactersBeforeSpace.contains(previous)
      if !word.pieces.isEmpty, isBoundary || word.pieces.count >= PieceMerger.wordLimit {
        finish(&word, of: text, tokens: &tokens)
      }
      appendPieces(text, index..<end, to: &word)
      previous = PieceMerger.packed(text[index..<end])
      index = end
    }
    finish(&word, of: text, tokens: &tokens)
  }

  /// A piece of a word: a node of a doubly linked list.
  private struct Piece {
    /// The token of the piece, or -1 if its text is not a token.
    var id: Int32
    var text: Range<Int>
    /// The indices of the neighbours, or -1; a piece that was merged into its left neighbour has no
    /// next.
    var previous: Int32
    var next: Int32 = -1
  }

  private struct Word {
    var pieces: [Piece] = []
    var heap = MinHeap()
    /// Whether the last emitted token is the unknown token, for `fusesUnknown`.
    var endsUnknown = false

    mutating func append(_ id: Int32, _ text: Range<Int>) {
      let index = Int32(pieces.count)
      if index > 0 { pieces[Int(index) - 1].next = index }
      pieces.append(Piece(id: id, text: text, previous: index - 1))
    }
  }

  // Appends a character as its token, its byte tokens, or an unknown piece. Scored vocabularies
  // keep an unknown character whole, because it may be part of a longer token; ranked ones merge by
  // ids.
  private func appendPieces(_ text: [UInt8], _ character: Range<Int>, to word: inout Word) {
    if let id = vocabulary.id(of: text, in: character), isMergeable(id) {
      word.append(id, character)
    } else if case .ranked = rules, hasByteTokens(text[character]) {
      for index in character {
        word.append(vocabulary.byteTokens[Int(text[index])], index..<index + 1)
      }
    } else {
      word.append(-1, character)
    }
  }

  private func finish(_ word: inout Word, of text: [UInt8], tokens: inout [Int32]) {
    merge(&word, of: text)
    var index = word.pieces.isEmpty ? -1 : 0
    while index >= 0 {
      let piece = word.pieces[index]
      if piece.id >= 0 {
        tokens.append(piece.id)
        word.endsUnknown = false
      } else if hasByteTokens(text[piece.text]) {
        for byte in text[piece.text] { tokens.append(vocabulary.byteTokens[Int(byte)]) }
        word.endsUnknown = false
      } else if let unknown {
        if !(fusesUnknown && word.endsUnknown) { tokens.append(unknown) }
        word.endsUnknown = true
      }
      index = Int(piece.next)
    }
    word.pieces.removeAll(keepingCapacity: true)
  }

  private func merge(_ word: inout Word, of text: [UInt8]) {
    for index in word.pieces.indices {
      if let pair = pair(at: index, in: word, of: text) { word.heap.push(pair.key) }
    }
    while let key = word.heap.pop() {
      let left = Int(key & 0xFFFF_FFFF)
      // A key may be outdated, because a neighbour was merged elsewhere. Then the pair that now
      // begins here, if any, has another key, or it has this same key and is equally good.
      guard let pair = pair(at: left, in: word, of: text), pair.key == key else { continue }
      let right = Int(word.pieces[left].next)
      let next = word.pieces[right].next
      word.pieces[left].id = pair.merged
      word.pieces[left].text =
        word.pieces[left].text.lowerBound..<word.pieces[right].text.upperBound
      word.pieces[left].next = next
      word.pieces[right].next = -1
      if next >= 0 { word.pieces[Int(next)].previous = Int32(left) }
      let previous = Int(word.pieces[left].previous)
      if previous >= 0, let pair = self.pair(at: previous, in: word, of: text) {
        word.heap.push(pair.key)
      }
      if let pair = self.pair(at: left, in: word, of: text) { word.heap.push(pair.key) }
    }
  }

  // Returns the pair that begins at a piece. Its key sorts by rank, then by place: the rank is in
  // the upper half, the piece's index in the lower half.
  private func pair(
    at left: Int,
    in word: Word,
    of text: [UInt8]
  ) -> (key: UInt64, merged: Int32)? {
    let right = Int(word.pieces[left].next)
    guard right >= 0 else { return nil }
    let first = word.pieces[left]
    let second = word.pieces[right]
    let rank: UInt32
    let merged: Int32
    switch rules {
    case .ranked(let table):
      guard first.id >= 0, second.id >= 0, let found = table.find(left: first.id, right: second.id)
      else { return nil }
      (rank, merged) = found
    case .scored(let ranks):
      let joined = first.text.lowerBound..<second.text.upperBound
      guard let id = vocabulary.id(of: text, in: joined), isMergeable(id) else { return nil }
      (rank, merged) = (ranks[Int(id)], id)
    }
    return (UInt64(rank) << 32 | UInt64(left), merged)
  }

  private func isMergeable(_ id: Int32) -> Bool {
    if case .scored(let ranks) = rules { return ranks[Int(id)] != MergeRules.unmergeable }
    return true
  }

  private func hasByteTokens(_ text: ArraySlice<UInt8>) -> Bool {
    usesByteTokens && text.allSatisfy { vocabulary.byteTokens[Int($0)] >= 0 }
  }

  // Returns the length of a UTF-8 sequence from its first byte.
  private static func scalarLength(_ first: UInt8) -> Int {
    first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
  }

  // Returns the bytes of a character as one number.
  private static func packed(_ character: ArraySlice<UInt8>) -> UInt32 {
    character.reduce(0) { $0 << 8 | UInt32($1) }
  }

  private static func charactersBeforeSpace(in vocabulary: Vocabulary) -> Set<UInt32> {
    var found: Set<UInt32> = []
    for id in 0..<vocabulary.count {
      let piece = vocabulary.bytes(of: id)
      var index = piece.startIndex
      var previous = index..<index
      while index < piece.endIndex {
        let end = min(index + scalarLength(piece[index]), piece.endIndex)
        if !previous.isEmpty, piece[index] == space[0], piece[index..<end].elementsEqual(space) {
          found.insert(packed(piece[previous]))
        }
        previous = index..<end
        index = end
      }
    }
    return found
  }
}

/// A binary heap that pops the smallest number first.
private struct MinHeap {
  private var keys: [UInt64] = []

  mutating func push(_ key: UInt64) {
    var hole = keys.count
    keys.append(key)
    while hole > 0 {
      let parent = (hole - 1) / 2
      guard key < keys[parent] else { break }
      keys[hole] = keys[parent]
      hole = parent
    }
    keys[hole] = key
  }

  mutating func pop() -> UInt64? {
    guard let least = keys.first, let key = keys.popLast() else { return nil }
    guard !keys.isEmpty else { return least }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < keys.count else { break }
      if child + 1 < keys.count, keys[child + 1] < keys[child] { child += 1 }
      guard keys[child] < key else { break }
      keys[hole] = keys[child]
      hole = child
    }
    keys[hole] = key
    return least
  }
}
