// The coordinator as a value: events in, actions out, no socket and no clock. The same events bring the
// same actions in the same order, but for the random proofs of what is evaluated. It gathers the workers
// of a placement, has each prepare its layers, then serves sessions through them; when a worker is
// lost it goes back to gathering and replays the live sessions from their tokens. While it serves, the
// next placement may be prepared beside.
//
//   gathering ──all workers here──► preparing ──all prepared──► serving
//       ▲                               │                          │
//       └──────── a worker lost ────────┴──────────────────────────┘
//
// CoordinatorMachine+Workers.swift has the workers' side, +Clients.swift the clients', +Steps.swift
// the micro-batches, +Placement.swift who shall hold which layers, +Move.swift live rebalance,
// +Advice.swift when it comes unasked, +Recovery.swift what is done about lost workers,
// +NonFinite.swift about numbers that are none, +Authorisation.swift who may say what. Prompts/ has texts
// on their way to tokens, Clients/ what clients read and who comes next.

package import Content
package import Gemma
internal import Platform
package import Wire

/// What happens to the coordinator.
package enum CoordinatorEvent: Sendable {
  /// A well-formed message came in at the public socket.
  case message(Message, from: PeerID, payloads: [[Float]])
  /// A malformed message came in and was dropped.
  case malformed(from: PeerID?, WireError)
  /// A peer was not let in at the public socket.
  case refused(Refusal)
  /// What keys may do, first said before any message.
  case accessChanged(Access)
  /// A peer could not be reached.
  case unreachable(PeerID)
  /// A message could not be sent to a peer that is there.
  case notSent(Message, to: PeerID, reason: String)
  /// A text has been tokenized, or cannot be.
  case encoded(id: UInt64, Result<[Int32], GemmaError>)
  /// The first stage's data endpoint cannot be connected to.
  case firstStageNotConnected(reason: String)
  /// The first stage could not take a step.
  case stepNotSent(sequence: UInt64)
  /// The model's files are not what they were when they were opened: what happened, in a sentence.
  case modelChanged(String)
  /// A supervised worker process ended.
  case workerExited(name: String, how: String, willRestart: Bool)
  /// Time passed.
  case tick
  /// The user asked to stop.
  case stop
}

/// What the coordinator's shell shall do.
package enum CoordinatorAction: Sendable {
  case send(Message, to: PeerID, payloads: [[Float]] = [])
  /// Connect the data plane to the first stage, in place of any connection before.
  case connectFirstStage(endpoint: String, key: PublicKey?)
  case sendStep(Step)
  /// Tokenize a text elsewhere, then say `encoded`.
  case encode(PromptText)
  /// Nobody wants those tokens any more.
  case forgetEncoding(UInt64)
  /// A micro-batch has come back; said where `tracesSteps` asks for it.
  case stepTraced(StepTrace)
  /// End a supervised worker's process; an unsupervised one is just forgotten.
  case kill(worker: String)
  /// A step has passed all workers of the epoch: none of them dies of what it is asked to do.
  case proven
  /// Let a supervised worker end without starting it again.
  case release(worker: String)
  case note(CoordinatorNote)
  /// How much of the weights is prepared, 0 to 1.
  case progress(Double)
  /// Prompts are accepted from now on (said once an epoch).
  case ready
  /// Give up: nothing can be served any more.
  case fail(CoordinatorError)
}

/// Something worth a line in the log.
package struct CoordinatorNote: Sendable, Hashable {
  package var isWarning: Bool
  package var message: String
  package var metadata: [String: String]
}

/// What the coordinator must know of the model.
package struct ServedModel: Sendable {
  package var name: String
  package var fingerprint: Digest
  package var config: ModelConfig
  /// What a decoded token reads of each layer, in bytes.
  package var cost: DecodeCost
  /// Nil for a model directory without one: then prompts must be tokens.
  package var tokenizer: Tokenizer?
  /// The chat template, or why there is none.
  package var template: Result<ChatTemplate, GemmaError>

  package init(
    name: String,
    fingerprint: Digest,
    config: ModelConfig,
    cost: DecodeCost,
    tokenizer: Tokenizer?,
    template: Result<ChatTemplate, GemmaError>
  ) {
    self.name = name
    self.fingerprint = fingerprint
    self.config = config
    self.cost = cost
    self.tokenizer = tokenizer
    self.template = template
  }
}

