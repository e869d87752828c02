// Sends micro-batches while there is work, and advances the sessions by their results.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Starts micro-batches until the pipeline is full or nothing is ready.
  mutating func dispatch() {
    guard epoch.letsStepsStart else { return }
    admit()
    let scheduler = Scheduler(model.config, limits, stepRows: stepRows, stageCount: plan.count)
    while let step = sessions.startNext(
      scheduler,
      runnableSessions,
      in: &flight,
      pace: measurements.pace(streams: sessions.turns.count, limits),
      epoch: epoch.number,
      at: now
    ) {
      act(.sendStep(step))
    }
    // There is nothing to run, but caches must be released: those to be cleared, and those that are kept for
    // sessions which cannot run now.
    if flight.isEmpty, sessions.hasSlotsToClear || sessions.hasPendingForks { startWithoutRows() }
  }

  /// Sends a step that only clears slots and takes over prefixes.
  mutating func startWithoutRows() {
    act(.sendStep(sessions.start([], in: &flight, epoch: epoch.number, at: now)))
  }

  /// The sessions that may have rows in the next micro-batch, in the order of their turns.
  ///
  /// A session that may be the cause of lost workers runs alone until it gets a new token. Then it
  /// is either cleared of the suspicion, or nobody else is suspected with it.
  private var runnableSessions: [Session] {
    let ready = sessions.running.filter { !isHeldBack($0) }
    guard let suspect = ready.filter(\.losses.isSuspect).min(by: { $0.id < $1.id }) else {
      return ready
    }
    return flight.holdsNobody(but: suspect.id) ? [suspect] : []
  }

  /// Gives free slots to sessions that wait: the next one is of the asker that holds fewest.
  private mutating func admit() {
    while !sessions.isFull, let next = sessions.queue.next(mayRun: { !outflow.isFull($0) }) {
      guard sessions.admit(next) else { return }
      let now = now
      requests.update(next) { $0.start(at: now) }
    }
  }

  /// Handles the results of a step.
  mutating func stepDone(_ done: StepDone, _ payloads: [[Float]], from worker: String) {
    guard done.epoch == epoch.number, let batch = flight[done.sequence] else {
      // If the step is not in flight, it was given up, and its sessions have been replayed.
      refuseUnsent(done.epoch, done.sequence, from: worker)
      return
    }
    guard worker == plan.last?.name else {
      evict(worker, "it sent the result of step \(done.sequence), but it is not the last stage")
      return
    }
    if let nonsense = nonsense(in: done, payloads, batch) {
      evict(worker, "it sent an impossible result of step \(done.sequence): \(nonsense)")
      return
    }
    if let lost = flight.stepOvertaken(by: done.sequence) {
      restartEpoch(
        "the result of step \(done.sequence) came before that of step \(lost) of the same session"
      )
      return
    }
    _ = flight.finish(done.sequence)
    counters.finishedStep()
    if epoch.prove() { act(.proven) }
    measure(done, batch)
    var results: [Int: [RowResult]] = [:]  // by slot
    for result in done.results { results[result.slot, default: []].append(result) }
    for part in batch.parts {
      guard let session = sessions[part.session], let slot = session.slot else { continue }
      let own = results[slot] ?? []
      switch session.goal {
      case .generate:
        guard let result = own.first else { continue }
        generated(result, session.id)
      case .logits, .inputs:
        deliver(part, session, scores: [], payloads: payloads)
      case .scores:
        deliver(part, session, scores: own.map(\.logProbability), payloads: [])
      }
    }
    handleOldestFailure()
  }

  /// Returns what is impossible in an answer of the last stage; nil if the answer is valid.
  private func nonsense(in done: StepDone, _ payloads: [[Float]], _ batch: MicroBatch) -> String? {
    guard done.results.count == batch.wanted.count,
      zip(batch.wanted, done.results).allSatisfy({ $0.isAnswered(by: $1) })
    else { return "results of other rows" }
    let vocabulary = model.config.vocabularySize
    for (row, result) in zip(batch.wanted, done.results) {
      let nonsense = row.nonsense(
        in: result,
        vocabularySize: vocabulary,
        suppressed: model.suppressedTokens
      )
      if let nonsense { return nonsense }
    }
    if done.stageMicroseconds.count != plan.count {
      return "the times of \(done.stageMicroseconds.count) stages instead of \(plan.count)"
    }
    var expected = batch.logitsRows == 0 ? [] : [batch.logitsRows * vocabulary]
    if batch.observesInputs { expected.append(model.observationLayout.count) }
    if payloads.map(\.count) != expected {
      return "\(payloads.map(\.count)) numbers instead of \(expected)"
    }
    return nil
  }

  /// Counts a report about a step that was never sent; a correct worker never sends one.
  private mutating func refuseUnsent(_ number: UInt32, _ sequence: UInt64, from worker: String) {
    guard number > epoch.lastNumber || sequence >= flight.nextSequence else { return }
    protocolErrors += 1
    countNonsense(of: worker, "step \(sequence) of epoch \(number) was never sent")
  }

  /// A step that could not be run or handed on is replayed, with all others, in a new epoch.
  mutating func stepFailed(_ failure: StepFailed, from worker: String) {
    guard failure.epoch == epoch.number, flight.contains(failure.sequence) else {
      refuseUnsent(failure.epoch, failure.sequence, from: worker)
      return
    }
    guard let stage = epoch.stage(of: worker) else {
      evict(worker, "it reports that step \(failure.sequence) has failed, but it has no layers")
      return
    }
    note(
      "step failed",
      ["worker": worker, "step": "\(failure.sequence)", "reason": failure.message],
      isWarning: true
    )
    if failure.code == .handOff {
      let sides = plan[stage..<min(stage + 2, plan.count)].map(\.name)
      restartEpoch(blaming: sides, "no step gets past \(worker): \(failure.message)")
      return
    }
    switch failure.code {
    case .device:
      evict(worker, "lost its device: \(failure.message)")
      return
    case .memory:
      cannotHold(worker, failure.message)
      return
    case .unsupported:
      cannotPrepare(
        worker,
        PrepareFailed(epoch: failure.epoch, code: .unsupported, message: failure.message)
      )
      return
    case .handOff, .notFinite, .model, .step, .internal: break
    }
    let notFiniteSlots = failure.code == .notFinite ? failure.slots : nil
    flight.fail(
      failure.sequence,
      StepFailure(worker: worker, message: failure.message, notFiniteSlots: notFiniteSlots)
    )
    handleOldestFailure()
  }

  /// How often a session's step may fail before the session is taken for the cause.
  private static let mostFailedSteps = 3

  /// Decides about the oldest micro-batch under way if it has failed.
  ///
  /// The coordinator sends no invalid step. So either the stage's device has failed, or the
  /// previous stage has sent an invalid hand-off. It is not known which, so both are evicted and
  /// the sessions replayed. A session whose steps fail again and again is ended instead.
  private mutating func handleOldestFailure() {
    guard let (oldest, batch, failure) = flight.oldestFailure else { return }
    if let slots = failure.notFiniteSlots {
      endNotFinite(slots, oldest, batch, failure)
      return
    }
    for part in batch.parts { sessions.update(part.session) { $0.countFailedStep() } }
    let poisonous = batch.parts.filter {
      sessions[$0.session]?.failedSteps ?? 0 >= Self.mostFailedSteps
    }
    guard poisonous.isEmpty else {
      _ = flight.finish(oldest)
      let reason = "worker \(failure.worker) could not run it: \(failure.message)"
      for part in poisonous { fail(part.session, .internal, reason) }
      sessions.rewind(flight.abandonAll() + [batch])
      return
    }
    let stage = epoch.stage(of: failure.worker) ?? 0
    for name in plan[max(0, stage - 1)...stage].map(\.name) {
      evict(name, "step \(oldest) ended in \(failure.worker): \(failure.message)")
    }
  }

  /// The first stage's queue is full or its socket gone.
  mutating func stepNotSent(_ sequence: UInt64) {
    guard flight.contains(sequence) else { return }
    note("step not sent", ["step": "\(sequence)"], isWarning: true)
    restartEpoch()
  }

  /// Takes a new token of a session and decides whether it goes on.
  private mutating func generated(_ result: RowResult, _ id: UInt64) {
    guard let goal = sessions[id]?.goal, let before = requests[id]?.timing,
      case .generate(let sampling, let maxTokens, let ignoresEndOfTurn) = goal
    else { return }
    let token = result.token
    let endsTurn = !ignoresEndOfTurn && model.config.eosTokens.contains(token)
    measurements.generated(before, at: now)
    if before.firstToken == nil, let session = sessions[id] { counters.readPrompt(of: session) }
    if !endsTurn { counters.generatedToken() }
    let (contextTokens, now) = (limits.contextTokens, now)
    let isFull = sessions.update(id) { session in
      session.complete(upTo: session.tokens.count)
      if !endsTurn { session.append(token) }
      return session.generatedCount >= maxTokens || session.tokens.count >= contextTokens
    }
    let isLast = endsTurn || isFull ?? true
    let answer = requests.update(id) { $0.take(endsTurn ? nil : token, isLast: isLast, at: now) }
    guard let answer, let request = requests[id] else { return }
    if !endsTurn || !answer.isEmpty {
      var delta = Delta(
        request: request.number,
        text: answer.text,
        tokens: endsTurn ? [] : [token],
        thought: answer.thought
      )
      if sampling.returnsLogProbabilities, !endsTurn {
        delta.scored = [DrawnToken(result, tokenizer: model.tokenizer)]
      }
      send(.delta(delta), to: request.peer)
    }
    let hasStopped = endsTurn || request.matchedStop != nil
    if isLast || hasStopped {
      finish(id, hasStopped ? .stop : .length)
    } else if let session = sessions[id], let complaint = maskComplaint(of: session) {
      fail(id, .constraint, "the answer cannot go on as it must: \(complaint)")
    }
  }

  /// Sends what an evaluation's micro-batch brought.
  private mutating func deliver(
    _ part: ScheduledRows,
    _ session: Session,
    scores: [Double],
    payloads: [[Float]]
  ) {
    // Replayed, and delivered before.
    guard part.positions.upperBound > session.completed, let request = requests[session.id]
    else { return }
    let fresh = max(part.positions.lowerBound, session.completed)..<part.positions.upperBound
    sessions.update(session.id) { $0.complete(upTo: fresh.upperBound) }
    measurements.evaluated(fresh.count, at: now)
    counters.evaluated(fresh.count)
    let isLast = fresh.upperBound == session.tokens.count
    send(
      .evaluated(
        Evaluated(
          request: request.number,
          firstPosition: fresh.lowerBound,
          rowCount: fresh.count,
          isLast: isLast,
          scores: scores,
          proof: .random(in: 1 ... .max)
        )
      ),
      to: request.peer,
      payloads: payloads
    )
    guard isLast else { return }
    counters.finishedEvaluation()
    end(session.id)
  }
}
