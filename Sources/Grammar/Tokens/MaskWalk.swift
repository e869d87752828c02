// Masks: which tokens may follow a stack.

/// A mask in an automaton's store.
struct MaskKey: Hashable {
  var vocabulary: Int
  var stack: Int32
}

extension Automaton {
  /// Returns the tokens that may follow a stack, of token t bit t % 8 of byte t / 8; none where no
  /// bit is.
  ///
  /// - Complexity: O(n) in the nodes of the trie of all tokens at most; where the stack is inside a
  ///   string, or few bytes may follow, a small part of it. A mask that was made before is a
  ///   look-up.
  func mask(_ stack: Int32, _ vocabulary: VocabularyStorage) -> [UInt8] {
    let key = MaskKey(vocabulary: vocabulary.number, stack: stack)
    if let mask = masks[key] { return mask }
    let mask = makeMask(stack, vocabulary)
    if masks.count >= GrammarLimits.masks { masks.removeAll(keepingCapacity: true) }
    masks[key] = mask
    return mask
  }

  private func makeMask(_ stack: Int32, _ vocabulary: VocabularyStorage) -> [UInt8] {
    let longest = vocabulary.plainMasks.count - 1
    var mask: [UInt8]
    // Of few characters there are few tokens: a walk is sooner done than the others are taken away.
    if case .upTo(let count, let set) = plainTokens(stack, longest: longest),
      set.hasOthers || set.asciiCount > 16
    {
      mask = vocabulary.plainMask(count, set)
      walk(vocabulary.unplainTrie, from: stack, into: &mask)
    } else {
      mask = [UInt8](repeating: 0, count: (vocabulary.texts.count + 7) / 8)
      walk(vocabulary.trie, from: stack, into: &mask)
    }
    if isAccepting(stack) {
      for token in vocabulary.endTokens { mask[Int(token) / 8] |= 1 << UInt8(token % 8) }
    }
    return mask
  }

  /// Sets the bits of the tokens of a trie that may follow a stack.
  private func walk(_ trie: TokenTrie, from stack: Int32, into mask: inout [UInt8]) {
    guard !trie.nodes.isEmpty else { return }
    // Indices are below `nodes.count`; depths are at most the trie's, and tokens are those of the
    // vocabulary, for which the mask has bits. `rows` may move when a row is made, and is read
    // again then.
    unsafe trie.nodes.withUnsafeBufferPointer { nodes in
      unsafe mask.withUnsafeMutableBufferPointer { bits in
        unsafe withUnsafeTemporaryAllocation(of: Row.self, capacity: trie.depth + 1) { path in
          unsafe path.initializeElement(at: 0, to: row(stack))
          var rows = unsafe self.rows
          let count = nodes.count
          var index = 0
          while index < count {
            let node = unsafe nodes[index]
            let depth = Int(node.depth)
            let next = unsafe path[depth &- 1][Int(node.byte)]
            if next == Automaton.dead {
              index = Int(node.end)
              continue
            }
            index &+= 1
            if node.token >= 0 {
              unsafe bits[Int(node.token) >> 3] |= 1 << UInt8(truncatingIfNeeded: node.token & 7)
            } else if node.token < -1 {
              for token in trie.shared[Int(-2 - node.token)] {
                unsafe bits[Int(token) >> 3] |= 1 << UInt8(token & 7)
              }
            }
            // Nothing is below a leaf, so its stack's transitions are not needed.
            guard Int(node.end) > index else { continue }
            if let known = unsafe rows[Int(next)] {
              unsafe path[depth] = known
            } else {
              unsafe path[depth] = makeRow(next)
              unsafe rows = self.rows
            }
          }
        }
      }
    }
  }
}
