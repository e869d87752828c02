// One run of coordinator and workers on a network that a seed drives: what is asked, what happens
// next, and what a client got in the end. SimulationEvent.swift has the names and how often they come up.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

/// A harness, what is asked of it, and the faults that are still to come.
struct Simulation {
  /// So many messages may wait when time passes: about as many as heartbeats bring at once.
  private static let mostBacklog = 8
  private static let events = WeightedTable(SimulationEvent.weights)

  var random: SeededRandom
  let harness: Harness
  /// The same pipeline with the same requests and no faults.
  let undisturbed: Harness
  var requests: [Message] = []
  var nextRequest = 0
  /// By request: how many notes there were when it was made for the last time.
  var notesBefore: [UInt64: Int] = [:]
  var faultsLeft: Int
  var movesLeft: Int
  var standstillsLeft: Int
  var cutsLeft: Int
  /// Whether a supervisor tells of processes that end; else silence does.
  let isSupervised: Bool
  /// Processes that have ended and of which the coordinator does not know yet.
  var unreportedExits: [String] = []
  /// Whether a worker could not prepare its layers: nobody else may be there to hold them.
  var mayLoseRequests = false
  /// Nil if nobody wants to know.
  private let trace: SimulationTrace?

  /// - Parameters:
  ///   - seed: What all follows from.
  ///   - tokenizer: The model's.
  ///   - isTraced: Whether to keep the last events: a failing seed is run once more with it.
  init(seed: UInt64, tokenizer: Tokenizer, isTraced: Bool = false) {
    var random = SeededRandom(seed)
    let plan = random.plan()
    var limits = Harness.limits(
      context: 40,
      slots: Int.random(in: 1...3, using: &random),
      maxRows: Int.random(in: 2...6, using: &random)
    )
    limits.maxLogits = 64 * Int.random(in: 1...3, using: &random)
    // A client that does not read holds its sessions up after a few tokens.
    limits.unread.messages = Int.random(in: 3...12, using: &random)
    limits.unread.bytes = 2048
    let served = Harness.served(ends: [9], tokenizer: tokenizer)
    // For every other seed layers move by themselves, and much sooner than is good.
    var advice = RebalanceAdvisor.Limits()
    advice.minGain = 0.05
    advice.hold = .milliseconds(500)
    advice.minInterval = .seconds(1)
    advice.sampling = .milliseconds(250)
    advice.pause = .zero
    let isAutomatic = Bool.random(using: &random)
    harness = Harness(
      plan: plan,
      limits: limits,
      served: served,
      advice: isAutomatic ? advice : nil
    )
    undisturbed = Harness(plan: plan, limits: limits, served: served)
    let model = harness.model
    for harness in [harness, undisturbed] {
      harness.machine.constrain = { Self.constraint(of: $0, model) }
    }
    faultsLeft = Int.random(in: 1...5, using: &random)
    movesLeft = Int.random(in: 0...5, using: &random)
    standstillsLeft = Int.random(in: 0...5, using: &random)
    cutsLeft = Int.random(in: 0...3, using: &random)
    isSupervised = Bool.random(using: &random)
    harness.network = Network(seed: random.next())
    for request in 0..<Int.random(in: 2...4, using: &random) {
      requests.append(random.request(UInt64(request)))
    }
    self.random = random
    trace = isTraced ? SimulationTrace() : nil
  }

  /// Returns what the answer of a request must conform to: now and then something.
  static func constraint(of generate: Generate, _ model: TokenModel) -> (any TokenConstraint)? {
    generate.sampling.seed % 3 == 0 ? Fifths(vocabularySize: model.vocabularySize) : nil
  }

  /// Runs until all requests are over; returns whether they ever are.
  mutating func run() -> Bool {
    undisturbed.serve()
    for request in requests { undisturbed.ask(request) }
    undisturbed.settle()
    for _ in 0..<20_000 {
      happen(Self.events.draw(&random))
      let isOver = requests.indices.allSatisfy {
        harness.outcome(UInt64($0)).isOver && !isRefusedAsBusy($0)
      }
      if isOver, harness.steps.isEmpty, !harness.hasResultsUnderWay, harness.machine.move == nil {
        return true
      }
    }
    return false
  }

  private func isRefusedAsBusy(_ request: Int) -> Bool {
    harness.outcome(UInt64(request)).failed?.code == .busy
  }

  /// Returns the end of the story of a seed.
  static func story(of seed: UInt64, tokenizer: Tokenizer) -> String {
    var simulation = Simulation(seed: seed, tokenizer: tokenizer, isTraced: true)
    _ = simulation.run()
    let lines = (simulation.trace?.lines ?? []).joined(separator: "\n  ")
    return "TRESTLE_SEED=\(seed) replays this; its last events:\n  \(lines)"
  }

  /// Notes what has happened, and to whom.
  func note(_ event: some RawRepresentable<String>, _ subject: @autoclosure () -> String) {
    trace?.add("\(event.rawValue) \(subject())")
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element? {
    elements.randomElement(using: &random)
  }
}

/// The last events of a run, the latest last.
final class SimulationTrace {
  /// Enough to see what led to a failure.
  private static let most = 150

  private var count = 0
  private(set) var lines: [String] = []

