// The coordinator's shell: one thread that owns the sockets and the worker processes, passes events
// to the machine, and performs the actions that it returns.

internal import CLinux
internal import Gemma
internal import Glibc
package import Logging
internal import ModelFiles
package import Platform
package import Wire

/// Serves an endpoint with a pipeline of workers.
package final class CoordinatorLoop {
  private var machine: CoordinatorMachine
  private let claim: EndpointClaim
  private let context: ZeroMQContext
  private let front: Socket
  private let security: Security
  private let authenticator: Authenticator?
  private let refusals: Mailbox<Refusal>
  private let firstStage: FirstStage
  private var upkeep = Upkeep(now: .now)
  private var reachabilityChecks: [ReachabilityCheck] = []
  private let supervisor: Supervisor?
  private let weights: WeightsDesk
  private let prompts: PromptDesk
  private let logger: Logger
  private let trace: TraceFile?
  private let onProgress: (Double) -> Void
  private let onReady: () -> Void
  private var failure: CoordinatorError?
  private var hasBeenReady = false
  /// The fraction of the weights that is prepared.
  private var loaded = 0.0

  /// How long workers may take to stop.
  private static let grace = Duration.seconds(3)

  /// Claims and binds the endpoint, and starts the workers.
  ///
  /// - Parameters:
  ///   - machine: The state to begin with.
  ///   - endpoint: Where clients and workers connect.
  ///   - security: Who may connect there, and how workers elsewhere are reached.
  ///   - supervisor: The workers to start here; nil if they are started elsewhere.
  ///   - weights: What workers without a model file pull theirs from.
  ///   - logger: Where to log.
  ///   - trace: Where to write a timeline; nil for none.
  ///   - onProgress: Called with the fraction of the weights prepared, while workers load.
  ///   - onReady: Called when prompts are accepted for the first time.
  /// - Throws: `WireError` if the endpoint is taken or cannot be bound, `CoordinatorError` if a
  ///   worker cannot be started.
  package init(
    machine: CoordinatorMachine,
    endpoint: Endpoint,
    security: Security = .localOnly,
    supervisor: Supervisor?,
    weights: WeightsDesk,
    logger: Logger,
    trace: TraceFile?,
    onProgress: @escaping (Double) -> Void,
    onReady: @escaping () -> Void
  ) throws {
    self.machine = machine
    self.supervisor = supervisor
    self.weights = weights
    self.logger = logger
    self.trace = trace
    self.machine.tracesSteps = trace != nil
    self.machine.machineID = Host.bootID
    self.onProgress = onProgress
    self.onReady = onReady
    prompts = try PromptDesk(machine.model)
    claim = try EndpointClaim(endpoint)
    context = try ZeroMQContext()
    self.security = security
    let refusals = try Mailbox<Refusal>()
    self.refusals = refusals
    authenticator = try security.authenticator(context) { refusals.post($0) }
    front = try Socket(
      context,
      role: .router,
      options: security.options(.control, listeningAt: endpoint)
    )
    try front.bind(endpoint)
    firstStage = FirstStage(context, security, logger: logger)
    if let note = try? machine.model.template.get().note {
      logger.warning("\(note)")
    }
    try supervisor?.startAll()
  }

  /// Serves until the descriptor is readable, or nothing can be served any more.
  ///
  /// - Parameters:
  ///   - stop: The descriptor.
  ///   - manager: Who is told in each turn that this loop lives, and what it does.
  /// - Throws: `CoordinatorError` if the machine gives up.
  package func run(untilReadable stop: CInt, for manager: ServiceManager = .absent) throws {
    defer {
      manager.tellStopping()
      shutDown()
    }
    while failure == nil {
      manager.takeTurn(status: status)
      let descriptors =
        [stop, weights.descriptor, prompts.descriptor] + (supervisor?.descriptors ?? [])
      let ready = try poll(
        sockets: [front],
        descriptors: descriptors,
        timeout: .milliseconds(50)
      )
      if ready.descriptors.contains(stop) { return }
      for exit in supervisor?.update() ?? [] {
        handle(.workerExited(name: exit.name, how: exit.how, willRestart: exit.willRestart))
      }
      for refusal in refusals.takeAll() { handle(.refused(refusal)) }
      noticeAccess()
      for event in firstStage.tryAgain(at: .now) { handle(event) }
      if let turnedAway = upkeep.run(at: .now) {
        logger.warning(
          "connections turned away",
          metadata: turnedAway.mapValues { "\($0)" }
        )
      }
      try receiveAll()
      for (id, prompt) in prompts.takeResults() { handle(.encoded(id: id, prompt)) }
      handle(.tick)
      answerPulls()
    }
    if let failure { throw failure }
  }

  /// What the pipeline does, in a line.
  private var status: String {
    let workers = machine.plan.count
    let missing = machine.missingWorkers
    return switch machine.phaseName {
    case "gathering" where missing.isEmpty: "all \(workers) workers are here"
    case "gathering":
      "waiting for \(missing.count) of \(workers) workers: \(missing.joined(separator: ", "))"
    case "preparing": "loading, \(Int(loaded * 100)) %"
    case "serving": "serving, \(machine.model.config.layers.count) layers on \(workers) workers"
    default: machine.phaseName
    }
  }

  private func receiveAll() throws {
    // Bounded, so that ticks and exits of children are handled under any load.
    for _ in 0..<1024 {
      guard let received = try front.receive() else { return }
      noticeAccess()
      switch received.content {
      case .success(let (message, payloads)):
        guard let peer = received.peer else { continue }
        if machine.objection(to: message, from: peer) == nil, pull(message, peer) { continue }
        handle(.message(message, from: peer, payloads: payloads))
      case .failure(let error): handle(.malformed(from: received.peer, error))
      }
    }
  }

  /// Passes the list of keys to the machine, if it has changed.
  ///
  /// This is done before each message. The list is read before a connection is accepted, so its
  /// messages are checked by that list or a later one.
  private func noticeAccess() {
    if let access = security.takeAccessChange() { handle(.accessChanged(access)) }
  }

  /// Passes a message to the weights desk; returns false if it is not a request for weights.
  private func pull(_ message: Message, _ peer: PeerID) -> Bool {
    do throws(WireError) { return try weights.take(message, from: peer) } catch {
      handle(.malformed(from: peer, error))
      return true
    }
  }

  /// Sends the weights that have been read, a few pieces at most.
  ///
  /// A piece that does not fit into a queue is dropped; the worker requests it again after a
  /// timeout (retry).
  private func answerPulls() {
    for answer in weights.takeAnswers() {
      switch answer {
      case .send(let message, let peer):
        weights.note(answer, try? front.send(message, to: peer))
      case .refuse(let error, let peer):
        weights.note(answer, nil)
        handle(.malformed(from: peer, error))
      }
    }
    for change in weights.takeChanges() { handle(.modelChanged(change)) }
  }

  private func handle(_ event: CoordinatorEvent) {
    var events = [event]
    while !events.isEmpty {
      for action in machine.handle(events.removeFirst(), at: .now) {
        if let consequence = perform(action) { events.append(consequence) }
      }
    }
    trace?.add(phase: machine.phaseName, at: machine.now)
  }

  /// Performs an action, and returns its result as an event if the machine needs it.
  private func perform(_ action: CoordinatorAction) -> CoordinatorEvent? {
    switch action {
    case .send(let message, let peer, let payloads):
      return send(message, payloads, to: peer)
    case .encode(let text):
      do throws(PlatformError) { try prompts.take(text) } catch {
        return .encoded(id: text.id, .failure(PromptError(.invalid, "\(error)")))
      }
    case .forgetEncoding(let id): prompts.forget(id)
    case .connectFirstStage(let endpoint, let key): return connectFirstStage(endpoint, key)
    case .sendStep(let step):
      return firstStage.send(step) ? nil : .stepNotSent(sequence: step.sequence)
    case .stepTraced(let step): trace?.add(step)
    case .kill(let worker): supervisor?.kill(worker)
    case .proven: supervisor?.forgive()
    case .release(let worker): supervisor?.release(worker)
    case .note(let note): log(note)
    case .progress(let fraction):
      loaded = fraction
      onProgress(fraction)
    case .ready:
      supervisor?.restarts = true
      if !hasBeenReady { onReady() }
      hasBeenReady = true
    case .fail(let error): failure = error
    }
    return nil
  }

  private func send(
    _ message: Message,
    _ payloads: [[Float]],
    to peer: PeerID
  ) -> CoordinatorEvent? {
    do throws(WireError) {
      switch try front.send(message, payloads: payloads, to: peer) {
      case .sent: return nil
      case .unreachable: return .unreachable(peer)
      case .full: return .notSent(message, to: peer, reason: "its queue is full")
      }
    } catch {
      return .notSent(message, to: peer, reason: "\(error)")
    }
  }

  private func connectFirstStage(_ endpoint: String, _ key: PublicKey?) -> CoordinatorEvent? {
    do {
      try firstStage.connect(endpoint, key)
      checkReachability(of: PeerAddress(try Endpoint(endpoint), key: key))
      return nil
    } catch {
      return .firstStageNotConnected(reason: "cannot connect to \(endpoint): \(error)")
    }
  }

  /// Logs if the first stage cannot be reached, so that steps to it would be lost.
  private func checkReachability(of peer: PeerAddress) {
    reachabilityChecks.removeAll { $0.endIfDone() }
    guard !peer.endpoint.isLocal else { return }
    let logger = logger
    let check = try? ReachabilityCheck(peer, in: context, security) { reason in
      logger.warning(
        "first worker cannot be reached",
        metadata: ["endpoint": "\(peer.endpoint)", "reason": "\(reason)"]
      )
    }
    if let check { reachabilityChecks.append(check) }
  }

  private func log(_ note: CoordinatorNote) {
    trace?.add(note, at: machine.now)
    logger.log(
      level: note.isWarning ? .warning : .info,
      "\(note.message)",
      metadata: note.metadata.mapValues { "\($0)" }
    )
  }

  private func shutDown() {
    handle(.stop)
    trace?.close(at: machine.now)
    weights.close()
    prompts.close()
    supervisor?.stopAll(grace: Self.grace)
    for check in reachabilityChecks { check.end() }
    firstStage.close()
    front.close()
    authenticator?.close()
    context.close()
    claim.release()
  }
}
