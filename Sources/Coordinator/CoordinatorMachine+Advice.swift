// Automatic rebalancing, if the user has asked for it: passes measurements to the advisor and
// follows its advice.

extension CoordinatorMachine {
  /// Moves layers if the speeds of the stages have drifted apart, and logs the reasons for and
  /// against it.
  mutating func considerMove() {
    guard epoch.isServing, move == nil, measurements.advises else { return }
    let names = plan.map(\.name)
    // Workers that stand by get no layers, because their speed is not known.
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
