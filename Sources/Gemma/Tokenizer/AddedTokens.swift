// Added tokens, which are cut out of the text before merging: control tokens such as
// <start_of_turn>, and text that must stay whole, such as runs of line ends.

internal import ModelFiles

/// Finds added tokens in a text.
struct AddedTokens: Sendable {
  /// Which of several overlapping matches wins.
  enum Order: Sendable {
    /// The leftmost match; among those the longest (Hugging Face's tokenizers).
    case leftmost
    /// The longest match anywhere in the text; among those the one with the smallest id, then the
    /// leftmost. llama.cpp does not specify the order of equally long tokens; here it is by id.
    case longest
  }

  /// Which tokens are searched for.
  enum Selection: Sendable {
    case all
    /// Only tokens that are not special, which plain text may contain.
    case plain
    /// Only special tokens.
    case special
  }

  /// A part of a text.
  enum Fragment: Sendable, Equatable {
    case text(Range<Int>)
    case token(Int32)
  }

  /// The longest text of an added token, in bytes; it bounds the time per text.
  static let lengthLimit = 1 << 10

  private let order: Order
  /// A trie: the first node is the root, and the children of a node form a list.
  private var nodes = [Node()]
  /// The root's child for each first byte, or -1, because most bytes of a text begin no token.
  private var roots = [Int32](repeating: -1, count: 256)

  private struct Node {
    var byte: UInt8 = 0
    /// The token that ends at this node, or -1; and whether it is matched only on request.
    var token: Int32 = -1
    var isSpecial = false
    var firstChild: Int32 = -1
    var nextSibling: Int32 = -1
  }

  private struct Match {
    var start: Int
    var length: Int
    var token: Int32
  }

  init(order: Order) { self.order = order }

  /// Adds a token; a special one is matched only if special tokens are asked for.
  ///
  /// - Throws: `GemmaError.tokenizer` if the text is empty or longer than `lengthLimit`.
  mutating func add(
    _ text: ArraySlice<UInt8>,
    token: Int32,
    isSpecial: Bool
  ) throws(GemmaError) {
    guard (1...AddedTokens.lengthLimit).contains(text.count) else {
      throw GemmaError(
        .tokenizer,
        "added token \(token) has \(text.count) bytes, 1 to \(AddedTokens.lengthLimit) are allowed",
        context: Vocabulary.name(text)
      )
    }
    var node = 0
    for byte in text {
      var child = self.child(of: node, byte)
      if child < 0 {
        child = Int32(nodes.count)
        nodes.append(Node(byte: byte, nextSibling: nodes[node].firstChild))
        nodes[node].firstChild = child
        if node == 0 { roots[Int(byte)] = child }
      }
      node = Int(child)
    }
    nodes[node].token = token
    nodes[node].isSpecial = isSpecial
  }

  /// Splits a text into added tokens and the text between them; no part is empty.
  ///
  /// - Complexity: O(n · l), where l is the length of the longest token prefix in the text.
  func split(_ text: [UInt8], _ selection: Selection) -> [Fragment] {
    var fragments: [Fragment] = []
    var end = 0
    for match in matches(in: text, selection) {
      if match.start > end { fragments.append(.text(end..<match.start)) }
      fragments.append(.token(match.token))
      end = match.start + match.length
    }
    if end < text.count { fragments.append(.text(end..<text.count)) }
    return fragments
  }

  private func matches(in text: [UInt8], _ selection: Selection) -> [Match] {
    switch order {
    case .leftmost: leftmostMatches(in: text, selection)
    case .longest: longestMatches(in: text, selection)
    }
  }

  private func leftmostMatches(in text: [UInt8], _ selection: Selection) -> [Match] {
    var matches: [Match] = []
    var start = 0
    while start < text.count {
      if let match = longestMatch(in: text, at: start, shorterThan: .max, selection) {
        matches.append(match)
        start += match.length
      } else {
        start += 1
      }
    }
    return matches
  }

  // The longest match at each place is stored in the bucket of its length. Buckets are emptied from
  // the longest to the shortest: a match whose place is free is accepted; one whose place is partly
  // taken is replaced by the next shorter match at that place. Accepted matches are never shorter
  // than the current one, so any overlap covers its first or its last byte.
  private func longestMatches(in text: [UInt8], _ selection: Selection) -> [Match] {
    var buckets: [Int: [Match]] = [:]
    for start in text.indices {
      if let match = longestMatch(in: text, at: start, shorterThan: .max, selection) {
        buckets[match.length, default: []].append(match)
      }
    }
    var taken = [Bool](repeating: false, count: buckets.isEmpty ? 0 : text.count)
    var matches: [Match] = []
    while let length = buckets.keys.max(), let bucket = buckets.removeValue(forKey: length) {
      for match in bucket.sorted(by: { ($0.token, $0.start) < ($1.token, $1.start) }) {
        let end = match.start + length
        if taken[match.start] { continue }
        if taken[end - 1] {
          let shorter = longestMatch(
            in: text,
            at: match.start,
            shorterThan: length,
            selection
          )
          if let shorter { buckets[shorter.length, default: []].append(shorter) }
        } else {
          for index in match.start..<end { taken[index] = true }
          matches.append(match)
        }
      }
    }
    return matches.sorted { $0.start < $1.start }
  }

  private func longestMatch(
    in text: [UInt8],
    at start: Int,
    shorterThan limit: Int,
    _ selection: Selection
  ) -> Match? {
    var best: Match?
    var node = roots[Int(text[start])]
    var end = start + 1
    while node >= 0, end - start < limit {
      let found = nodes[Int(node)]
      if found.token >= 0, selection.takes(found.isSpecial) {
        best = Match(start: start, length: end - start, token: found.token)
      }
      guard end < text.count else { break }
      node = child(of: Int(node), text[end])
      end += 1
    }
    return best
  }

  private func child(of node: Int, _ byte: UInt8) -> Int32 {
    var child = node == 0 ? roots[Int(byte)] : nodes[node].firstChild
    while child >= 0, nodes[Int(child)].byte != byte { child = nodes[Int(child)].nextSibling }
    return child
  }
}

extension AddedTokens.Selection {
  fileprivate func takes(_ isSpecial: Bool) -> Bool {
    switch self {
    case .all: true
    case .plain: !isSpecial
    case .special: isSpecial
    }
  }
}
