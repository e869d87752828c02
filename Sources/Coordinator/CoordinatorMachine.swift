// The coordinator as a value: events in, actions out, no socket and no clock. The same events bring the
// same actions in the same order, but for the random proofs of what is evaluated.
//
// Its state is in parts that keep their own promises, and the machine decides in what order they change:
// CoordinatorMachine+Workers.swift for the workers, +Clients.swift for the clients, +Steps.swift for the
// micro-batches, +Placement.swift and +Move.swift for the layers, +Recovery.swift for what goes wrong.

internal import Gemma
internal import Platform
package import Wire

/// The coordinator's state.
package struct CoordinatorMachine {
  let model: ServedModel
  let limits: CoordinatorLimits
  /// Whether the first placement is what the user has asked for: then it is refused, rather than changed,
  /// where a device cannot run it.
  let isPlanBinding: Bool
  /// `Host.bootID` of the coordinator's machine; empty if not known.
  package var machineID = ""
  /// What the answer of a request must conform to, whose prompt has become tokens; nil if anything is good.
  package var constrain: @Sendable (Generate) -> (any TokenConstraint)? = { _ in nil }
  /// Whether every micro-batch is reported with `stepTraced`.
  package var tracesSteps = false

  // The parts: what holds between them is in CoordinatorMachine+Invariants.swift.
  var epoch: Epoch
  var workers = Roster()
  var sessions: Sessions
  var flight = Flight()
  var measurements: Measurements
  var counters = Counters()
  var requests = ClientRequests()
  /// What clients have been sent and have not read.
  var outflow: Outflow
  var selfTests = SelfTests()
  /// What keys may do.
  var permissions = Permissions()

  /// Rows that a micro-batch of the placement may have: what all its devices prefer, within the limit.
  var stepRows: Int
  let encoder: PromptEncoder
  /// When clients were last checked for timeouts and disconnects.
  var clientsWatched: ContinuousClock.Instant
  /// What has happened to the model's files since they were opened; nil if nothing has.
  var modelChange: String?
  var protocolErrors: UInt64 = 0

  let began: ContinuousClock.Instant
  private var clock: AwakeClock
  /// The time of the current event, on the axis without standstills, like all other times here.
  package private(set) var now: ContinuousClock.Instant
  /// The same by the clock that all processes of the machine share.
  private(set) var systemNow: ContinuousClock.Instant
  private var actions: [CoordinatorAction] = []

  package init(
    model: ServedModel,
    plan: [PlannedWorker],
    isPlanBinding: Bool = true,
    limits: CoordinatorLimits,
    now: ContinuousClock.Instant,
    advice: RebalanceAdvisor.Limits? = nil
  ) {
    self.model = model
    self.limits = limits
    self.isPlanBinding = isPlanBinding
    self.now = now
    systemNow = now
    clock = AwakeClock(longestPause: limits.silence / 2, now: now)
    began = now
    clientsWatched = now
    epoch = Epoch(plan: plan, at: now)
    sessions = Sessions(
      slotCount: limits.slots,
      rule: PrefixRule(model.config, limits),
      sharing: limits.prefixSharing
    )
    measurements = Measurements(
      stageCount: plan.count,
      advisor: advice.map { RebalanceAdvisor(cost: model.cost, limits: $0) },
      at: now
    )
    outflow = Outflow(limits.unread)
    stepRows = limits.maxRows
    encoder = PromptEncoder(model)
  }

  /// The placement that runs, or is gathered for.
  var plan: [PlannedWorker] { epoch.plan }

  /// The state of the service, in one word.
  package var phaseName: String { epoch.phaseName }

  /// The placement that is prepared beside the one that runs; nil if there is none.
  var move: PlacementMove? { epoch.move }

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
    case .encoded(let id, let prompt): encoded(id, prompt)
    case .firstStageNotConnected(let reason):
      if epoch.isServing, let first = epoch.plan.first { evict(first.name, reason) }
    case .stepNotSent(let sequence): stepNotSent(sequence)
    case .modelChanged(let change): modelChanged(change)
    case .workerExited(let name, let how, let willRestart):
      workerExited(name, how, willRestart: willRestart)
    case .tick: tick()
    case .stop: stop()
    }
    dispatch()
    moveIfDrained()
    measurements.setActive(!flight.isEmpty, at: now)
    defer { actions = [] }
    return actions
  }

  /// Takes the time of an event, and says in the log what was left out since the last.
  private mutating func readClock(_ reading: ContinuousClock.Instant) {
    let before = clock.leftOut
    now = clock.read(reading)
    systemNow = reading
    let standstill = clock.leftOut - before
    if standstill > .zero {
      note("the coordinator was stopped for a while", ["duration": "\(standstill)"])
    }
  }

  /// Returns an instant of the system's clock on the axis of `now`.
  func place(_ instant: ContinuousClock.Instant) -> ContinuousClock.Instant {
    clock.place(instant)
  }

  // MARK: What goes out

  /// Adds something that the shell shall do.
  mutating func act(_ action: CoordinatorAction) { actions.append(action) }

  /// Sends a message, and counts what its client then has to read.
  mutating func send(_ message: Message, to peer: PeerID, payloads: [[Float]] = []) {
    outflow.sent(message, payloads, to: peer, at: now)
    actions.append(.send(message, to: peer, payloads: payloads))
  }

  /// Adds a line to the log.
  mutating func note(
    _ message: String,
    _ metadata: [String: String] = [:],
    isWarning: Bool = false
  ) {
    actions.append(
      .note(CoordinatorNote(isWarning: isWarning, message: message, metadata: metadata))
    )
  }

  // MARK: What comes in

  /// Handles a well-formed message, if its sender may send it.
  private mutating func receive(_ message: Message, _ peer: PeerID, _ payloads: [[Float]]) {
    if let objection = objection(to: message, from: peer) {
      refuse(message, peer, objection)
      return
    }
    switch message {
    case .hello(let hello): register(hello, peer)
    case .heartbeat(let heartbeat): heard(heartbeat, peer)
    case .prepared(let prepared): self.prepared(prepared.epoch, peer)
    case .prepareFailed(let failure): prepareFailed(failure, peer)
    case .goodbye(let goodbye): disconnect(goodbye, peer)
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

  /// Counts a message that no peer, or not this one, may send to a coordinator.
  private mutating func dropOutOfPlace(_ message: Message, _ peer: PeerID) {
    protocolErrors += 1
    note(
      "dropped an unexpected message",
      ["peer": peer.description, "message": message.name],
      isWarning: true
    )
    countNonsense(from: peer, "unexpected \(message.name)")
  }

  /// Returns the worker whose results come from a peer; nobody else may send any.
  private mutating func worker(ofResults peer: PeerID, _ message: Message) -> String? {
    if let name = workers.name(ofResults: peer) { return name }
    // Late messages of a lost worker are not an error.
    if !workers.wasSource(peer) { dropOutOfPlace(message, peer) }
    return nil
  }

  /// Ends all requests with an error and releases the workers.
  private mutating func stop() {
    epoch.stop()
    for id in requests.numbers {
      fail(id, .shuttingDown, "the coordinator is stopping")
    }
    for (id, prompt) in requests.beingEncoded {
      _ = requests.endEncoding(id)
      let reason = "the coordinator is stopping"
      turnAway(prompt.generate.request, prompt.peer, .shuttingDown, reason)
    }
    for worker in workers.all {
      send(.shutdown(Shutdown(reason: "the coordinator is stopping")), to: worker.peer)
    }
  }
}
