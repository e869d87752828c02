// The micro-batches of the coordinator: sent while there is work, and what comes back.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Starts micro-batches until the pipeline is full or nothing is ready.
  mutating func dispatch() {
    guard phase == .serving else { return }
    admit()
    while true {
      let scheduled = scheduler.next(
        turns.compactMap { sessions[$0] },
        inFlight: inFlight.count
      )
      guard !scheduled.isEmpty else { break }
      start(scheduled)
    }
    // Nothing to run, but caches to give back.
    if inFlight.isEmpty, !slotsToClear.isEmpty { start([]) }
  }

  /// Gives free slots to the sessions that wait longest.
  private mutating func admit() {
    while let slot = freeSlots.last, let id = queue.first {
      freeSlots.removeLast()
      queue.removeFirst()
      turns.append(id)
      sessions[id]?.slot = slot
      sessions[id]?.timing.started = now
    }
  }

  private mutating func start(_ scheduled: [ScheduledRows]) {
    var rows: [StepRow] = []
    for part in scheduled {
      guard var session = sessions[part.session], let slot = session.slot else { continue }
      for position in part.positions {
        rows.append(
          StepRow(
            slot: slot,
            position: position,
            token: session.tokens[position],
            output: session.output(at: position)
          )
        )
      }
      session.submitted = part.positions.upperBound
      sessions[part.session] = session
      // To the end of the line.
      turns.removeAll { $0 == part.session }
      turns.append(part.session)
    }
    let sequence = nextSequence
    nextSequence += 1
    inFlight[sequence] = MicroBatch(parts: scheduled, cleared: slotsToClear)
    let step = Step(
      epoch: epoch,
      sequence: sequence,
      cleared: slotsToClear,
      rows: rows,
      stageMicroseconds: []
    )
    slotsToClear = []
    act(.sendStep(step))
  }

  mutating func stepDone(_ done: StepDone, _ payloads: [[Float]]) {
    guard done.epoch == epoch, let batch = inFlight.removeValue(forKey: done.sequence) else {
      // A step that has been given up: its sessions have been replayed.
      return
    }
    fruitlessEpochs = 0
    for (stage, time) in zip(stageClocks.indices, done.stageMicroseconds) {
      stageClocks[stage].add(.microseconds(Int64(clamping: time)), at: now)
    }
    var results: [Int: [RowResult]] = [:]  // by slot
    for result in done.results { results[result.slot, default: []].append(result) }
    for part in batch.parts {
      guard let session = sessions[part.session], let slot = session.slot else { continue }
      let own = results[slot] ?? []
      switch session.goal {
      case .generate:
        guard let result = own.first else { continue }
        generated(result.token, session.id)
      case .logits:
        deliver(part, session, scores: [], payloads: payloads)
      case .scores:
        deliver(part, session, scores: own.map(\.logProbability), payloads: [])
      }
    }
    judgeFailure()
  }

  /// A step that does not fit its stage ends its sessions; one that could not be handed on is
  /// replayed, with all others, in a new epoch.
  mutating func stepFailed(_ failure: StepFailed) {
    guard failure.epoch == epoch, inFlight[failure.sequence] != nil else { return }
    note(
      "step failed",
      [
        "worker": failure.worker, "step": "\(failure.sequence)", "reason": failure.message,
      ],
      isWarning: true
    )
    if failure.code == .handOff {
      restartEpoch()
      return
    }
    inFlight[failure.sequence]?.failure = failure
    judgeFailure()
  }

  /// Ends the sessions of the oldest micro-batch under way if it has failed.
  ///
  /// A failed one behind others waits for them. Each worker has a connection of its own, so the word
  /// of an earlier step's failure may come later; and behind a step that was lost, the next ones find
  /// gaps through no fault of theirs.
  private mutating func judgeFailure() {
    guard let oldest = inFlight.keys.min(), let batch = inFlight[oldest],
      let failure = batch.failure
    else { return }
    inFlight[oldest] = nil
    for part in batch.parts {
      fail(part.session, .internal, "worker \(failure.worker) could not run it: \(failure.message)")
    }
    giveUpMicroBatches(and: batch)
  }

  /// Replays the sessions of all micro-batches under way.
  ///
  /// The stages behind the one that failed have not seen the failed step: not its rows, which later
  /// steps may continue, nor the slots it cleared. So later steps may fail as well, through no fault
  /// of theirs.
  private mutating func giveUpMicroBatches(and failed: MicroBatch) {
    var slots = Set(slotsToClear)
    for batch in inFlight.values + [failed] {
      slots.formUnion(batch.cleared)
      slots.formUnion(batch.parts.compactMap { sessions[$0.session]?.slot })
    }
    inFlight = [:]
    slotsToClear = slots.sorted()
    for id in turns {
      if let slot = sessions[id]?.slot, slots.contains(slot) { sessions[id]?.rewind() }
    }
  }

  /// The first stage's queue is full or its socket gone.
  mutating func stepNotSent(_ sequence: UInt64) {
    guard inFlight[sequence] != nil else { return }
    note("step not sent", ["step": "\(sequence)"], isWarning: true)
    restartEpoch()
  }

  /// Takes a new token of a session and decides whether it goes on.
  private mutating func generated(_ token: Int32, _ id: UInt64) {
    guard var session = sessions[id],
      case .generate(_, let maxTokens, let ignoresEndOfTurn) = session.goal
    else { return }
    tokensServed.add(1, at: now)
    session.completed = session.tokens.count
    if session.timing.firstToken == nil { session.timing.firstToken = now }
    session.timing.lastToken = now
    let endsTurn = !ignoresEndOfTurn && model.config.eosTokens.contains(token)
    var text = ""
    if !endsTurn {
      session.tokens.append(token)
      if let piece = session.detokenizer?.append(token) { text = session.stops.feed(piece) }
    }
    let isFull =
      session.generatedCount >= maxTokens || session.tokens.count >= limits.contextTokens
    let ends = endsTurn || session.stops.hasMatched || isFull
    if ends, !session.stops.hasMatched {
      if let rest = session.detokenizer?.flush() { text += session.stops.feed(rest) }
      text += session.stops.flush()
    }
    sessions[id] = session
    if !endsTurn || !text.isEmpty {
      send(
        .delta(
          Delta(request: session.request, text: text, tokens: endsTurn ? [] : [token])
        ),
        to: session.peer
      )
    }
    guard ends else { return }
    finish(id, endsTurn || session.stops.hasMatched ? .stop : .length)
  }

  /// Sends what an evaluation's micro-batch brought.
  private mutating func deliver(
    _ part: ScheduledRows,
    _ session: Session,
    scores: [Double],
    payloads: [[Float]]
  ) {
    // Replayed, and delivered before.
    guard part.positions.upperBound > session.completed else { return }
    var session = session
    let fresh = max(part.positions.lowerBound, session.completed)..<part.positions.upperBound
    session.completed = fresh.upperBound
    tokensServed.add(Double(fresh.count), at: now)
    let isLast = session.completed == session.tokens.count
    sessions[session.id] = session
    send(
      .evaluated(
        Evaluated(
          request: session.request,
          firstPosition: fresh.lowerBound,
          rowCount: fresh.count,
          isLast: isLast,
          scores: scores
        )
      ),
      to: session.peer,
      payloads: payloads
    )
    if isLast { end(session.id) }
  }
}
