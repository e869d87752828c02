// Layers that move without being asked, if the user wants that: what the advisor is told and what is
// done about its advice.

extension CoordinatorMachine {
  /// Moves layers if the stages have drifted apart, and says what speaks for or against it.
  mutating func considerMove() {
    guard epoch.isServing, move == nil, measurements.advises else { return }
    let names = plan.map(\.name)
    // Workers that stand by are left alone: nobody knows how fast they are.
    var measurements = measurements
    let decisions = measurements.advise(at: now) { speeds in
      (try? fastestPlan(names, rates: speeds))?.map(\.slice)
    }
    self.measurements = measurements
    for decision in decisions {
      note(
        "rebalance considered",
        ["decision": decision.kind.rawValue, "reason": decision.reason]
      )
    }
    guard let stages = decisions.last?.stages else { return }
    var next = plan
    for (stage, slice) in stages.enumerated() { next[stage].slice = slice }
    startMove(next, request: nil, drained: nil)
  }
}
