// Which two neighbouring pieces may be merged, and which pair is merged first. The two kinds of
// vocabulary differ only in this; PieceMerger.swift applies the rules.

/// The merge rules of a vocabulary.
enum MergeRules: Sendable {
  /// A list of pairs, the best first (tokenizer.json).
  case ranked(MergeTable)
  /// Any two pieces whose joined text is a token, the token with the best score first
  /// (SentencePiece). The array holds each token's rank among the scores, 0 for the best, and
  /// `unmergeable` for tokens that plain text never becomes.
  case scored([UInt32])

  static let unmergeable = UInt32.max
}

/// The pairs of a merge list, found by the ids of their two tokens.
struct MergeTable: Sendable {
  /// More merges are refused, to bound memory; Gemma has 514,906.
  static let countLimit = 1 << 23

  private struct Entry {
    var left: Int32 = -1
    var right: Int32 = -1
    var rank: UInt32 = 0
    var merged: Int32 = 0
  }

  /// A hash table with open addressing and linear probing, at most half full; `left` is -1 in a
  /// free slot.
  private var entries = [Entry](repeating: Entry(), count: 1 << 10)
  private(set) var count = 0
  /// An odd number that differs in each process, so that no file can force collisions.
  private let secret = UInt64.random(in: .min ... .max) | 1

  /// Adds a pair; a pair that exists gets the new rank, as in Hugging Face's tokenizers.
  mutating func add(left: Int32, right: Int32, rank: Int, merged: Int32) {
    if 2 * (count + 1) > entries.count {
      let old = entries
      entries = [Entry](repeating: Entry(), count: 2 * old.count)
      for entry in old where entry.left >= 0 {
        entries[slot(entry.left, entry.right)] = entry
      }
    }
    let slot = slot(left, right)
    if entries[slot].left < 0 { count += 1 }
    entries[slot] = Entry(left: left, right: right, rank: UInt32(rank), merged: merged)
  }

  /// Returns the rank of a pair and the token that it merges into.
  func find(left: Int32, right: Int32) -> (rank: UInt32, merged: Int32)? {
    let entry = entries[slot(left, right)]
    return entry.left < 0 ? nil : (entry.rank, entry.merged)
  }

  /// All pairs, the best first.
  ///
  /// - Complexity: O(n log n).
  var pairs: [(left: Int32, right: Int32, merged: Int32)] {
    entries.filter { $0.left >= 0 }.sorted { $0.rank < $1.rank }
      .map { ($0.left, $0.right, $0.merged) }
  }

  // Returns the pair's slot, or the free slot where it belongs.
  private func slot(_ left: Int32, _ right: Int32) -> Int {
    let key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    let product = (key ^ secret).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15 ^ secret << 1)
    var slot = Int(truncatingIfNeeded: product.high ^ product.low) & (entries.count - 1)
    while entries[slot].left >= 0, entries[slot].left != left || entries[slot].right != right {
      slot = (slot + 1) & (entries.count - 1)
    }
    return slot
  }
}