/// A place in the pipeline.
package struct PlannedWorker: Sendable, Hashable {
  package var name: String
  package var device: String
  package var slice: ModelSlice

  package init(name: String, device: String, slice: ModelSlice) {
    self.name = name
    self.device = device
    self.slice = slice
  }

  package var layers: Range<Int> { slice.layers }
}

/// Bounds of what is held at once.
package struct CoordinatorLimits: Sendable, Hashable {
  /// Tokens a session may have, prompt and answer together.
  package var contextTokens: Int
  /// Sessions served at once: each has a slot in every KV cache.
  package var slots: Int
  /// Sessions that may wait for a slot; beyond, requests are refused.
  package var queuedSessions = 64
  /// Rows a micro-batch may have.
  ///
  /// 128 rows keep three stages of a 512-token prompt busy, and the
  /// matrix kernels are at their full rate from about 64 rows on.
  package var maxRows = 128
  /// How long a micro-batch of a prompt may keep streams waiting that decode.
  ///
  /// A quarter of a second is a stutter, not a halt.
  package var promptPause: Duration = .milliseconds(250)
  /// Logits a micro-batch may give back: 16 MiB, a quarter of the largest frame.
  package var maxLogits = 4 << 20
  /// How long a worker may be silent.
  ///
  /// Heartbeats come four times a second from a thread that only waits; one that is late eight
  /// times in a row does not run. A worker ended by mistake costs a replay and no token.
  package var silence: Duration = .seconds(2)
  /// How long steps may be under way with no worker computing: a message was lost.
  package var stall: Duration = .seconds(5)
  /// The longest a stage may compute one step.
  ///
  /// 128 rows of a 30-billion-weight model on one core take less than half of it.
  package var longestStep: Duration = .seconds(120)
  /// How long a worker may come no further with the layers it prepares.
  ///
  /// Its heartbeats tell how far it is after each op. The largest, the logits of a 30-billion-weight
  /// model, reads a gigabyte: ten seconds from a slow disk.
  package var loadStall: Duration = .seconds(60)
  /// How long keys and values may be copied before a move.
  ///
  /// Sessions go on meanwhile; over a gigabit 70 GB pass in it.
  package var copying: Duration = .seconds(600)
  /// How long a move may wait for the last steps, and then for keys and values.
  ///
  /// All sessions stand still meanwhile. A gigabit a second moves 3 GB of keys and values in it.
  package var standstill: Duration = .seconds(30)
  /// How long a lost worker's place is kept for it when another one stands by.
  ///
  /// A supervised worker is back within half of it.
  package var grace: Duration = .seconds(2)
  /// How long to wait for lost workers before their layers are given to others, or requests fail.
  package var patience: Duration = .seconds(30)
  /// What clients may leave unread before their sessions pause.
  var unread = Outflow.Limits()
  /// Messages without sense that a worker may send before it is ended.
  package var nonsense = 3
  package var prefixSharing = PrefixSharing.all

  package init(contextTokens: Int, slots: Int) {
    self.contextTokens = contextTokens
    self.slots = slots
  }
}

