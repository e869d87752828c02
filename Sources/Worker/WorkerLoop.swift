// The worker's shell: the control thread with its socket, the compute thread, and a loader thread
// while layers are prepared.

package import Compute
internal import Gemma
internal import Glibc
package import Logging
package import Platform
package import Wire

/// The options of a worker.
package struct WorkerOptions: Sendable {
  /// The name of the place that the worker takes in the pipeline; empty for the first free one.
  package var name: String
  package var coordinator: Endpoint
  /// The endpoint at which the worker receives steps.
  package var listen: Endpoint
  /// A descriptor that reaches end of file when the coordinator's process ends; nil if the
  /// coordinator did not start this worker.
  package var lifeline: CInt?
  /// See `ModelConfig.passesAllLayers`.
  package var passesAllLayers: Bool
  /// Whether steps tell how large the inputs of products were; see `Program.observesInputs`.
  package var observesInputs: Bool
  /// Which peers may send steps to this worker, and how to connect to the coordinator.
  package var security: Security

  package init(
    name: String,
    coordinator: Endpoint,
    listen: Endpoint,
    lifeline: CInt?,
    passesAllLayers: Bool,
    observesInputs: Bool = false,
    security: Security = .localOnly
  ) {
    self.name = name
    self.coordinator = coordinator
    self.listen = listen
    self.lifeline = lifeline
    self.passesAllLayers = passesAllLayers
    self.observesInputs = observesInputs
    self.security = security
  }
}

