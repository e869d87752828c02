// The texts of tokens as a tree of bytes.

/// A node of a trie: a byte behind those of the nodes above.
struct TrieNode {
  var byte: UInt8
  /// How many bytes lead to it, its own included.
  var depth: UInt16
  /// The token whose text ends here; -1 if none does; below that, -2 minus an index of
  /// `TokenTrie.shared`.
  var token: Int32
  /// The node behind its subtree.
  var end: Int32
}

/// Texts of tokens, as the nodes of their tree in preorder: a walk that skips what is impossible is
/// one loop.
struct TokenTrie: Sendable {
  private(set) var nodes: [TrieNode] = []
  /// Tokens of equal texts.
  private(set) var shared: [[Int32]] = []
  /// The most bytes that a text has.
  private(set) var depth = 0

  /// - Precondition: No text is empty or longer than `UInt16.max` bytes.
  /// - Complexity: O(n log n) in the bytes of all texts.
  init(_ tokens: [(text: [UInt8], token: Int32)]) {
    let sorted = tokens.sorted {
      $0.text == $1.text ? $0.token < $1.token : $0.text.lexicographicallyPrecedes($1.text)
    }
    var path: [Int] = []
    var last: [UInt8] = []
    for (text, token) in sorted {
      var common = 0
      while common < min(text.count, last.count), text[common] == last[common] { common += 1 }
      if common == text.count, common == last.count, let node = path.last {
        share(node, token)
        continue
      }
      while path.count > common { nodes[path.removeLast()].end = Int32(nodes.count) }
      for index in common..<text.count {
        path.append(nodes.count)
        nodes.append(TrieNode(byte: text[index], depth: UInt16(index + 1), token: -1, end: 0))
      }
      nodes[nodes.count - 1].token = token
      depth = max(depth, text.count)
      last = text
    }
    while let node = path.popLast() { nodes[node].end = Int32(nodes.count) }
  }

  private mutating func share(_ node: Int, _ token: Int32) {
    let first = nodes[node].token
    if first >= 0 {
      shared.append([first, token])
      nodes[node].token = -2 - Int32(shared.count - 1)
    } else {
      shared[Int(-2 - first)].append(token)
    }
  }
}
