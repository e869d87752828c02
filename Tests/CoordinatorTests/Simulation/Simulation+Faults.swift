// What goes wrong in a simulation: processes that end, messages that vanish or repeat, lies.

import Foundation
import Wire

@testable import Coordinator

extension Simulation {
  /// Why layers are not prepared.
  ///
  /// What is unsupported stays so: then nobody would be left soon.
  private static let failures: [FailureCode] = [.memory, .device, .internal]
  private static let faults = WeightedTable(SimulationFault.weights)
  private static let cuts = WeightedTable(SimulationCut.weights)
  private static let lies = WeightedTable(SimulationLie.weights)

  /// Lets one thing go wrong.
  mutating func fault() {
    faultsLeft -= 1
    guard let worker = pick(harness.workers) else { return }
    let fault = Self.faults.draw(&random)
    note(fault, "\(worker)")
    switch fault {
    case .workerEnds: end(worker)
    case .workerSaysGoodbye:
      harness.post(.goodbye(Goodbye(reason: "was asked to stop")), from: worker.control)
      end(worker)
    case .workerLies: lie(worker)
    case .workerFailsToPrepare:
      // Before the first epoch serves, that ends everything.
      if harness.machine.epoch.hasServed,
        let failing = pick(harness.workers.filter { $0.preparing != nil })
      {
        let code = Self.failures.randomElement(using: &random) ?? .memory
        harness.failPreparing(failing, "as the test wants", code: code)
        mayLoseRequests = true
      }
    case .stepFails: worker.nextFailure = .step
    case .deviceIsLost: worker.nextFailure = .device
    case .stepIsNotTaken: harness.stepsToRefuse = 1
    case .handOffFails: worker.nextFailure = .handOff
    case .numbersAreNotFinite: worker.nextFailure = .notFinite
    case .stepsAreLost: harness.loseSteps()
    case .keysAreLost: harness.loseRows()
    case .connectionFails: harness.connectionsToRefuse = 1
    case .resultRepeats:
      if let (message, payloads) = pick(harness.arrivedResults) {
        harness.post(message, from: worker.results, payloads: payloads)
      }
    case .resultOfAnotherSlot:
      let result = RowResult(slot: 0, position: 3, token: 5, logProbability: 0)
      let done = StepDone(
        epoch: harness.machine.epoch.number,
        sequence: harness.machine.flight.sequences.last ?? 0,
        results: [result],
        stageMicroseconds: []
      )
      harness.post(.stepDone(done), from: worker.results)
    case .garbageArrives:
      let error = WireError(.malformed, "garbage")
      for _ in 0..<3 { harness.handle(.malformed(from: worker.control, error)) }
    }
  }

  /// Cuts some of a worker's links for a while.
  ///
  /// Messages on their way wait, as in TCP, or are lost with their connection. One that is made anew
  /// after that begins where it is used next; the one for control has another name then.
  mutating func cut() {
    guard let worker = pick(harness.workers) else { return }
    cutsLeft -= 1
    let kind = Self.cuts.draw(&random)
    // From fifty milliseconds to thirty seconds.
    let milliseconds = Int64(pow(10, Double.random(in: 1.7...4.48, using: &random)))
    let isReset = Bool.random(using: &random)
    note(kind, "of \(worker) for \(milliseconds) ms\(isReset ? ", with loss" : "")")
    var links = harness.links(of: worker).filter { link in
      switch (kind, link) {
      case (.everything, _): true
      case (.control, .toCoordinator(worker.control)): true
      case (.control, .fromCoordinator): true
      case (.results, .toCoordinator(worker.results)): true
      case (.data, .steps), (.data, .keys): true
      default: false
      }
    }
    if isReset {
      harness.reset(links)
      if links.contains(.fromCoordinator(worker.control)) {
        worker.reconnect()
        links.formUnion([.toCoordinator(worker.control), .fromCoordinator(worker.control)])
      }
    }
    harness.cut(links, for: .milliseconds(milliseconds))
  }

  private mutating func end(_ worker: SimulatedWorker) {
    harness.crash(worker)
    if isSupervised { unreportedExits.append(worker.hello.name) }
  }

  /// Lets a worker tell what no honest one would.
  private mutating func lie(_ worker: SimulatedWorker) {
    let machine = harness.machine
    let sequence =
      machine.flight.sequences.randomElement(using: &random) ?? machine.flight.nextSequence
    let wanted = machine.flight[sequence]?.wanted ?? []
    // Those of the last stage could not be told from true ones.
    let results = wanted.map { place in
      RowResult(slot: place.slot, position: place.position, token: 5, logProbability: 0)
    }
    let isLast = worker.place == machine.plan.last?.name
    let done = StepDone(
      epoch: machine.epoch.number,
      sequence: sequence,
      results: isLast ? results + results + results.prefix(1) : results,
      stageMicroseconds: isLast ? [] : machine.plan.map { _ in .max }
    )
    let lie = Self.lies.draw(&random)
    note(lie, "about step \(sequence)")
    switch lie {
    case .otherResults: harness.post(.stepDone(done), from: worker.results)
    case .falseFailure:
      let code = FailureCode.allCases.randomElement(using: &random) ?? .step
      // Whoever says so gets less to do, or nothing.
      if code == .memory || code == .unsupported { mayLoseRequests = true }
      let failure = StepFailed(
        epoch: machine.epoch.number,
        sequence: sequence,
        worker: "another",
        code: code,
        message: "a lie"
      )
      harness.countFailure(of: sequence)
      harness.post(.stepFailed(failure), from: worker.results)
    case .resultsOfTheFuture:
      var ahead = done
      ahead.epoch = .max
      for _ in 0..<3 { harness.post(.stepDone(ahead), from: worker.results) }
    case .falseMove:
      let moved = Moved(epoch: machine.move?.epoch ?? machine.epoch.number, sentBytes: .max)
      harness.post(.moved(moved), from: worker.control)
    case .falseHeartbeat:
      var heartbeat = Harness.heartbeat(loadFraction: 1e300)
      heartbeat.clockMicroseconds = .max
      heartbeat.steps = .max
      harness.post(.heartbeat(heartbeat), from: worker.control)
    }
  }
}