/// The coordinator's state.
package struct CoordinatorMachine {
  enum Phase: String, Sendable { case gathering, preparing, serving, stopping }

  let model: ServedModel
  /// The placement of the epoch that runs, or is gathered for.
  var plan: [PlannedWorker]
  let limits: CoordinatorLimits
  var scheduler: Scheduler
  var phase = Phase.gathering
  var epoch: UInt32 = 0
  /// The highest number given to any epoch.
  var lastEpoch: UInt32 = 0
  /// The placement that is prepared beside the one that runs.
  var move: PlacementMove?
  var workers = Roster()
  /// What has happened to the model's files since they were opened; nil if nothing has.
  var modelChange: String?
  var gatheringSince: ContinuousClock.Instant
  var sessions: Sessions
  /// Requests whose texts are being tokenized, by the number that a session would have.
  var encoding: [UInt64: EncodingPrompt] = [:]
  let encoder: PromptEncoder
  /// What clients have been sent and have not read.
  var outflow: Outflow
  /// When it was last seen to that clients are there and read.
  var clientsWatched: ContinuousClock.Instant
  var flight = Flight()
  var metrics: Metrics
  var depthTuner: DepthTuner
  var selfTests = SelfTests()
  /// Says when layers should move by themselves; nil if they never do.
  var advisor: RebalanceAdvisor?
  /// Whether `stepTraced` is said of every micro-batch.
  package var tracesSteps = false
  /// `Host.bootID` of the coordinator's own machine; empty if not known.
  package var machineID = ""
  /// Whether a step has come back in this epoch.
  var isProven = false
  /// Epochs since a step last came back.
  var fruitlessEpochs = 0
  static let maxFruitlessEpochs = 8
  /// Epochs without a step that came back before somebody is held to be at fault: one is a message
  /// that was lost with its connection.
  static let unluckyEpochs = 1
  /// Whether any epoch has served.
  var hasServed = false
  var protocolErrors: UInt64 = 0
  /// What keys may do; nil where there are none, and all may do all.
  var access: Access?
  /// Keys whose messages were refused since the list of keys last changed.
  var objectedTo: Set<PublicKey?> = []
  let began: ContinuousClock.Instant
  private var clock: AwakeClock
  /// When the event that is handled came, and every other time here: what the coordinator has stood
  /// still is left out.
  var now: ContinuousClock.Instant
  /// The same by the clock that all processes of the machine share.
  var systemNow: ContinuousClock.Instant
  private var actions: [CoordinatorAction] = []

  package init(
    model: ServedModel,
    plan: [PlannedWorker],
    limits: CoordinatorLimits,
    now: ContinuousClock.Instant,
    advice: RebalanceAdvisor.Limits? = nil
  ) {
    self.model = model
    self.plan = plan
    self.limits = limits
    self.now = now
    systemNow = now
    clock = AwakeClock(longestPause: limits.silence / 2, now: now)
    began = now
    gatheringSince = now
    clientsWatched = now
    outflow = Outflow(limits.unread)
    encoder = PromptEncoder(model)
    metrics = Metrics(stageCount: plan.count, at: now)
    depthTuner = DepthTuner(stageCount: plan.count)
    advisor = advice.map { RebalanceAdvisor(cost: model.cost, limits: $0) }
    sessions = Sessions(
      slotCount: limits.slots,
      rule: PrefixRule(model.config, limits),
      sharing: limits.prefixSharing
    )
    scheduler = Scheduler(model.config, limits, stageCount: plan.count)
  }

  /// Begins an epoch's own accounts.
  mutating func beginEpoch() {
    isProven = false
    workers.updateAll { $0.beginEpoch() }
    metrics.beginEpoch(stageCount: plan.count, at: now)
    depthTuner = DepthTuner(stageCount: plan.count)
    advisor?.placed(plan.map(\.slice), on: plan.map(\.name), at: now)
    scheduler = Scheduler(model.config, limits, stageCount: plan.count)
  }

  /// Takes an event and returns what to do about it, in order.
  ///
  /// - Parameters:
  ///   - event: What has happened.
  ///   - now: When, by the system's clock. A longer pause since the last event than half the silence
  ///     that a worker is allowed is taken for a standstill of the coordinator's own.
  /// - Returns: What the shell shall do.
  package mutating func handle(
    _ event: CoordinatorEvent,
    at now: ContinuousClock.Instant
  ) -> [CoordinatorAction] {
    readClock(now)
    switch event {
    case .message(let message, let peer, let payloads): receive(message, peer, payloads)
    case .malformed(let peer, let error):
      malformed(from: peer, error)
    case .refused(let refusal): refused(refusal)
    case .accessChanged(let access): accessChanged(to: access)
    case .unreachable(let peer): clientGone(peer)
    case .notSent(let message, let peer, let reason): notSent(message, to: peer, reason)
    case .encoded(let id, let tokens): encoded(id, tokens)
    case .firstStageNotConnected(let reason):
      if phase == .serving, let first = plan.first { distrust(first.name, reason) }
    case .stepNotSent(let sequence): stepNotSent(sequence)
    case .modelChanged(let change): modelChanged(change)
    case .workerExited(let name, let how, let willRestart):
      workerExited(name, how, willRestart: willRestart)
    case .tick: tick()
    case .stop: stop()
    }
    dispatch()
    moveIfDrained()
    metrics.activity.set(isActive: !flight.isEmpty, at: now)
    defer { actions = [] }
    return actions
  }

  private mutating func readClock(_ reading: ContinuousClock.Instant) {
    let before = clock.leftOut
    now = clock.read(reading)
    systemNow = reading
    let standstill = clock.leftOut - before
    if standstill > .zero {
      note("the coordinator stood still", ["duration": "\(standstill)"])
    }
  }

  /// Returns an instant of the system's clock on the axis of `now`.
  func place(_ instant: ContinuousClock.Instant) -> ContinuousClock.Instant {
    clock.place(instant)
  }

  mutating func act(_ action: CoordinatorAction) { actions.append(action) }

  mutating func send(_ message: Message, to peer: PeerID, payloads: [[Float]] = []) {
    outflow.sent(message, payloads, to: peer, at: now)
    actions.append(.send(message, to: peer, payloads: payloads))
  }

  mutating func note(
    _ message: String,
    _ metadata: [String: String] = [:],
    isWarning: Bool = false
  ) {
    actions.append(
      .note(CoordinatorNote(isWarning: isWarning, message: message, metadata: metadata))
    )
  }

  private mutating func receive(_ message: Message, _ peer: PeerID, _ payloads: [[Float]]) {
    if let objection = objection(to: message, from: peer) {
      refuse(message, peer, objection)
      return
    }
    switch message {
    case .hello(let hello): greet(hello, peer)
    case .heartbeat(let heartbeat): heard(heartbeat, peer)
    case .prepared(let prepared): self.prepared(prepared.epoch, peer)
    case .prepareFailed(let failure): prepareFailed(failure, peer)
    case .goodbye(let goodbye): farewell(goodbye, peer)
    case .stepDone(let done):
      if let name = worker(ofResults: peer, message) { stepDone(done, payloads, from: name) }
    case .stepFailed(let failure):
      if let name = worker(ofResults: peer, message) { stepFailed(failure, from: name) }
    case .moved(let moved): self.moved(moved, peer)
    case .generate(let generate): self.generate(generate, peer)
    case .evaluate(let evaluate): self.evaluate(evaluate, peer)
    case .cancel(let cancel): self.cancel(cancel.request, peer)
    case .receipt(let receipt): self.receipt(receipt, peer)
    case .rebalance(let rebalance): self.rebalance(rebalance, peer)
    case .drain(let drain): self.drain(drain, peer)
    case .statusRequest(let request): send(.statusReply(status(request.request)), to: peer)
    case .healthRequest(let request): answerHealth(request, peer)
    case .welcome, .refused, .assign, .shutdown, .step, .heartbeatAck, .accepted, .delta,
      .finished, .evaluated, .requestFailed, .statusReply, .healthReply, .move, .commit, .abandon,
      .kvRows, .rebalanced, .selfTest, .describeModel, .modelDescription, .pull, .chunk,
      .pullFailed, .pullReceipt, .modelPending:
      dropOutOfPlace(message, peer)
    }
  }

  /// Counts a message that could not be read; a request among them is refused with the field at fault.
  private mutating func malformed(from peer: PeerID?, _ error: WireError) {
    protocolErrors += 1
    note(
      "malformed message dropped",
      ["peer": peer?.description ?? "none", "reason": "\(error)"],
      isWarning: true
    )
    countNonsense(from: peer, "\(error)")
    if let peer, let request = error.request { refuse(request, peer, .invalid, "\(error)") }
  }

  private mutating func dropOutOfPlace(_ message: Message, _ peer: PeerID) {
    protocolErrors += 1
    note(
      "message out of place dropped",
      ["peer": peer.description, "message": message.name],
      isWarning: true
    )
    countNonsense(from: peer, "\(message.name) out of place")
  }

  /// Returns the worker whose results come from a peer; nobody else may send any.
  private mutating func worker(ofResults peer: PeerID, _ message: Message) -> String? {
    if let name = workers.name(ofResults: peer) { return name }
    // What a lost worker had still to say is no fault of anybody's.
    if !workers.wasSource(peer) { dropOutOfPlace(message, peer) }
    return nil
  }

  private mutating func stop() {
    phase = .stopping
    for id in sessions.numbers {
      fail(id, .shuttingDown, "the coordinator is stopping")
    }
    for (_, prompt) in encoding.sorted(by: { $0.key < $1.key }) {
      let reason = "the coordinator is stopping"
      refuse(prompt.generate.request, prompt.peer, .shuttingDown, reason)
    }
    encoding = [:]
    for worker in workers.all {
      send(.shutdown(Shutdown(reason: "the coordinator is stopping")), to: worker.peer)
    }
  }
}

extension Scheduler {
  init(_ config: ModelConfig, _ limits: CoordinatorLimits, stageCount: Int) {
    self.init(
      maxRows: limits.maxRows,
      maxLogitsRows: min(limits.maxRows, max(1, limits.maxLogits / config.vocabularySize)),
      stageCount: stageCount
    )
  }
}
