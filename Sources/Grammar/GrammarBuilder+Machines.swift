// Machines over characters as rules: a rule for each state, which calls the next at its end.

extension GrammarBuilder {
  /// The texts that a machine accepts.
  mutating func machine(
    _ machine: CharacterMachine,
    _ encoding: CharacterEncoding
  ) throws(GrammarError) -> Int32 {
    guard !machine.isEmpty else { return try never() }
    var rules: [Int32] = []
    for _ in machine.states { rules.append(try declare()) }
    for (state, rule) in zip(machine.states, rules) {
      var branches: [Int32] = state.accepts ? [try empty()] : []
      let byTarget = Dictionary(grouping: state.edges, by: \.target)
      for (target, edges) in byTarget.sorted(by: { $0.key < $1.key }) {
        let set = CodePointSet(edges.map(\.range))
        branches.append(try sequence([character(set, encoding), call(rules[target])]))
      }
      define(rule, try alternatives(branches))
    }
    return try call(rules[0])
  }
}
