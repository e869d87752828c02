// What plain characters do to a stack: inside most strings any of them may come, any number of
// times or up to a count, so that the mask of plain tokens is one that was made with the
// vocabulary.
//
// A plain character is one that JSON strings need not escape: no control character below U+0020, no
// quote, no backslash.

/// Which plain characters may come: some of ASCII, and all or none of the others.
struct PlainSet: Hashable {
  var ascii = ByteSet()
  var hasOthers = false

  /// All plain characters of ASCII.
  static let plainASCII: [UInt8] = (0x20...0x7F).filter { $0 != 0x22 && $0 != 0x5C }

  var isEmpty: Bool { ascii.isEmpty && !hasOthers }
  var asciiCount: Int { ascii.words.indices.reduce(0) { $0 + ascii.words[$1].nonzeroBitCount } }
}

/// What one plain character does to a stack.
enum PlainStep {
  /// Those of the set may come, others may not; these stacks follow.
  case set(PlainSet, [Int32])
  /// Of those beyond ASCII some may come.
  case mixed
}

/// Which tokens of plain characters may come.
enum PlainTokens: Hashable {
  /// Those of characters of the set, at most so many.
  case upTo(Int, PlainSet)
  /// To be found by walking them.
  case mixed
}

extension Automaton {
  /// Stacks to look at before giving up: patterns with many states are walked.
  private static let plainStackLimit = 256

  /// Finds which tokens of plain characters may follow a stack.
  ///
  /// `longest` is the most characters that such a token has.
  func plainTokens(_ stack: Int32, longest: Int) -> PlainTokens {
    guard case .set(let expected, _) = plainStep(stack), !expected.isEmpty else { return .mixed }
    var seen: Set<Int32> = [stack]
    var current = [stack]
    for count in 0..<longest {
      var following: Set<Int32> = []
      var isEnd = false
      for stack in current {
        guard case .set(let set, let stacks) = plainStep(stack) else { return .mixed }
        if set.isEmpty { isEnd = true } else if set != expected { return .mixed }
        following.formUnion(stacks)
      }
      // Where one way has ended and another goes on, the characters decide.
      if isEnd { return following.isEmpty ? .upTo(count, expected) : .mixed }
      // What was seen before is among those looked at, so it ends nowhere sooner than they do.
      let new = following.subtracting(seen)
      guard seen.count + new.count <= Automaton.plainStackLimit else { return .mixed }
      if new.isEmpty { return .upTo(longest, expected) }
      seen.formUnion(new)
      current = new.sorted()
    }
    return .upTo(longest, expected)
  }

  private func plainStep(_ stack: Int32) -> PlainStep {
    if let step = plainSteps[stack] { return step }
    let step = makePlainStep(stack)
    plainSteps[stack] = step
    return step
  }

  private func makePlainStep(_ stack: Int32) -> PlainStep {
    var following: Set<Int32> = []
    var set = PlainSet()
    for byte in PlainSet.plainASCII {
      let next = next(stack, byte)
      if next != Automaton.dead {
        set.ascii.insert(byte)
        following.insert(next)
      }
    }
    let leads: ClosedRange<UInt8> = 0xC2...0xF4
    let alive = leads.count { next(stack, $0) != Automaton.dead }
    if alive > 0 {
      guard alive == leads.count, addMultibyte(stack, &following) else { return .mixed }
      set.hasOthers = true
    }
    return .set(set, following.sorted())
  }

  /// Adds the stacks behind the characters of several bytes, as UTF-8 has them; false if one may
  /// not come.
  private func addMultibyte(_ stack: Int32, _ following: inout Set<Int32>) -> Bool {
    // Unicode 16, table 3-7: the first continuation byte is restricted after four leads.
    var ends: [(stack: Int32, first: ClosedRange<UInt8>, rest: Int)] = []
    for lead: UInt8 in 0xC2...0xF4 {
      let first: ClosedRange<UInt8> =
        switch lead {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
      let rest = lead < 0xE0 ? 0 : lead < 0xF0 ? 1 : 2
      let behind = next(stack, lead)
      if !ends.contains(where: { $0.stack == behind && $0.first == first && $0.rest == rest }) {
        ends.append((behind, first, rest))
      }
    }
    for end in ends {
      var stacks: Set<Int32> = [end.stack]
      for place in 0...end.rest {
        var following: Set<Int32> = []
        for stack in stacks {
          for byte in place == 0 ? end.first : 0x80...0xBF {
            let next = next(stack, byte)
            if next == Automaton.dead { return false }
            following.insert(next)
          }
        }
        stacks = following
      }
      following.formUnion(stacks)
    }
    return true
  }
}
