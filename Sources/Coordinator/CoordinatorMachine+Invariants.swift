// What holds between the parts of the machine after every event. Each part has its own promises beside
// its declaration; the tests and the simulation ask all of them.

extension CoordinatorMachine {
  /// - Throws: `BrokenInvariant` with the first promise that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    try flight.checkInvariants()
    try sessions.checkInvariants()
    try workers.checkInvariants()
    try require(
      flight.isEmpty || phase == .serving || phase == .stopping,
      "\(flight.count) steps are under way while \(phase.rawValue)"
    )
  }
}
