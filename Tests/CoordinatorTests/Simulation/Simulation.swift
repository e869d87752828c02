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
  var faultsLeft: Int
  var movesLeft: Int
  var standstillsLeft: Int
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
    faultsLeft = Int.random(in: 1...5, using: &random)
    movesLeft = Int.random(in: 0...5, using: &random)
    standstillsLeft = Int.random(in: 0...5, using: &random)
    isSupervised = Bool.random(using: &random)
    for request in 0..<Int.random(in: 2...4, using: &random) {
      requests.append(random.request(UInt64(request)))
    }
    self.random = random
    trace = isTraced ? SimulationTrace() : nil
  }

  /// Runs until all requests are over; returns whether they ever are.
  mutating func run() -> Bool {
    undisturbed.serve()
    for request in requests { undisturbed.ask(request) }
    undisturbed.settle()
    for _ in 0..<20_000 {
      happen(Self.events.draw(&random))
      let isOver = requests.indices.allSatisfy { harness.outcome(UInt64($0)).isOver }
      if isOver, harness.steps.isEmpty, !harness.hasResultsUnderWay, harness.machine.move == nil {
        return true
      }
    }
    return false
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
  private static let most = 60

  private var count = 0
  private(set) var lines: [String] = []

  func add(_ line: String) {
    count += 1
    if lines.count == Self.most { lines.removeFirst() }
    lines.append("\(count) \(line)")
  }
}

// MARK: - What happens

extension Simulation {
  private mutating func happen(_ event: SimulationEvent) {
    switch event {
    case .coordinatorReceives:
      if let peer = pick(harness.toCoordinator.keys.sorted(by: PeerID.isBefore)) {
        note(event, harness.nextMessage(from: peer))
        harness.deliver(from: peer)
      }
    case .workerReceives:
      if let peer = pick(harness.toWorker.keys.sorted(by: PeerID.isBefore)) {
        note(event, harness.nextMessage(toWorker: peer))
        harness.deliver(toWorker: peer)
      }
    case .workerComputes:
      if let endpoint = pick(harness.steps.keys.sorted()) {
        note(event, "at \(endpoint)")
        harness.compute(endpoint)
      }
    case .keysArrive:
      if let endpoint = pick(harness.rows.keys.sorted()) {
        note(event, "at \(endpoint)")
        harness.deliverRows(endpoint)
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
      note(event, "")
      harness.elapse(.milliseconds(250))
    case .requestIsMade:
      if nextRequest < requests.count {
        note(event, "\(nextRequest)")
        harness.ask(requests[nextRequest])
        nextRequest += 1
      }
    case .placementIsAsked: if movesLeft > 0 { rebalance() } else { drift() }
    case .fault: if faultsLeft > 0, harness.machine.epoch.number > 0 { fault() }
    case .standstill: standStill()
    case .awakening: wakeUp()
    }
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
    note(SimulationEvent.awakening, "")
    for worker in harness.workers { worker.isAsleep = false }
    harness.resume(client: 1)
  }

  /// Changes how fast a worker is.
  private mutating func drift() {
    let scale = UInt64(pick([1, 1, 2, 4]) ?? 1)
    guard let worker = pick(harness.workers) else { return }
    note(SimulationEvent.placementIsAsked, "by a drift of \(worker)")
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
        harness.ask(.drain(Drain(request: request, worker: drained)), client: 2)
      } else {
        note(SimulationEvent.placementIsAsked, "of the coordinator's choice")
        harness.ask(.rebalance(Rebalance(request: request, split: [])), client: 2)
      }
      return
    }
    let order = random.rebalance(request, of: names)
    note(SimulationEvent.placementIsAsked, "\(order.split) \(order.logitsSplit)")
    harness.ask(.rebalance(order), client: 2)
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

// MARK: - Judging

extension Simulation {
  /// Returns what a client got that it should not have; nil if all is right.
  func complaint(_ request: UInt64) -> String? {
    let got = harness.outcome(request)
    let want = undisturbed.outcome(request)
    if let reason = contradiction(want, requests[Int(request)]) { return "undisturbed, \(reason)" }
    if let failed = got.failed {
      let key = Harness.Request(client: 1, request: request)
      let isPrefix = want.text.utf8.starts(with: got.text.utf8)
      let mayFail =
        harness.failedSteps[key] ?? 0 >= 3 || (mayLoseRequests && failed.code == .lost)
        || (harness.notFinite.contains(key) && failed.message.contains("infinite or NaN"))
      return mayFail && isPrefix ? nil : "failed: \(failed.message)"
    }
    guard got.tokens == want.tokens else { return "tokens \(got.tokens), not \(want.tokens)" }
    guard got.text == want.text else { return "text \(got.text), not \(want.text)" }
    guard got.finished?.reason == want.finished?.reason else {
      return "ended by \(String(describing: got.finished?.reason))"
    }
    guard Array(got.logits.joined()) == Array(want.logits.joined()) else { return "other logits" }
    let scores = [got, want].map { $0.evaluated.flatMap(\.scores) }
    guard scores[0] == scores[1] else { return "scores \(scores[0]), not \(scores[1])" }
    var position = 0
    for part in got.evaluated {
      guard part.firstPosition == position else { return "positions \(position) are missing" }
      position += part.rowCount
    }
    return nil
  }

  /// Returns where an outcome is not what follows from the model and the request alone; nil if nowhere.
  private func contradiction(_ outcome: Outcome, _ request: Message) -> String? {
    switch request {
    case .generate(let generate):
      guard case .tokens(let prompt) = generate.prompt else { return "a prompt of text" }
      let tokens = harness.model.continuation(
        of: prompt,
        generate.sampling,
        count: generate.maxTokens,
        ends: [9]
      )
      // A stop in the text may end it sooner.
      let isWhole = outcome.tokens == tokens || outcome.finished?.reason == .stop
      guard isWhole, tokens.starts(with: outcome.tokens) else {
        return "tokens \(outcome.tokens), not \(tokens)"
      }
    case .evaluate(let evaluate):
      let tokens = evaluate.tokens
      switch evaluate.kind {
      case .logits:
        let logits = tokens.indices.flatMap { harness.model.logits(Array(tokens[...$0])) }
        guard Array(outcome.logits.joined()) == logits else { return "other logits" }
      case .scores:
        let first = max(1, evaluate.firstScored)
        let scores = (first..<max(first, tokens.count)).map {
          harness.model.score(Array(tokens[..<$0]), target: tokens[$0])
        }
        guard outcome.evaluated.flatMap(\.scores) == scores else { return "not scores \(scores)" }
      }
    default: return "a request of another kind"
    }
    return nil
  }
}
