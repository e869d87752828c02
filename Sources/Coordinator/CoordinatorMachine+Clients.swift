// The clients' side of the coordinator: requests in, text and results out, status and health.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  mutating func generate(_ generate: Generate, _ peer: PeerID) {
    let tokens: [Int32]
    do {
      tokens = try promptTokens(generate)
    } catch {
      let code: RequestFailureCode = error.code == .template ? .template : .invalid
      refuse(generate.request, peer, code, error.message)
      return
    }
    guard generate.maxTokens > 0 else {
      refuse(generate.request, peer, .invalid, "max tokens is 0; ask for at least 1")
      return
    }
    open(
      tokens,
      generate.request,
      peer,
      .generate(
        sampling: generate.sampling,
        maxTokens: generate.maxTokens,
        ignoresEndOfTurn: generate.ignoresEndOfTurn
      ),
      stops: generate.stops,
      // The answer needs room for at least one token.
      room: 1
    )
  }

  mutating func evaluate(_ evaluate: Evaluate, _ peer: PeerID) {
    let goal: SessionGoal =
      switch evaluate.kind {
      case .logits: .logits
      case .scores: .scores(first: evaluate.firstScored)
      }
    open(evaluate.tokens, evaluate.request, peer, goal, stops: [], room: 0)
  }

  private func promptTokens(_ generate: Generate) throws(GemmaError) -> [Int32] {
    switch generate.prompt {
    case .tokens(let tokens): return tokens
    case .text(let text):
      guard let tokenizer = model.tokenizer else {
        throw GemmaError(
          .tokenizer,
          "\(model.name) has no tokenizer; send the prompt as tokens"
        )
      }
      guard generate.appliesChatTemplate else {
        return tokenizer.encode(text, addBOS: true, parseSpecial: generate.parsesSpecial)
      }
      let template = try model.template.get()
      return try tokenizer.encode(template.pieces([ChatMessage(role: .user, content: text)]))
    }
  }

  /// Admits a request, or refuses it by name.
  private mutating func open(
    _ tokens: [Int32],
    _ request: UInt64,
    _ peer: PeerID,
    _ goal: SessionGoal,
    stops: [String],
    room: Int
  ) {
    guard phase != .stopping else {
      refuse(request, peer, .shuttingDown, "the coordinator is stopping")
      return
    }
    guard !tokens.isEmpty else {
      refuse(request, peer, .invalid, "the prompt is empty")
      return
    }
    if let bad = tokens.first(where: { !(0..<model.config.vocabularySize).contains(Int($0)) }) {
      refuse(
        request,
        peer,
        .invalid,
        "token \(bad) is outside the vocabulary of \(model.config.vocabularySize)"
      )
      return
    }
    guard tokens.count + room <= limits.contextTokens else {
      refuse(
        request,
        peer,
        .tooLong,
        "the prompt has \(tokens.count) tokens, the context holds \(limits.contextTokens); "
          + "shorten it or start with a larger --context"
      )
      return
    }
    guard queue.count < limits.queuedSessions else {
      refuse(
        request,
        peer,
        .busy,
        "\(queue.count) requests wait already; try again later"
      )
      return
    }
    guard !sessions.values.contains(where: { $0.peer == peer && $0.request == request }) else {
      refuse(request, peer, .invalid, "request \(request) is being served already")
      return
    }
    let session = Session(
      id: nextSession,
      peer: peer,
      request: request,
      goal: goal,
      tokens: tokens,
      detokenizer: model.tokenizer.map { Detokenizer($0) },
      stops: stops,
      now: now
    )
    nextSession += 1
    sessions[session.id] = session
    queue.append(session.id)
    send(
      .accepted(
        Accepted(
          request: request,
          promptTokens: tokens.count,
          queuePosition: freeSlots.isEmpty ? queue.count : 0
        )
      ),
      to: peer
    )
  }

  private mutating func refuse(
    _ request: UInt64,
    _ peer: PeerID,
    _ code: RequestFailureCode,
    _ message: String
  ) {
    send(
      .requestFailed(RequestFailed(request: request, code: code, message: message)),
      to: peer
    )
  }

  mutating func cancel(_ request: UInt64, _ peer: PeerID) {
    let session = sessions.values.first { $0.peer == peer && $0.request == request }
    // None: it has just finished, and the client has been told.
    if let session { finish(session.id, .cancelled) }
  }

  /// A client's socket is gone: nobody waits for its sessions.
  mutating func clientGone(_ peer: PeerID) {
    for session in sessions.values where session.peer == peer {
      note("client gone, request cancelled", ["session": "\(session.id)"])
      end(session.id)
    }
  }

  mutating func finish(_ id: UInt64, _ reason: FinishReason) {
    guard let session = sessions[id] else { return }
    let timing = session.timing
    let microseconds = { (from: ContinuousClock.Instant?, to: ContinuousClock.Instant?) in
      guard let from, let to else { return UInt64(0) }
      return UInt64(max(0, (to - from) / .microseconds(1)))
    }
    send(
      .finished(
        Finished(
          request: session.request,
          reason: reason,
          promptTokens: session.promptCount,
          generatedTokens: session.generatedCount,
          timing: RequestTiming(
            queuedMicroseconds: microseconds(timing.arrived, timing.started),
            firstTokenMicroseconds: microseconds(timing.arrived, timing.firstToken),
            prefillMicroseconds: microseconds(timing.started, timing.firstToken),
            decodeMicroseconds: microseconds(timing.firstToken, timing.lastToken),
            totalMicroseconds: microseconds(timing.arrived, now)
          ),
          placement: placementEntries()
        )
      ),
      to: session.peer
    )
    end(id)
  }

  mutating func fail(_ id: UInt64, _ code: RequestFailureCode, _ message: String) {
    guard let session = sessions[id] else { return }
    refuse(session.request, session.peer, code, message)
    end(id)
  }

  /// Forgets a session and frees its slot.
  ///
  /// Steps under way that hold its rows still run; the slot is
  /// cleared behind them, because clears travel in the same stream.
  mutating func end(_ id: UInt64) {
    guard let session = sessions.removeValue(forKey: id) else { return }
    turns.removeAll { $0 == id }
    queue.removeAll { $0 == id }
    guard let slot = session.slot else { return }
    slotsToClear.append(slot)
    freeSlots.append(slot)
  }

  private func placementEntries() -> [PlacementEntry] {
    plan.map { place in
      PlacementEntry(
        worker: place.name,
        device: place.device,
        isEmulated: workers[place.name]?.hello.isEmulated ?? false,
        firstLayer: place.layers.lowerBound,
        endLayer: place.layers.upperBound
      )
    }
  }
}

