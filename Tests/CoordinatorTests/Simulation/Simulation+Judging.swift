// What is wrong with a simulation that has come to its end: a client that got other than the model says,
// a coordinator that holds what nobody has.

import Wire

@testable import Coordinator

extension Simulation {
  /// Why the requests never end, as far as the coordinator can tell.
  var standing: String {
    let machine = harness.machine
    return "the requests never end: \(machine.phaseName), \(machine.text(machine.plan)), "
      + "\(machine.workers.names), \(harness.notes.suffix(3).map(\.message))"
  }

  /// Everything that is not as it should be when all requests are over.
  var complaints: [String] {
    var complaints = requests.indices.compactMap { request in
      complaint(UInt64(request)).map { "request \(request): \($0)" }
    }
    // A move that finds keys and values missing is given up and harms nobody, but is a fault.
    let gaps = harness.notes.filter {
      $0.message.hasPrefix("placement given up")
        && $0.metadata["reason"]?.contains(", slot ") ?? false
    }
    if !gaps.isEmpty, !harness.hasLostEarlyRows { complaints.append("gaps in a move: \(gaps)") }
    let free = harness.machine.sessions.freeSlots.sorted()
    if free != Array(0..<harness.machine.limits.slots) { complaints.append("free slots: \(free)") }
    return complaints + harness.failures.map { "the service ended: \($0)" }
  }

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
        || (lossCount(since: request) >= 3 && failed.message.contains("lost while they ran this"))
      return mayFail && isPrefix ? nil : "failed: \(failed.message)"
    }
    guard got.tokens == want.tokens else { return "tokens \(got.tokens), not \(want.tokens)" }
    guard got.scored == want.scored else { return "scored \(got.scored), not \(want.scored)" }
    guard got.text == want.text else { return "text \(got.text), not \(want.text)" }
    guard got.finished?.reason == want.finished?.reason else {
      return "ended by \(String(describing: got.finished?.reason))"
    }
    let logits = [got, want].map { Array($0.logits.joined()) }
    guard logits[0] == logits[1] else {
      let place = zip(logits[0], logits[1]).prefix { $0 == $1 }.count
      return "\(logits.map(\.count)) logits, other ones from \(place) on"
    }
    let scores = [got, want].map { $0.evaluated.flatMap(\.scores) }
    guard scores[0] == scores[1] else { return "scores \(scores[0]), not \(scores[1])" }
    var position = 0
    for part in got.evaluated {
      guard part.firstPosition == position else { return "positions \(position) are missing" }
      position += part.rowCount
    }
    return nil
  }

  /// How many workers were lost since a request was made: it is ended if it is taken for the cause.
  private func lossCount(since request: UInt64) -> Int {
    harness.notes.dropFirst(notesBefore[request] ?? 0).count { $0.message == "worker lost" }
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
        ends: [9],
        constraint: Self.constraint(of: generate, harness.model)
      )
      // A stop in the text may end it sooner.
      let isWhole = outcome.tokens == tokens || outcome.finished?.reason == .stop
      guard isWhole, tokens.starts(with: outcome.tokens) else {
        return "tokens \(outcome.tokens), not \(tokens)"
      }
    case .evaluate(let evaluate):
      let tokens = evaluate.tokens
      switch evaluate.kind {
      case .inputs: return "sums that no simulated request asks for"
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
