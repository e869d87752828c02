// What can happen in a simulation, by name, and how often. A seed's story is told in these names.

/// What can happen next.
enum SimulationEvent: String, CaseIterable {
  case coordinatorReceives, workerReceives, clientReceives, workerComputes, keysArrive
  case layersArePrepared, workerStarts, exitIsReported, timePasses
  case requestIsMade, placementIsAsked, fault, linkIsCut, standstill, awakening

  /// In parts of the sum: messages travel often, so that work gets done between two faults.
  static let weights: [SimulationEvent: Int] = [
    .coordinatorReceives: 7, .workerReceives: 4, .clientReceives: 2, .workerComputes: 6,
    .keysArrive: 2,
    .layersArePrepared: 2, .workerStarts: 1, .exitIsReported: 1, .timePasses: 2,
    .requestIsMade: 1, .placementIsAsked: 1, .fault: 1, .linkIsCut: 1, .standstill: 1,
    .awakening: 1,
  ]
}

/// What can go wrong.
enum SimulationFault: String, CaseIterable {
  case workerEnds, workerSaysGoodbye, workerLies, workerFailsToPrepare
  case stepFails, deviceIsLost, stepIsNotTaken, handOffFails, numbersAreNotFinite
  case stepsAreLost, keysAreLost, connectionFails
  case resultRepeats, resultOfAnotherSlot, garbageArrives

  static let weights: [SimulationFault: Int] = [
    .workerEnds: 4, .workerSaysGoodbye: 1, .workerLies: 3, .workerFailsToPrepare: 1,
    .stepFails: 1, .deviceIsLost: 1, .stepIsNotTaken: 1, .handOffFails: 1, .numbersAreNotFinite: 1,
    .stepsAreLost: 1, .keysAreLost: 1, .connectionFails: 1,
    .resultRepeats: 2, .resultOfAnotherSlot: 1, .garbageArrives: 1,
  ]
}

/// What of a worker is cut off.
enum SimulationCut: String, CaseIterable {
  /// Its connection for control, both ways; that of its results; those to and from other workers; all.
  case control, results, data, everything

  static let weights = [SimulationCut: Int](
    uniqueKeysWithValues: allCases.map { ($0, 1) }
  )
}

/// What a dishonest worker tells.
enum SimulationLie: String, CaseIterable {
  case otherResults, falseFailure, resultsOfTheFuture, falseMove, falseHeartbeat

  static let weights = [SimulationLie: Int](
    uniqueKeysWithValues: allCases.map { ($0, 1) }
  )
}

/// Cases of one enum with their weights, to be drawn from.
struct WeightedTable<Event: CaseIterable & Hashable & Sendable>: Sendable {
  private let events: [(event: Event, end: Int)]
  private let sum: Int

  /// - Precondition: Every case has a weight.
  init(_ weights: [Event: Int]) {
    var sum = 0
    // In the order of the cases: a dictionary has another one in each process.
    events = Event.allCases.map { event in
      guard let weight = weights[event] else { preconditionFailure("\(event) has no weight") }
      sum += weight
      return (event, sum)
    }
    self.sum = sum
  }

  func draw(_ random: inout some RandomNumberGenerator) -> Event {
    let place = Int.random(in: 0..<sum, using: &random)
    guard let drawn = events.first(where: { place < $0.end }) else {
      preconditionFailure("\(place) of \(sum)")
    }
    return drawn.event
  }
}