// MARK: - Status and health

extension CoordinatorMachine {
  private func milliseconds(since instant: ContinuousClock.Instant) -> Int {
    Int(max(0, (now - instant) / .milliseconds(1)))
  }

  /// Returns a worker's state in one word, with the reason where it is not well.
  private func state(of place: PlannedWorker) -> (state: HealthState, detail: String) {
    guard let worker = workers[place.name] else {
      return (.lost, "has not joined, or was lost and is awaited")
    }
    let age = now - worker.lastHeard
    if age > .seconds(2) { return (.degraded, "no heartbeat for \(age / .milliseconds(1)) ms") }
    let heartbeat = worker.heartbeat
    if worker.preparedEpoch != epoch || phase == .gathering {
      let percent = Int((heartbeat?.loadFraction ?? 0) * 100)
      return (.loading, phase == .gathering ? "waiting for other workers" : "\(percent) %")
    }
    if let rejected = heartbeat?.rejectedMessages, rejected > 0 {
      return (.ready, "\(rejected) malformed messages refused")
    }
    return (.ready, heartbeat?.detail ?? "")
  }

  private var serviceState: ServiceState {
    switch phase {
    case .gathering: hasServed ? .degraded : .waiting
    case .preparing: .loading
    case .serving: .ready
    case .stopping: .stopping
    }
  }

  func status(_ request: UInt64) -> StatusReply {
    StatusReply(
      request: request,
      model: model.name,
      epoch: epoch,
      fingerprint: model.fingerprint,
      state: serviceState,
      sessions: sessions.count - queue.count,
      queued: queue.count,
      tokensPerSecond: throughput.tokensPerSecond(at: now),
      uptimeMilliseconds: UInt64(milliseconds(since: began)),
      protocolErrors: protocolErrors,
      workers: zip(plan, stageMicroseconds).map { place, microseconds in
        let worker = workers[place.name]
        let (state, detail) = state(of: place)
        return WorkerStatus(
          name: place.name,
          pid: worker?.hello.pid ?? 0,
          device: place.device,
          isEmulated: worker?.hello.isEmulated ?? false,
          firstLayer: place.layers.lowerBound,
          endLayer: place.layers.upperBound,
          state: state,
          residentBytes: worker?.heartbeat?.residentBytes ?? 0,
          kvBytes: worker?.heartbeat?.kvBytes ?? 0,
          busy: worker?.busyShare ?? 0,
          busyMicroseconds: microseconds,
          stepMilliseconds: Double(worker?.heartbeat?.lastStepMicroseconds ?? 0) / 1000,
          heartbeatAgeMilliseconds: worker.map { milliseconds(since: $0.lastHeard) } ?? 0,
          threads: worker?.hello.threads ?? 0,
          loadFraction: worker?.heartbeat?.loadFraction ?? 0,
          detail: detail
        )
      }
    )
  }

  func health(_ request: UInt64) -> HealthReply {
    let workers = plan.map { place in
      let (state, detail) = state(of: place)
      let worker = self.workers[place.name]
      return WorkerHealth(
        name: place.name,
        pid: worker?.hello.pid ?? 0,
        state: state,
        heartbeatAgeMilliseconds: worker.map { milliseconds(since: $0.lastHeard) } ?? 0,
        detail: detail
      )
    }
    return HealthReply(
      request: request,
      isHealthy: workers.allSatisfy { $0.state == .ready },
      workers: workers
    )
  }
}
