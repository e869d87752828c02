// The clients' side of the coordinator: requests in, text and results out. Prompts/ turns texts
// into tokens; Clients/ has the queue and the flow control.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  mutating func generate(_ generate: Generate, _ peer: PeerID) {
    if let reason = generate.complaint(vocabularySize: model.config.vocabularySize) {
      turnAway(generate.request, peer, .invalid, reason)
      return
    }
    if let (code, message) = refusalBeforeTokens(generate.request, peer) {
      turnAway(generate.request, peer, code, message)
      return
    }
    switch generate.prompt {
    case .tokens(let tokens): encode(.tokens(tokens), generate, peer)
    case .text(let text): encode(PromptSource(text, of: generate), generate, peer)
    case .messages(let messages):
      encode(PromptSource(messages, thinks: generate.thinks), generate, peer)
    }
  }

  mutating func open(_ prompt: EncodedPrompt, _ generate: Generate, _ peer: PeerID) {
    var sampling = generate.sampling
    sampling.answerPosition = prompt.tokens.count
    open(
      prompt.tokens,
      generate.request,
      peer,
      .generate(
        sampling: sampling,
        maxTokens: generate.maxTokens,
        ignoresEndOfTurn: generate.ignoresEndOfTurn
      ),
      stops: generate.stops,
      earlyEnd: generate.minTokens > 0
        ? EarlyEnd(minTokens: generate.minTokens, endTokens: model.config.eosTokens) : nil,
      constraint: prompt.constraint ?? constrain(generate),
      // The answer needs room for at least one token.
      room: 1
    )
  }

  mutating func evaluate(_ evaluate: Evaluate, _ peer: PeerID) {
    if let (code, message) = refusalBeforeTokens(evaluate.request, peer) {
      turnAway(evaluate.request, peer, code, message)
      return
    }
    let goal: SessionGoal =
      switch evaluate.kind {
      case .logits: .logits
      case .scores: .scores(first: evaluate.firstScored)
      case .inputs: .inputs
      }
    guard evaluate.kind != .inputs || limits.observesInputs else {
      turnAway(
        evaluate.request,
        peer,
        .invalid,
        "this pipeline does not observe the inputs of products; `trestle calibrate` starts one that does"
      )
      return
    }
    open(evaluate.tokens, evaluate.request, peer, goal, stops: [], room: 0)
  }

  /// Admits a request, or refuses it with the reason; `room` is how many tokens must fit after the
  /// prompt.
  private mutating func open(
    _ tokens: [Int32],
    _ request: UInt64,
    _ peer: PeerID,
    _ goal: SessionGoal,
    stops: [String],
    earlyEnd: EarlyEnd? = nil,
    constraint: (any TokenConstraint)? = nil,
    room: Int
  ) {
    if let (code, message) = refusal(of: tokens, room: room) {
      turnAway(request, peer, code, message)
      return
    }
    let session = Session(
      id: sessions.takeNumber(),
      goal: goal,
      tokens: tokens,
      prefixGroup: limits.prefixSharing.group(of: peer),
      earlyEnd: earlyEnd,
      constraint: constraint
    )
    if let complaint = maskComplaint(of: session) {
      turnAway(request, peer, .constraint, "the answer cannot begin as it must: \(complaint)")
      return
    }
    guard makeRoomInQueue(for: peer) else {
      let reason = "\(sessions.queue.count) requests wait already; try again later"
      turnAway(request, peer, .busy, reason)
      return
    }
    sessions.open(session, of: peer)
    let client = ClientRequest(
      peer: peer,
      number: request,
      reader: model.tokenizer.map { AnswerReader($0, after: tokens) },
      stops: stops,
      at: now
    )
    requests.open(client, as: session.id)
    accept(session.id)
  }

  /// Tells a client that its request waits, and its place in the queue; repeated while it waits.
  mutating func accept(_ id: UInt64) {
    guard let session = sessions[id], let request = requests[id] else { return }
    let isWaiting = session.slot == nil && sessions.isFull
    send(
      .accepted(
        Accepted(
          request: request.number,
          promptTokens: session.promptCount,
          queuePosition: isWaiting ? sessions.queue.place(of: id) : 0
        )
      ),
      to: request.peer
    )
  }

  /// Returns why a request cannot be served, whatever its tokens; nil if it can.
  private func refusalBeforeTokens(
    _ request: UInt64,
    _ peer: PeerID
  ) -> (code: RequestFailureCode, message: String)? {
    if epoch.isStopping { return (.shuttingDown, "the coordinator is stopping") }
    if requests.contains(request, of: peer) {
      return (.invalid, "request \(request) is being served already")
    }
    if outflow.unreadCount(peer) > limits.unread.messages {
      let count = outflow.unreadCount(peer)
      return (.busy, "\(count) messages of earlier requests have not been read; read them first")
    }
    return nil
  }

  /// Returns why a prompt cannot be served; nil if it can.
  private func refusal(
    of tokens: [Int32],
    room: Int
  ) -> (code: RequestFailureCode, message: String)? {
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
    return nil
  }

  /// Returns why no token can be drawn for a session next, by what its answer must conform to; nil if one can.
  func maskComplaint(of session: Session) -> String? {
    session.mask?.complaint(vocabularySize: model.config.vocabularySize)
  }

  /// Whether the queue accepts one more request of a client, if necessary in the place of another
  /// client's.
  private mutating func makeRoomInQueue(for peer: PeerID) -> Bool {
    guard sessions.queue.count >= limits.queuedSessions else { return true }
    guard let surplus = sessions.queue.surplus(for: peer) else { return false }
    fail(
      surplus,
      .busy,
      "\(sessions.queue.count) requests wait, most of them of this client; "
        + "the last of them gave way to another client's; try again later"
    )
    return true
  }

  /// Refuses a generation or an evaluation, or ends it in words, and counts it.
  mutating func turnAway(
    _ request: UInt64,
    _ peer: PeerID,
    _ code: RequestFailureCode,
    _ message: String
  ) {
    counters.failed(code)
    refuse(request, peer, code, message)
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

  /// Ends a request that its client has cancelled.
  mutating func cancel(_ request: UInt64, _ peer: PeerID) {
    // There may be none, because it has just finished and the client has been told.
    if let id = requests.number(of: request, peer) { finish(id, .cancelled) }
    if forgetEncoding(where: { $0.peer == peer && $0.generate.request == request }) > 0 {
      turnAway(request, peer, .cancelled, "cancelled before it began")
    }
  }

  /// A client has disconnected: nobody waits for its sessions.
  mutating func clientGone(_ peer: PeerID) {
    outflow.forget(peer)
    counters.abandoned(forgetEncoding { $0.peer == peer })
    for id in requests.numbers(of: peer) {
      note("client gone, request cancelled", ["session": "\(id)"])
      counters.abandoned(1)
      end(id)
    }
  }

  /// Ends a request whose answer is complete.
  mutating func finish(_ id: UInt64, _ reason: FinishReason) {
    guard let session = sessions[id], let request = requests[id] else { return }
    let timing = request.timing
    let microseconds = { (from: ContinuousClock.Instant?, to: ContinuousClock.Instant?) in
      guard let from, let to else { return UInt64(0) }
      return UInt64(max(0, (to - from) / .microseconds(1)))
    }
    send(
      .finished(
        Finished(
          request: request.number,
          reason: reason,
          promptTokens: session.promptCount,
          generatedTokens: session.generatedCount,
          timing: RequestTiming(
            firstTokenMicroseconds: microseconds(timing.arrived, timing.firstToken),
            prefillMicroseconds: microseconds(timing.started, timing.firstToken),
            decodeMicroseconds: microseconds(timing.firstToken, timing.lastToken),
            totalMicroseconds: microseconds(timing.arrived, now)
          ),
          placement: placementEntries(),
          cachedTokens: session.cachedCount,
          stop: request.matchedStop ?? "",
          thoughtTokens: request.thoughtTokenCount
        )
      ),
      to: request.peer
    )
    counters.finished(reason)
    measurements.ended(timing, at: now)
    end(id)
  }

  /// Ends a request with an error.
  mutating func fail(_ id: UInt64, _ code: RequestFailureCode, _ message: String) {
    guard let request = requests[id] else { return }
    turnAway(request.number, request.peer, code, message)
    end(id)
  }

  /// Forgets a request and its session.
  mutating func end(_ id: UInt64) {
    sessions.end(id, at: now)
    requests.close(id)
  }

  private func placementEntries() -> [PlacementEntry] {
    plan.map { place in
      PlacementEntry(
        worker: place.name,
        device: place.device,
        isEmulated: workers.isEmulated(place.name),
        firstLayer: place.layers.lowerBound,
        endLayer: place.layers.upperBound,
        firstVocabularyRow: place.slice.vocabulary.lowerBound,
        endVocabularyRow: place.slice.vocabulary.upperBound
      )
    }
  }
}

