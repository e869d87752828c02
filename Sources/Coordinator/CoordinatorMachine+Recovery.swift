// Recovery from workers that are lost, hang, or send impossible answers: the live sessions pause,
// the layers are placed again, and the sessions are replayed from their tokens.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  // MARK: Signs of trouble

  /// Checks all deadlines: of heartbeats, steps, moves, loading, gathering, prefixes and clients.
  mutating func tick() {
    for name in workers.names {
      guard let worker = workers[name], now - worker.lastHeard > limits.silence else { continue }
      evict(name, "no heartbeat for \(limits.silence)")
    }
    for name in workers.names {
      let running = workers[name]?.heartbeat?.stepInProgressMicroseconds ?? 0
      if Duration.microseconds(Int64(clamping: running)) > limits.longestStep {
        evict(name, "computes one step for more than \(limits.longestStep)")
      }
    }
    checkStepDeadline()
    checkMoveDeadline()
    checkLoadingDeadline()
    considerMove()
    if let since = epoch.gatheringSince {
      if now - since > limits.grace { fillPlaces() }
      if epoch.hasServed, now - since > limits.patience { placeAnew(isLate: true) }
    }
    sessions.forgetPrefixes(unusedSince: now - SlotTable.keptFor)
    answerSelfTests()
    watchClients()
  }

  /// Begins a new epoch if steps have passed their deadline and nobody works on them: a message was lost.
  private mutating func checkStepDeadline() {
    guard epoch.isServing, let oldest = flight.oldestSent else { return }
    // Workers that stand by are not involved, and a worker that reports that it computes is
    // believed only for a limited time.
    let last = plan.compactMap { workers[$0.name]?.lastProgress }.max() ?? oldest
    guard
      now - max(oldest, last) > limits.stall || now - oldest > limits.longestStep * plan.count
    else { return }
    note("steps lost", ["steps": "\(flight.count)"], isWarning: true)
    restartEpoch(blaming: workersWithoutResults, "does not forward its steps")
  }

  /// The workers that steps do not get past, going by what each says it has run in this epoch.
  ///
  /// That is the first that has run none or, if each has, the last. A worker that reports steps which it
  /// never forwards makes its successor look guilty; from the third fruitless epoch on both are named.
  private var workersWithoutResults: [String] {
    let idle = plan.firstIndex { place in
      guard let worker = workers[place.name] else { return true }
      return !worker.hasRunSteps
    }
    let stage = idle ?? plan.count - 1
    let first = epoch.isBeyondBadLuck ? max(0, stage - 1) : stage
    return plan[first...stage].map(\.name)
  }

  /// Whether a worker has made no progress with its layers for too long.
  func loadingHasStalled(_ name: String) -> Bool {
    workers[name].map { now - $0.lastLoaded > limits.loadStall } ?? false
  }

  /// Places layers elsewhere whose worker has passed the deadline for preparing them.
  ///
  /// At the start nobody but the user knows how long it may take; later, sessions wait.
  private mutating func checkLoadingDeadline() {
    guard epoch.isPreparing, epoch.hasServed else { return }
    let awaited = plan.map(\.name).filter { workers[$0]?.preparedEpoch != epoch.number }
    guard let name = awaited.first(where: loadingHasStalled) else { return }
    cannotHold(name, "it has made no progress with them for \(limits.loadStall)")
  }

  /// Evicts a worker that cannot be relied on: its process is ended, and it counts as lost.
  mutating func evict(_ name: String, _ reason: String) {
    act(.kill(worker: name))
    lose(name, reason)
  }

  /// Counts a message that no honest worker sends.
  mutating func countNonsense(from peer: PeerID?, _ reason: String) {
    guard let peer, let name = workers.name(ofControl: peer) ?? workers.name(ofResults: peer)
    else { return }
    countNonsense(of: name, reason)
  }

  /// Counts a message that no honest worker sends; so many, and the worker is evicted.
  mutating func countNonsense(of name: String, _ reason: String) {
    guard let count = workers.update(name, { $0.countNonsense() }), count >= limits.nonsense
    else { return }
    evict(name, "\(count) invalid messages, the last: \(reason)")
  }

  // MARK: Loss

  /// Handles a worker's goodbye before it disconnects.
  mutating func disconnect(_ goodbye: Goodbye, _ peer: PeerID) {
    guard let name = workers.name(ofControl: peer) else { return }
    lose(name, goodbye.reason, inGoodOrder: true)
  }

  /// Handles the supervisor's report that a worker's process has ended.
  mutating func workerExited(_ name: String, _ how: String, willRestart: Bool) {
    guard !epoch.isStopping else { return }
    lose(name, how)
    guard !willRestart, epoch.holds(name) else { return }
    workers.giveUp(name)
    // Why it was lost tells more than how its next starts have failed.
    let reason =
      workers.loss(of: name).map { $0.reason == how ? how : "\($0.reason); then it \(how)" } ?? how
    noteLoss(of: name, "\(reason); it is not started again")
    guard epoch.hasServed else {
      act(.fail(CoordinatorError(.worker, "worker \(name) \(how)\(modelChangeSuffix)")))
      return
    }
    placeAnew(isLate: true)
  }

  /// Forgets a worker; the live sessions wait for its return and are then replayed.
  mutating func lose(_ name: String, _ reason: String, inGoodOrder: Bool = false) {
    guard workers.remove(name) != nil else { return }
    note("worker lost", ["worker": name, "reason": reason], isWarning: true)
    guard !epoch.isStopping else { return }
    if !inGoodOrder { counters.lostWorker() }
    let isPlaced = epoch.holds(name)
    if isPlaced { noteLoss(of: name, reason) }
    if isPlaced, !inGoodOrder { suspectSessions(of: name, reason) }
    if isPlaced || (move?.plan.contains { $0.name == name } ?? false) {
      abandonMove("worker \(name) was lost: \(reason)")
    }
    if isPlaced { pause() }
  }

  /// Keeps how a worker with layers was lost, for whoever asks until it is back.
  private mutating func noteLoss(of name: String, _ reason: String) {
    let device = plan.first { $0.name == name }?.device ?? ""
    workers.noteLoss(WorkerLoss(name: name, device: device, reason: reason, time: now))
  }

  /// Notes which sessions were under way when a worker was lost, and ends one that is the cause.
  ///
  /// A prompt may take more memory than a worker's container has, or find a fault of a kernel: then every
  /// worker that is given it dies, and with it the service for all others.
  private mutating func suspectSessions(of name: String, _ reason: String) {
    let first = flight.firstPositions
    for (id, position) in first {
      let isAlone = first.count == 1
      let place = LossRecord.Place(worker: name, position: position)
      sessions.update(id) { $0.countLoss(at: isAlone ? place : nil) }
      guard let session = sessions[id], session.losses.isCause else { continue }
      let words = "\(session.losses.summary); the last, \(name), \(reason)"
      note(
        "request ended because workers crash while they run it",
        ["session": "\(id)", "reason": words],
        isWarning: true
      )
      fail(id, .internal, words)
    }
  }

  /// Retries with the connected workers in a new epoch, because a step was lost although no worker
  /// is known to be lost.
  ///
  /// - Parameters:
  ///   - suspects: The workers that are ended if this happens again and again.
  ///   - reason: What they are suspected of.
  mutating func restartEpoch(blaming suspects: [String] = [], _ reason: String = "") {
    abandonMove("a step was lost")
    pause()
    let mayTryAgain = epoch.countFruitless()
    if epoch.isBeyondBadLuck {
      for name in suspects { evict(name, reason) }
    }
    guard mayTryAgain else {
      act(
        .fail(
          CoordinatorError(
            .worker,
            "no step was completed in \(epoch.fruitless) epochs in a row; the log has the reasons"
          )
        )
      )
      return
    }
    assignIfComplete()
  }

  /// Replays the live sessions on the workers there are.
  mutating func startOver() {
    pause()
    assignIfComplete()
  }

  /// Stops sending steps; the live sessions are replayed when all workers are prepared again.
  mutating func pause() {
    epoch.gather(at: now)
    flight.abandonAll()
    sessions.rewindAll()
  }

  // MARK: Placing anew

  /// Lets workers that stand by take the places of lost ones on the same kind of device.
  private mutating func fillPlaces() {
    for index in plan.indices where !workers.contains(plan[index].name) {
      var filled = plan
      let standby = workerOrder.dropFirst(plan.count).first { name in
        filled[index].name = name
        return workers[name]?.device.name == plan[index].device && canHold(filled[index])
      }
      guard let standby else { continue }
      note("worker takes the place of another", ["worker": standby, "missing": plan[index].name])
      epoch.replan(filled)
    }
    if epoch.isGathering { assignIfComplete() }
  }

  /// Gives the layers that lost workers held, or that a worker could not prepare, to the connected
  /// workers (failover).
  ///
  /// - Parameter isLate: Whether the wait for lost workers has ended; then requests fail if the
  ///   layers do
  ///   not fit anywhere.
  mutating func placeAnew(isLate: Bool) {
    if isLate { epoch.gatherLonger(at: now) }
    let names = workerOrder.filter(workers.contains)
    guard !names.isEmpty else {
      failWithoutWorkers()
      return
    }
    let missing = missingWorkers
    let unable = plan.filter { workers.contains($0.name) && !canHold($0) }
    guard isLate ? !(missing.isEmpty && unable.isEmpty) : missing.isEmpty && !unable.isEmpty else {
      return
    }
    do throws(CoordinatorError) {
      epoch.replan(try possiblePlan(names))
      note(
        "layers placed on the workers that are left",
        [
          "missing": missing.joined(separator: ", "),
          "unable": unable.map(\.name).joined(separator: ", "), "layers": text(plan),
        ].filter { !$0.value.isEmpty },
        isWarning: true
      )
    } catch {
      guard isLate else { return }
      let absent = missing.joined(separator: ", ")
      failSessions(
        missing.isEmpty ? error.message : "\(absent) did not return, and \(error.message)"
      )
      if !missing.isEmpty, workers.haveBeenGivenUp(missing) {
        var failure = error
        failure.message += modelChangeSuffix
        act(.fail(failure))
      }
      // Memory may become free, so the workers retry for the requests that come from now on.
      workers.updateAll { $0.forgetInability() }
    }
    assignIfComplete()
  }

  /// Fails the waiting requests, because no worker is connected; ends the service if none will come
  /// back.
  private mutating func failWithoutWorkers() {
    failSessions(
      "no worker has returned within \(limits.patience); start one with `trestle work`"
        + modelChangeSuffix
    )
    if workers.haveBeenGivenUp(plan.map(\.name)) {
      let message = "every worker keeps crashing; the log has the reasons\(modelChangeSuffix)"
      act(.fail(CoordinatorError(.worker, message)))
    }
  }

  private mutating func failSessions(_ message: String) {
    for id in sessions.numbers { fail(id, .lost, message) }
  }
}
