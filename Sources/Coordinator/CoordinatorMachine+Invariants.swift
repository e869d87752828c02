// The invariants between the parts of the machine, which hold after every event. Each part has its
// own invariants at its declaration. The tests and the simulation check all of them.

extension CoordinatorMachine {
  /// - Throws: `BrokenInvariant` with the first promise that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    try epoch.checkInvariants()
    try flight.checkInvariants()
    try sessions.checkInvariants()
    try requests.checkInvariants()
    try require(
      sessions.numbers == requests.numbers,
      "the sessions \(sessions.numbers) serve the requests \(requests.numbers)"
    )
    try workers.checkInvariants()
    try require(
      flight.isEmpty || epoch.isServing || epoch.isStopping,
      "\(flight.count) steps are under way while \(epoch.phaseName)"
    )
    guard epoch.isPreparing || epoch.isServing else { return }
    try require(
      missingWorkers.isEmpty,
      "epoch \(epoch.number) is \(epoch.phaseName) without \(missingWorkers)"
    )
    try measurements.checkInvariants(stageCount: plan.count)
  }
}