extension Generate {
  /// Whether the chat template makes its prompt.
  private var isConversation: Bool {
    switch prompt {
    case .messages: true
    case .text: appliesChatTemplate
    case .tokens: false
    }
  }

  /// Returns which field of the request is invalid, by its name in the client; nil if all are
  /// valid.
  fileprivate func complaint(vocabularySize: Int) -> String? {
    if maxTokens <= 0 { return "max tokens is 0; ask for at least 1" }
    if minTokens > 0, ignoresEndOfTurn {
      return "min tokens \(minTokens): the end of the turn is ignored already; leave out either"
    }
    if thinks, !isConversation {
      return "thinks: only of a conversation; leave it out for other prompts"
    }
    return sampling.complaint ?? sampling.biasComplaint(vocabularySize: vocabularySize)
  }
}

extension Sampling {
  /// Returns which sampling parameter is invalid; nil if all are valid.
  fileprivate var complaint: String? {
    if !(temperature >= 0) { return "temperature \(temperature): give 0 or more" }
    if !(topP > 0 && topP <= 1) { return "top p \(topP): give more than 0 and at most 1" }
    if !(minP >= 0 && minP <= 1) { return "min p \(minP): give 0 to 1" }
    if likeliest > 0, !returnsLogProbabilities {
      return "likeliest \(likeliest): ask for log probabilities, too"
    }
    if !(repeatPenalty > 0) { return "repeat penalty \(repeatPenalty): give more than 0" }
    return nil
  }

  /// Which biases no draw can be made with; nil if all is well.
  fileprivate func biasComplaint(vocabularySize: Int) -> String? {
    var seen: Set<Int32> = []
    for bias in biases {
      guard (0..<vocabularySize).contains(Int(bias.token)) else {
        return "bias of token \(bias.token), the vocabulary has \(vocabularySize)"
      }
      guard seen.insert(bias.token).inserted else {
        return "token \(bias.token) has two biases; give their sum"
      }
    }
    return nil
  }
}