  func add(_ line: String) {
    count += 1
    // Heartbeats and their answers are most of all messages, and say nothing.
    guard !line.contains("Heartbeat") else { return }
    if lines.count == Self.most { lines.removeFirst() }
    lines.append("\(count) \(line)")
  }
}

// MARK: - What happens

extension Simulation {
  private mutating func happen(_ event: SimulationEvent) {
    switch event {
    case .coordinatorReceives:
      if let peer = pick(harness.arrived(harness.toCoordinator)) {
        note(event, harness.nextMessage(from: peer))
        harness.deliver(from: peer)
      }
    case .workerReceives:
      if let peer = pick(harness.arrived(harness.toWorker)) {
        note(event, harness.nextMessage(toWorker: peer))
        harness.deliver(toWorker: peer)
      }
    case .clientReceives:
      if let peer = pick(harness.arrived(harness.toClient)) {
        note(event, harness.nextMessage(toClient: peer))
        harness.deliver(toClient: peer)
      }
    case .workerComputes:
      if let (endpoint, link) = pick(harness.arrived(harness.steps)) {
        note(event, "at \(endpoint)")
        harness.compute(endpoint, over: link)
      }
    case .keysArrive:
      if let (endpoint, link) = pick(harness.arrived(harness.rows)) {
        note(event, "at \(endpoint)")
        harness.deliverRows(endpoint, over: link)
      }
    case .layersArePrepared:
      if let worker = pick(harness.workers.filter { $0.preparing != nil }) {
        note(event, "by \(worker)")
        harness.finishPreparing(worker)
      }
    case .workerStarts: startWorker()
    case .exitIsReported: reportExit()
    case .timePasses:
      // Messages are taken in microseconds: time must not run away from them.
      guard harness.backlog < Self.mostBacklog else {
        happen(.coordinatorReceives)
        happen(.workerReceives)
        return
      }
      harness.elapse(.milliseconds(400))
    case .requestIsMade:
      if nextRequest < requests.count {
        note(event, "\(nextRequest)")
        make(nextRequest)
        nextRequest += 1
      } else if let request = requests.indices.first(where: isRefusedAsBusy) {
        // The client had not read what was sent before, or its receipts were under way.
        note(event, "\(request) once more")
        harness.forgetOutcome(UInt64(request))
        make(request)
      }
    case .placementIsAsked: if movesLeft > 0 { rebalance() } else { drift() }
    case .fault: if faultsLeft > 0, harness.machine.epoch.number > 0 { fault() }
    case .linkIsCut: if cutsLeft > 0 { cut() }
    case .standstill: standStill()
    case .awakening: wakeUp()
    }
  }

  private mutating func make(_ request: Int) {
    notesBefore[UInt64(request)] = harness.notes.count
    harness.send(requests[request])
  }

  /// Stops the coordinator, a worker, a client or the whole machine.
  ///
  /// The coordinator finds on waking what the others have sent meanwhile; so does whoever sleeps alone.
  private mutating func standStill() {
    guard standstillsLeft > 0 else { return }
    standstillsLeft -= 1
    // From five milliseconds to three hours.
    let milliseconds = Int64(pow(10, Double.random(in: 0.7...7.03, using: &random)))
    switch Int.random(in: 0..<4, using: &random) {
    case 0:
      guard let worker = pick(harness.workers) else { return }
      note(SimulationEvent.standstill, "of \(worker)")
      worker.isAsleep = true
    case 1:
      note(SimulationEvent.standstill, "of the client")
      harness.pause(client: 1)
    default:
      note(SimulationEvent.standstill, "of all for \(milliseconds) ms")
      harness.now += .milliseconds(milliseconds)
    }
  }

  private mutating func wakeUp() {
    if harness.workers.contains(where: \.isAsleep) { note(SimulationEvent.awakening, "") }
    for worker in harness.workers { worker.isAsleep = false }
    harness.resume(client: 1)
  }

  /// Changes how fast a worker is.
  private mutating func drift() {
    let scale = UInt64(pick([1, 1, 2, 4]) ?? 1)
    guard let worker = pick(harness.workers) else { return }
    worker.stepMicroseconds = { assign in
      scale * UInt64(1000 * (assign.endLayer - assign.firstLayer))
    }
  }

  /// Asks for another placement, of the workers there are or one fewer.
  private mutating func rebalance() {
    movesLeft -= 1
    let request = UInt64(100 + movesLeft)
    let names = harness.machine.workerOrder
    guard Int.random(in: 0..<4, using: &random) > 0 else {
      let drained = names.count > 1 ? pick(names) : nil
      if let drained, !isSupervised {
        note(SimulationEvent.placementIsAsked, "without \(drained)")
        harness.send(.drain(Drain(request: request, worker: drained)), client: 2)
      } else {
        note(SimulationEvent.placementIsAsked, "of the coordinator's choice")
        harness.send(.rebalance(Rebalance(request: request, split: [])), client: 2)
      }
      return
    }
    let order = random.rebalance(request, of: names)
    note(SimulationEvent.placementIsAsked, "\(order.split) \(order.logitsSplit)")
    harness.send(.rebalance(order), client: 2)
  }

  private mutating func startWorker() {
    let names = harness.machine.plan.map(\.name)
    guard isSupervised else {
      // Now and then one more than there are places.
      guard harness.workers.count < 4 else { return }
      let worker = harness.start(Harness.hello(""))
      note(SimulationEvent.workerStarts, "\(worker)")
      return
    }
    let missing = names.filter { name in
      !unreportedExits.contains(name) && !harness.workers.contains { $0.hello.name == name }
    }
    if let name = pick(missing) {
      let worker = harness.start(Harness.hello(name))
      note(SimulationEvent.workerStarts, "\(name), \(worker)")
    }
  }

  private mutating func reportExit() {
    guard let name = unreportedExits.popLast() else { return }
    note(SimulationEvent.exitIsReported, "of \(name)")
    harness.handle(.workerExited(name: name, how: "was ended by signal 9", willRestart: true))
  }
}
