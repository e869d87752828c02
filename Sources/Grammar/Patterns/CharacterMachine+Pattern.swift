// Regular expressions as machines: Thompson's construction, then sets of its states (Aho, Lam,
// Sethi, Ullman, "Compilers", 3.7).

extension CharacterMachine {
  /// The texts in which a pattern matches.
  ///
  /// - Parameters:
  ///   - text: The pattern.
  ///   - isAnchored: Whether it must match the whole text; else it may match anywhere, as JSON
  ///     Schema says.
  ///   - path: Where it stands, for errors.
  /// - Throws: `GrammarError` if the pattern is malformed, not supported or too large.
  init(pattern text: String, isAnchored: Bool, at path: String) throws(GrammarError) {
    let pattern = try PatternParser.parse(text, at: path)
    var fragments = FragmentMachine(path: path)
    let anything = Pattern.repeated(.characters(CodePointSet.all), min: 0, max: nil)
    let whole = isAnchored ? pattern : .sequence([anything, pattern, anything])
    try fragments.build(whole)
    self.init(trimming: try fragments.deterministic())
  }
}

/// A machine that may be in several states at once.
private struct FragmentMachine {
  private enum Condition { case always, atStart, atEnd }

  private struct State {
    var moves: [(set: CodePointSet, target: Int)] = []
    var jumps: [(condition: Condition, target: Int)] = []
  }

  private let path: String
  private var states = [State()]
  private var end = 0

  init(path: String) { self.path = path }

  mutating func build(_ pattern: Pattern) throws(GrammarError) { end = try add(pattern, from: 0) }

  private var tooLarge: GrammarError {
    GrammarError(
      .limit,
      "the pattern needs more than \(GrammarLimits.machineStates) states",
      at: path
    )
  }

  private mutating func newState() throws(GrammarError) -> Int {
    guard states.count < 4 * GrammarLimits.machineStates else { throw tooLarge }
    states.append(State())
    return states.count - 1
  }

  /// Adds a pattern behind a state; returns the state behind it.
  private mutating func add(_ pattern: Pattern, from start: Int) throws(GrammarError) -> Int {
    switch pattern {
    case .characters(let set):
      let next = try newState()
      states[start].moves.append((set, next))
      return next
    case .atStart, .atEnd:
      let next = try newState()
      states[start].jumps.append((pattern == .atStart ? .atStart : .atEnd, next))
      return next
    case .sequence(let parts):
      var state = start
      for part in parts { state = try add(part, from: state) }
      return state
    case .alternatives(let branches):
      let next = try newState()
      for branch in branches {
        // A state of its own, so that a loop at its beginning is not one of the others'.
        let first = try newState()
        states[start].jumps.append((.always, first))
        let last = try add(branch, from: first)
        states[last].jumps.append((.always, next))
      }
      return next
    case .repeated(let inner, let min, let max):
      var state = start
      for _ in 0..<min { state = try add(inner, from: state) }
      let next = try newState()
      guard let max else {
        let loop = try newState()
        states[state].jumps.append((.always, loop))
        let last = try add(inner, from: loop)
        states[last].jumps.append((.always, loop))
        states[loop].jumps.append((.always, next))
        return next
      }
      for _ in min..<max {
        states[state].jumps.append((.always, next))
        state = try add(inner, from: state)
      }
      states[state].jumps.append((.always, next))
      return next
    }
  }

  /// The states that can be reached without a character, in order.
  private func closure(_ list: [Int], isStart: Bool, isEnd: Bool) -> [Int] {
    var seen = Set(list)
    var work = list
    while let state = work.popLast() {
      for (condition, target) in states[state].jumps {
        let isOpen =
          switch condition {
          case .always: true
          case .atStart: isStart
          case .atEnd: isEnd
          }
        if isOpen, seen.insert(target).inserted { work.append(target) }
      }
    }
    return seen.sorted()
  }

  /// Follows the sets of states that texts lead to.
  func deterministic() throws(GrammarError) -> [CharacterMachine.State] {
    let first = closure([0], isStart: true, isEnd: false)
    var numbers: [[Int]: Int] = [:]
    var sets = [first]
    var result: [CharacterMachine.State] = []
    var steps = 0
    while result.count < sets.count {
      let set = sets[result.count]
      // The first set is only that before the first character: no other may look at the start.
      let isStart = result.isEmpty
      var state = CharacterMachine.State()
      state.accepts = closure(set, isStart: isStart, isEnd: true).contains(end)
      for (range, targets) in segments(set, &steps) {
        let next = closure(targets, isStart: false, isEnd: false)
        steps += next.count
        let number = numbers[next] ?? sets.count
        if number == sets.count {
          numbers[next] = number
          sets.append(next)
        }
        if let last = state.edges.last, last.target == number,
          last.range.upperBound + 1 == range.lowerBound
        {
          state.edges[state.edges.count - 1].range = last.range.lowerBound...range.upperBound
        } else {
          state.edges.append(CharacterMachine.Edge(range: range, target: number))
        }
      }
      guard sets.count <= GrammarLimits.machineStates, steps <= GrammarLimits.machineSteps else {
        throw tooLarge
      }
      result.append(state)
    }
    return result
  }

  /// Cuts the characters that may follow into ranges that all lead to the same states.
  private func segments(
    _ set: [Int],
    _ steps: inout Int
  ) -> [(range: ClosedRange<UInt32>, targets: [Int])] {
    var marks: [(value: UInt32, isBegin: Bool, target: Int)] = []
    for state in set {
      for (characters, target) in states[state].moves {
        for range in characters.ranges {
          marks.append((range.lowerBound, true, target))
          marks.append((range.upperBound + 1, false, target))
        }
      }
    }
    marks.sort {
      ($0.value, $0.isBegin ? 1 : 0, $0.target) < ($1.value, $1.isBegin ? 1 : 0, $1.target)
    }
    var counts: [Int: Int] = [:]
    var result: [(ClosedRange<UInt32>, [Int])] = []
    var start: UInt32 = 0
    for mark in marks {
      if mark.value > start, !counts.isEmpty {
        result.append((start...mark.value - 1, counts.keys.sorted()))
        steps += counts.count
      }
      start = mark.value
      let count = (counts[mark.target] ?? 0) + (mark.isBegin ? 1 : -1)
      counts[mark.target] = count == 0 ? nil : count
    }
    return result
  }
}
