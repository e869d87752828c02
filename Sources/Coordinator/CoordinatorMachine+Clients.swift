// The clients' side of the coordinator: requests in, text and results out.

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

  /// Admits a request, or refuses it by name; `room` is how many tokens must fit behind the prompt.
  private mutating func open(
    _ tokens: [Int32],
    _ request: UInt64,
    _ peer: PeerID,
    _ goal: SessionGoal,
    stops: [String],
    room: Int
  ) {
    if let (code, message) = refusal(of: tokens, room: room) {
      refuse(request, peer, code, message)
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
          queuePosition: slots.free.isEmpty ? queue.count : 0
        )
      ),
      to: peer
    )
  }

  /// Returns why a prompt cannot be served; nil if it can.
  private func refusal(
    of tokens: [Int32],
    room: Int
  ) -> (code: RequestFailureCode, message: String)? {
    if phase == .stopping { return (.shuttingDown, "the coordinator is stopping") }
    if tokens.isEmpty { return (.invalid, "the prompt is empty") }
    let vocabulary = model.config.vocabularySize
    if let bad = tokens.first(where: { !(0..<vocabulary).contains(Int($0)) }) {
      return (.invalid, "token \(bad) is outside the vocabulary of \(vocabulary)")
    }
    if tokens.count + room > limits.contextTokens {
      return (
        .tooLong,
        "the prompt has \(tokens.count) tokens, the context holds \(limits.contextTokens); "
          + "shorten it or start with a larger --context"
      )
    }
    if queue.count >= limits.queuedSessions {
      return (.busy, "\(queue.count) requests wait already; try again later")
    }
    return nil
  }

  mutating func refuse(
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

  /// Forgets a session and gives its slot back, with what it holds for a request that begins alike.
  ///
  /// Steps under way that hold its rows still run; whoever gets the slot comes behind them, because
  /// steps arrive in order.
  mutating func end(_ id: UInt64) {
    guard let session = sessions.removeValue(forKey: id) else { return }
    turns.removeAll { $0 == id }
    queue.removeAll { $0 == id }
    guard let slot = session.slot else { return }
    slots.giveBack(
      slot,
      holding: Array(session.tokens.prefix(session.submitted)),
      reached: session.reached,
      at: now
    )
  }

  private func placementEntries() -> [PlacementEntry] {
    plan.map { place in
      PlacementEntry(
        worker: place.name,
        device: place.device,
        isEmulated: workers[place.name]?.hello.isEmulated ?? false,
        firstLayer: place.layers.lowerBound,
        endLayer: place.layers.upperBound,
        firstVocabularyRow: place.slice.vocabulary.lowerBound,
        endVocabularyRow: place.slice.vocabulary.upperBound
      )
    }
  }
}
