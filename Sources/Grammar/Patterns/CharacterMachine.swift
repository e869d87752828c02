// Deterministic machines over characters: what strings can be, where that is more than a count.
// Patterns, formats, lengths, and names of properties are made into one, and joined as their
// keywords demand.

/// A deterministic finite machine over characters.
///
/// From each of its states an accepting one can be reached, so what it allows never leads into a
/// dead end.
struct CharacterMachine: Sendable {
  struct Edge: Hashable {
    var range: ClosedRange<UInt32>
    var target: Int
  }

  struct State {
    var accepts = false
    /// In order, without overlaps; characters of no range are refused.
    var edges: [Edge] = []
  }

  /// The first is where it begins; none if it accepts nothing.
  private(set) var states: [State]

  /// Drops what cannot lead to the end.
  init(trimming states: [State]) {
    var sources = [[Int]](repeating: [], count: states.count)
    for (index, state) in states.enumerated() {
      for edge in state.edges { sources[edge.target].append(index) }
    }
    var lives = states.map(\.accepts)
    var work = states.indices.filter { lives[$0] }
    while let index = work.popLast() {
      for source in sources[index] where !lives[source] {
        lives[source] = true
        work.append(source)
      }
    }
    guard !states.isEmpty, lives[0] else {
      self.states = []
      return
    }
    var numbers = [Int](repeating: 0, count: states.count)
    var count = 0
    for index in states.indices where lives[index] {
      numbers[index] = count
      count += 1
    }
    self.states = states.indices.filter { lives[$0] }.map { index in
      State(
        accepts: states[index].accepts,
        edges: states[index].edges.filter { lives[$0.target] }.map {
          Edge(range: $0.range, target: numbers[$0.target])
        }
      )
    }
  }

  /// Whether it accepts nothing.
  var isEmpty: Bool { states.isEmpty }

  /// Whether it accepts a text.
  func accepts(_ text: String) -> Bool {
    guard !states.isEmpty else { return false }
    var state = 0
    for scalar in text.unicodeScalars {
      guard let edge = states[state].edges.first(where: { $0.range.contains(scalar.value) }) else {
        return false
      }
      state = edge.target
    }
    return states[state].accepts
  }

  /// All texts.
  static var all: CharacterMachine {
    CharacterMachine(trimming: [State(accepts: true, edges: edges(CodePointSet.all, to: 0))])
  }

  static func edges(_ set: CodePointSet, to target: Int) -> [Edge] {
    set.ranges.map { Edge(range: $0, target: target) }
  }

  /// Texts of so many characters.
  ///
  /// - Throws: `GrammarError.limit` if the counts are too large to be written out.
  static func length(min: Int, max: Int?, at path: String) throws(GrammarError) -> CharacterMachine
  {
    let last = max ?? min
    guard last < GrammarLimits.machineStates else {
      throw GrammarError(
        .limit,
        "a length of \(last) beside a pattern, at most \(GrammarLimits.machineStates - 1)",
        at: path
      )
    }
    guard min <= last else { return CharacterMachine(trimming: []) }
    var states: [State] = []
    for count in 0...last {
      let target = count < last ? count + 1 : max == nil ? count : nil
      states.append(
        State(accepts: count >= min, edges: target.map { edges(CodePointSet.all, to: $0) } ?? [])
      )
    }
    return CharacterMachine(trimming: states)
  }

  /// These texts.
  ///
  /// - Throws: `GrammarError.limit` if they are too many.
  static func texts(_ texts: [String], at path: String) throws(GrammarError) -> CharacterMachine {
    var states = [State()]
    var children: [[UInt32: Int]] = [[:]]
    for text in texts {
      var state = 0
      for scalar in text.unicodeScalars {
        if let child = children[state][scalar.value] {
          state = child
          continue
        }
        guard states.count < 8 * GrammarLimits.machineStates else {
          throw GrammarError(.limit, "too many names or values", at: path)
        }
        children[state][scalar.value] = states.count
        state = states.count
        states.append(State())
        children.append([:])
      }
      states[state].accepts = true
    }
    for index in states.indices {
      states[index].edges = children[index].sorted { $0.key < $1.key }.map {
        Edge(range: $0.key...$0.key, target: $0.value)
      }
    }
    return CharacterMachine(trimming: states)
  }

  /// The texts that it does not accept.
  var complement: CharacterMachine {
    guard !states.isEmpty else { return .all }
    let sink = states.count
    var result = states.map { state in
      var edges = state.edges
      let covered = CodePointSet(edges.map(\.range))
      edges += Self.edges(covered.inverted, to: sink)
      edges.sort { $0.range.lowerBound < $1.range.lowerBound }
      return State(accepts: !state.accepts, edges: edges)
    }
    result.append(State(accepts: true, edges: Self.edges(CodePointSet.all, to: sink)))
    return CharacterMachine(trimming: result)
  }

  /// The texts that both accept.
  ///
  /// - Throws: `GrammarError.limit` if that takes too many states.
  func intersection(
    _ other: CharacterMachine,
    at path: String
  ) throws(GrammarError) -> CharacterMachine {
    guard !isEmpty, !other.isEmpty else { return CharacterMachine(trimming: []) }
    var numbers: [Int: Int] = [0: 0]
    var pairs = [(0, 0)]
    var result: [State] = []
    var steps = 0
    while result.count < pairs.count {
      let (mine, theirs) = pairs[result.count]
      var state = State(accepts: states[mine].accepts && other.states[theirs].accepts)
      let a = states[mine].edges
      let b = other.states[theirs].edges
      var i = 0
      var j = 0
      while i < a.count, j < b.count {
        let low = max(a[i].range.lowerBound, b[j].range.lowerBound)
        let high = min(a[i].range.upperBound, b[j].range.upperBound)
        if low <= high {
          let key = a[i].target * other.states.count + b[j].target
          let number = numbers[key] ?? pairs.count
          if number == pairs.count {
            numbers[key] = number
            pairs.append((a[i].target, b[j].target))
          }
          state.edges.append(Edge(range: low...high, target: number))
        }
        if a[i].range.upperBound < b[j].range.upperBound { i += 1 } else { j += 1 }
        steps += 1
      }
      guard pairs.count <= 8 * GrammarLimits.machineStates, steps <= GrammarLimits.machineSteps
      else {
        throw GrammarError(
          .limit,
          "patterns, lengths and names that are too many together",
          at: path
        )
      }
      result.append(state)
    }
    return CharacterMachine(trimming: result)
  }
}