/// Runs a worker process from its hello to its end.
package final class WorkerLoop {
  private let options: WorkerOptions
  private let model: WorkerModel
  private let backend: any Backend
  private let logger: Logger
  private let context: ZeroMQContext
  private let control: Socket
  private let compute: ComputeLoop
  /// The identity of the socket that sends results.
  ///
  /// It is random, so that no other worker can name it in its hello.
  private let resultsIdentity: PeerID
  private let authenticator: Authenticator?
  private let loads: Mailbox<WorkerEvent>
  private let vitals: VitalsReader
  private var computeThread: Thread?
  /// The loader threads by number, one for each assignment.
  ///
  /// An earlier one may still run when the next begins.
  private var loaders: [Int: Thread] = [:]
  private var loaderCount = 0
  /// The assignment to prepare when a loader has ended or the system has a thread again.
  ///
  /// A later assignment replaces it.
  private var waiting: (assign: Assign, until: ContinuousClock.Instant?)?
  private var watch: ModelWatch?
  private var upkeep = Upkeep(now: .now)
  /// The endpoint at which steps are received; nil before the compute thread has bound it.
  private var listening: Endpoint?
  /// The numbers of loaders that have ended.
  private let endedLoaders: Mailbox<Int>
  /// The epoch to prepare; loaders of other epochs stop.
  private let wanted = Lock<UInt32?>(nil)

  package init(
    _ options: WorkerOptions,
    model: WorkerModel,
    backend: any Backend,
    logger: Logger
  ) throws {
    self.options = options
    self.model = model
    self.backend = backend
    self.logger = logger
    context = try ZeroMQContext()
    resultsIdentity = PeerID((0..<16).map { _ in UInt8.random(in: 1...255) })
    let security = options.security
    control = try Socket(
      context,
      role: .dealer,
      options: security.options(.control, connectingToCoordinator: options.coordinator)
    )
    let compute = try ComputeLoop(
      context: context,
      name: options.name,
      listen: options.listen,
      coordinator: options.coordinator,
      identity: resultsIdentity,
      security: security,
      backend: backend,
      logger: logger
    )
    self.compute = compute
    authenticator = try security.authenticator(context) { compute.refused($0) }
    loads = try Mailbox()
    endedLoaders = try Mailbox()
    vitals = VitalsReader(backend.device.sensors)
  }

  /// Serves until the coordinator ends, or `stop` is readable.
  ///
  /// The service manager hears of the control thread's life, which goes on during long steps and loads: whether a step
  /// takes too long is for the coordinator to judge, which knows what a step should take.
  ///
  /// - Parameters:
  ///   - stop: The descriptor.
  ///   - manager: Who is told that this worker can be given layers, and then in each turn that it lives.
  /// - Throws: `WorkerError` or `WireError` if the worker cannot go on.
  package func run(untilReadable stop: CInt, for manager: ServiceManager = .absent) throws {
    let compute = compute
    computeThread = try Thread { compute.run() }
    defer {
      manager.tellStopping()
      shutDown()
    }
    try watchModel()
    let listening = try waitForDataSocket()
    self.listening = listening
    try control.connect(options.coordinator)
    var machine = WorkerMachine(
      hello: hello(dataEndpoint: listening),
      hasLifeline: options.lifeline != nil,
      now: .now
    )
    if let end = try perform(machine.begin()) { return try end.get() }
    manager.tellReady()
    manager.tell(status: "\(backend.device.name), for the coordinator at \(options.coordinator)")
    while true {
      manager.takeTurn()
      for event in try nextEvents(stop) {
        if let end = try perform(machine.handle(event, at: .now)) { return try end.get() }
      }
    }
  }

  /// Starts to watch a local model's files for changes.
  ///
  /// Those of a cache are not watched, because this worker writes them.
  private func watchModel() throws {
    guard case .local(let checkpoint, let fingerprint) = model else { return }
    let loads = loads
    watch = try ModelWatch(checkpoint, fingerprint: fingerprint, logger: logger) {
      loads.post(.modelChanged($0))
    }
  }

  private func hello(dataEndpoint: Endpoint) -> Hello {
    Hello(
      name: options.name,
      device: Device(backend.device),
      pid: Int(getpid()),
      fingerprint: model.fingerprint,
      modelName: model.checkpoint.name,
      layerCount: model.checkpoint.config.layers.count,
      dataEndpoint: dataEndpoint.description,
      resultsIdentity: resultsIdentity,
      dataKey: options.security.publicKey(at: dataEndpoint),
      machine: Host.bootID
    )
  }

  /// Waits until the compute thread has bound its socket, because the hello must name the endpoint.
  private func waitForDataSocket() throws -> Endpoint {
    _ = try poll(
      sockets: [],
      descriptors: [compute.reports.descriptor],
      timeout: .seconds(10)
    )
    for report in compute.reports.takeAll() {
      switch report {
      case .listening(let endpoint): return endpoint
      case .failed(let error): throw error
      case .installed, .moved, .moveFailed, .committed, .deviceLost: break
      }
    }
    throw WorkerError(.system, "the data socket could not be bound", context: "\(options.listen)")
  }

  private func nextEvents(_ stop: CInt) throws -> [WorkerEvent] {
    var descriptors = [
      stop, compute.reports.descriptor, loads.descriptor, endedLoaders.descriptor,
    ]
    if let lifeline = options.lifeline { descriptors.append(lifeline) }
    let ready = try poll(
      sockets: [control],
      descriptors: descriptors,
      timeout: .milliseconds(100)
    )
    var events: [WorkerEvent] = []
    if ready.descriptors.contains(stop) { events.append(.stop) }
    if let lifeline = options.lifeline, ready.descriptors.contains(lifeline) {
      // Nothing is ever written to the lifeline, so that readable means end of file.
      EndpointClaim.removeIfAbandoned(options.coordinator)
      // A running step may take seconds more, and nobody waits for its result.
      _exit(EXIT_FAILURE)
    }
    for _ in 0..<64 {
      guard let received = try control.receive() else { break }
      switch received.content {
      case .success(let (message, _)): events.append(.message(message))
      case .failure(let error):
        logger.warning("malformed message dropped", metadata: ["reason": "\(error)"])
      }
    }
    for report in compute.reports.takeAll() {
      switch report {
      case .installed(let epoch): events.append(.prepared(epoch: epoch))
      case .moved(let moved): events.append(.moved(moved))
      case .moveFailed(let epoch, let failure): events.append(.moveFailed(epoch: epoch, failure))
      case .deviceLost(let reason): events.append(.deviceLost(reason: reason))
      case .committed: events.append(.committed)
      case .failed(let error): throw error
      case .listening: break
      }
    }
    events += loads.takeAll()
    for loader in endedLoaders.takeAll() { loaders.removeValue(forKey: loader)?.join() }
    if loaders.count < Self.maxLoaders, let (assign, until) = waiting {
      waiting = nil
      load(assign, until: until)
    }
    if let turnedAway = upkeep.run(at: .now) {
      logger.warning("connections turned away", metadata: turnedAway.mapValues { "\($0)" })
    }
    events.append(
      .tick(
        compute.counters.withLock { $0 },
        residentBytes: SystemMemory.resident,
        vitals: vitals.read(at: .now)
      )
    )
    return events
  }

  /// Performs the actions of the machine; returns the result of the worker if it ends.
  private func perform(_ actions: [WorkerAction]) throws -> Result<Void, WorkerError>? {
    for action in actions {
      switch action {
      case .send(let message): _ = try control.send(message)
      case .prepare(let assign): prepare(assign)
      case .move(let move): compute.commands.post(.move(move))
      case .commit(let epoch): compute.commit(epoch)
      case .abandon(let epoch):
        wanted.withLock { if $0 == epoch { $0 = nil } }
        if waiting?.assign.epoch == epoch { waiting = nil }
        compute.commands.post(.abandon(epoch: epoch))
      case .selfTest(let run): compute.commands.post(.selfTest(run: run))
      case .lookForCoordinator:
        // If this cannot be checked, for example because no descriptor is left, the coordinator is
        // not assumed to have ended.
        guard (try? options.coordinator.isListening()) == false else { continue }
        return .failure(WorkerError(.unreachable, "the coordinator has ended"))
      case .exit(let error): return error.map { .failure($0) } ?? .success(())
      }
    }
    return nil
  }

  /// The most loaders that run at once: the one whose stage is wanted, and one of an earlier epoch
  /// that has not noticed yet that its stage is no longer wanted.
  private static let maxLoaders = 2

  /// Prepares a stage, now or as soon as a loader is free.
  private func prepare(_ assign: Assign) {
    authenticator?.admit(assign.peerKeys)
    compute.admitted.withLock { $0 = Set(assign.peerKeys) }
    wanted.withLock { $0 = assign.epoch }
    guard loaders.count < Self.maxLoaders else {
      // The assignment that waited before is for an epoch that is no longer wanted.
      waiting = (assign, nil)
      return
    }
    load(assign)
  }

  /// How long a worker waits until the system has a thread for it again.
  private static let threadPatience = Duration.seconds(10)

  /// Starts a loader.
  ///
  /// If the system has no thread for it now, the assignment waits for a retry.
  private func load(_ assign: Assign, until deadline: ContinuousClock.Instant? = nil) {
    do throws(PlatformError) {
      try startLoader(assign)
    } catch {
      let until = deadline ?? .now + Self.threadPatience
      if error.isScarcity, .now < until {
        waiting = (assign, until)
      } else {
        loads.post(.prepareFailed(epoch: assign.epoch, StageFailure(error, on: backend)))
      }
    }
  }

  /// Prepares a stage on a thread of its own, so that heartbeats go on meanwhile.
  private func startLoader(_ assign: Assign) throws(PlatformError) {
    let (model, backend, compute, loads, wanted) = (model, backend, compute, loads, wanted)
    var adjusted = model.checkpoint.config
    adjusted.passesAllLayers = options.passesAllLayers
    let config = adjusted
    let observesInputs = options.observesInputs
    loaderCount += 1
    let (number, endedLoaders) = (loaderCount, endedLoaders)
    let (context, security) = (context, options.security)
    let here = listening.map { "\($0)" } ?? ""
    let work: @Sendable () -> Void = {
      defer { endedLoaders.post(number) }
      var program: Program?
      do {
        let next = try assign.next()
        let check = {
          guard wanted.withLock({ $0 == assign.epoch }) else {
            throw WorkerError(.stopped, "epoch \(assign.epoch) is no longer wanted")
          }
        }
        let running = try compute.lendRunning(check: check)
        defer {
          if let running { compute.commands.post(.release(running)) }
        }
        var lowered = try config.lower(
          assign.slice(of: config.line),
          weights: model.checkpoint
        )
        lowered.observesInputs = observesInputs
        program = lowered
        let made = try Self.makeStage(
          assign,
          lowered,
          model,
          backend,
          sharing: running,
          check: check,
          progress: { loads.post(.loadProgress(epoch: assign.epoch, fraction: $0)) }
        )
        do {
          // Checked last, when the next worker has certainly been told which keys to let in.
          if let next {
            try Self.requireReachable(next, from: here, context, security, check: check)
          }
        } catch {
          compute.commands.post(.release(made))
          throw error
        }
        compute.commands.post(.install(made, next: next))
      } catch {
        let failure = StageFailure(error, preparing: program, on: backend)
        loads.post(.prepareFailed(epoch: assign.epoch, failure))
      }
    }
    loaders[number] = try Thread(work)
  }

  /// Checks that steps can be handed on.
  ///
  /// Otherwise they would be lost later without a trace of the cause.
  private static func requireReachable(
    _ next: PeerAddress,
    from here: String,
    _ context: ZeroMQContext,
    _ security: Security,
    check: () throws -> Void
  ) throws {
    do {
      try Reachability.require(next, in: context, security, check: check)
    } catch let error as WireError where error.code == .unreachable {
      throw WorkerError(
        .handOff,
        "the worker at \(here) hands its steps on to the one at \(next.endpoint) and \(error.message); "
          + "start that one with a --listen address that this machine reaches"
      )
    }
  }

  /// The share of pulling in the progress of loading, if weights are pulled.
  ///
  /// It is large because links are slower than memory.
  private static let pulledShare = 0.8

  /// Returns a new stage; its transfer holds the only reference to it.
  private static func makeStage(
    _ assign: Assign,
    _ program: Program,
    _ model: WorkerModel,
    _ backend: any Backend,
    sharing running: StageTransfer?,
    check: () throws -> Void,
    progress: (Double) -> Void
  ) throws -> StageTransfer {
    let limits = assign.executableLimits
    let weights: any WeightSource
    var pulledShare = 0.0
    switch model {
    case .local(let checkpoint, _): weights = checkpoint
    case .pulled(let pulled):
      pulledShare = Self.pulledShare
      try pulled.fetch(program, check: check) { progress(pulledShare * $0) }
      weights = pulled
    }
    func prepare(sharing runner: ProgramRunner?) throws -> ProgramRunner {
      try backend.prepare(
        program,
        weights: weights,
        limits: limits,
        sharing: runner,
        progress: { progress(pulledShare + (1 - pulledShare) * $0) }
      )
    }
    let runner =
      if let running {
        try running.borrow { try prepare(sharing: $0?.runner) }
      } else {
        try prepare(sharing: nil)
      }
    return StageTransfer(
      Stage(
        epoch: assign.epoch,
        runner: runner,
        vocabularySize: model.checkpoint.config.vocabularySize,
        layout: program.observesInputs ? ObservationLayout(model.checkpoint.config) : nil,
        suppressed: try assign.suppressed(
          vocabularySize: model.checkpoint.config.vocabularySize
        )
      )
    )
  }

  private func shutDown() {
    wanted.withLock { $0 = nil }
    for loader in loaders.values { loader.join() }
    watch?.close()
    compute.commands.post(.stop)
    computeThread?.join()
    control.close()
    authenticator?.close()
    context.close()
  }
}
