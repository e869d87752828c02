// The compute thread: it owns the data sockets, receives steps from the previous stage, runs them,
// and sends their activations directly to the next stage. Heartbeats come from another thread, so
// they go on during a long step. DataSockets.swift has its sockets.

internal import Compute
internal import Glibc
internal import Logging
internal import Platform
internal import Wire

/// A command of the control thread to the compute thread.
enum ComputeCommand: Sendable {
  /// Keep a stage beside the one that runs, until its epoch begins; its results will go to `next`.
  case install(StageTransfer, next: PeerAddress?)
  case move(Move)
  case commit(epoch: UInt32)
  case abandon(epoch: UInt32)
  /// Run a self-test with this number and put its result into the counters.
  case selfTest(run: UInt32)
  /// Free a stage that a loader has borrowed, or has made although it is no longer needed.
  case release(StageTransfer)
  case stop
}

/// A report of the compute thread to the control thread.
enum ComputeReport: Sendable {
  /// The data socket listens.
  case listening(Endpoint)
  case installed(epoch: UInt32)
  case moved(Moved)
  case moveFailed(epoch: UInt32, StageFailure)
  /// A step, which has been reported, has failed because the device is gone.
  case deviceLost(reason: String)
  /// The prepared stage runs from now on.
  case committed
  /// The thread cannot go on.
  case failed(WorkerError)
}

/// Passes a stage from one thread to another: from the loader that made it to the compute thread,
/// or from the compute thread to a loader that borrows it, and back.
///
/// `Executable` requires that a stage be freed on the compute thread. So the thread that puts a
/// stage in here keeps no reference to it, and the reference that the compute thread takes out is
/// the last one.
final class StageTransfer: Sendable {
  // Of a stage that runs, a loader reads only what `Backend.compile` may share.
  private let stage: Lock<Stage?>

  init(_ stage: Stage) { self.stage = Lock(stage) }

  /// Returns the stage and removes it; nil from the second call on.
  func take() -> Stage? {
    stage.withLock { stage in
      defer { stage = nil }
      return stage
    }
  }

  /// Runs `body` with the stage; `body` must not keep a reference to it.
  func borrow<Result, Failure: Error>(
    _ body: (Stage?) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try stage.withLock { (stage) throws(Failure) in try body(stage) }
  }
}

/// The compute thread of a worker.
final class ComputeLoop: Sendable {
  let commands: Mailbox<ComputeCommand>
  let reports: Mailbox<ComputeReport>
  let counters = Lock(StageCounters())
  /// The stage that runs, for loaders to borrow.
  private let running = Lock<Stage?>(nil)
  /// How many commits the control thread has ordered, and how many of them are done.
  private let commits = Lock((ordered: 0, done: 0))
  /// The keys of the workers that may send steps.
  ///
  /// They are checked for each message, because a connection stays open when its key is removed.
  let admitted = Lock<Set<PublicKey>>([])
  private let context: ZeroMQContext
  private let name: String
  private let listen: Endpoint
  private let coordinator: Endpoint
  private let identity: PeerID
  private let security: Security
  private let logger: Logger
  private let backend: any Backend

  init(
    context: ZeroMQContext,
    name: String,
    listen: Endpoint,
    coordinator: Endpoint,
    identity: PeerID,
    security: Security,
    backend: any Backend,
    logger: Logger
  ) throws(PlatformError) {
    commands = try Mailbox()
    reports = try Mailbox()
    self.context = context
    self.name = name
    self.listen = listen
    self.coordinator = coordinator
    self.identity = identity
    self.security = security
    self.backend = backend
    self.logger = logger
  }

  /// Has the compute thread switch to the stage that is prepared for an epoch.
  func commit(_ epoch: UInt32) {
    commits.withLock { $0.ordered += 1 }
    commands.post(.commit(epoch: epoch))
  }

  /// Lends the running stage to a loader, so that the next stage shares weights and caches with it;
  /// nil if none runs.
  ///
  /// What is lent is the stage that was committed last. The compute thread may not have got round to that yet: then this
  /// waits, and not for long, since no step is in flight at a commit. From an older stage the next one would lack the
  /// caches that have come since.
  ///
  /// The loader must give it back with `release` in all cases.
  ///
  /// - Parameter check: Throws if nobody waits for the loader any more.
  /// - Returns: The stage.
  /// - Throws: What `check` throws.
  func lendRunning(check: () throws -> Void) throws -> StageTransfer? {
    let ordered = commits.withLock { $0.ordered }
    while commits.withLock({ $0.done < ordered }) {
      try check()
      usleep(1000)
    }
    return running.withLock { $0.map { StageTransfer($0) } }
  }

  /// Runs until the stop command; must be called on the thread that computes.
  ///
  /// When it returns, all stages have been freed on this thread. Therefore the loaders must have
  /// ended before the stop command is posted.
  func run() {
    compute()
    running.withLock { $0 = nil }
  }

  private func compute() {
    do {
      let sockets = try DataSockets(
        context,
        security,
        listen: listen,
        coordinator: coordinator,
        identity: identity
      )
      defer { sockets.close() }
      // The self-test runs before the worker sends its hello, so the first heartbeat reports the
      // result.
      testDevice(0)
      reports.post(.listening(sockets.listening))
      try serve(sockets)
    } catch {
      reports.post(
        .failed(WorkerError(.system, "the data plane failed", underlying: error))
      )
      awaitStop()
    }
  }

  /// Frees the stages that loaders have made or borrowed, until the stop command.
  private func awaitStop() {
    while true {
      // If even this poll fails, the commands are read without waiting.
      _ = try? poll(sockets: [], descriptors: [commands.descriptor], timeout: nil)
      for command in commands.takeAll() {
        switch command {
        case .install(let transfer, _), .release(let transfer): _ = transfer.take()
        case .commit: commits.withLock { $0.done += 1 }
        case .move, .abandon, .selfTest: break
        case .stop: return
        }
      }
    }
  }

  private func serve(_ sockets: DataSockets) throws {
    var stages = StagePair()
    /// Keys and values that the socket's queue had no room for.
    var unsent: OutgoingRows?
    while true {
      _ = try poll(
        sockets: [sockets.input],
        descriptors: [commands.descriptor],
        // A full queue has no descriptor to wait for, so it is retried after a millisecond. Rows
        // that are sent early are sent between two steps.
        timeout: unsent != nil ? .milliseconds(1) : stages.isSendingEarly ? .zero : nil
      )
      for command in commands.takeAll() {
        switch command {
        case .install(let transfer, let next):
          // A loader may end after the loader of a later epoch.
          guard let stage = transfer.take(), stages.install(stage, next: next) else { continue }
          reports.post(.installed(epoch: stage.epoch))
        case .move(let order):
          attempt(order.epoch) { () throws(WorkerError) in try stages.begin(order) }
        case .commit(let epoch):
          defer { commits.withLock { $0.done += 1 } }
          if stages.commit(epoch) { try committed(stages, sockets) }
        case .abandon(let epoch):
          stages.abandon(epoch)
          unsent = nil
          sockets.closeExports()
        case .selfTest(let run): testDevice(run)
        case .release(let transfer): _ = transfer.take()
        case .stop: return
        }
      }
      // Commands are read again after each message.
      if let received = try sockets.input.receive() { try take(received, &stages, sockets) }
      export(&stages, &unsent, sockets)
    }
  }

  /// Does a part of a move and reports its failure.
  private func attempt(_ epoch: UInt32, _ part: () throws(WorkerError) -> Void) {
    do {
      try part()
    } catch {
      reports.post(.moveFailed(epoch: epoch, StageFailure(error, on: backend)))
    }
  }

  /// Sends keys and values until the queues are full (backpressure), and reports a complete move.
  private func export(
    _ stages: inout StagePair,
    _ unsent: inout OutgoingRows?,
    _ sockets: DataSockets
  ) {
    do throws(WorkerError) {
      while true {
        if unsent == nil { unsent = try stages.nextExport() }
        guard let outgoing = unsent else { break }
        guard try sockets.export(outgoing) else { return }
        unsent = nil
        // Waiting steps take precedence over rows that are sent early.
        if stages.isSendingEarly { return }
      }
      if let moved = try stages.completeMove() { reports.post(.moved(moved)) }
    } catch {
      let epoch = stages.moveEpoch ?? 0
      unsent = nil
      reports.post(.moveFailed(epoch: epoch, StageFailure(error, on: backend)))
    }
  }

  /// Switches to the stage of a new epoch.
  private func committed(_ stages: StagePair, _ sockets: DataSockets) throws {
    running.withLock { $0 = stages.running }
    if stages.running == nil { counters.withLock { $0.kvBytes = 0 } }
    let name = name
    let logger = logger
    // Without this socket no step can be handed on, so the thread waits for it; heartbeats go on
    // meanwhile.
    try Scarcity.waitOut(onWait: { error in
      logger.warning(
        "no socket for the connection to the next stage; retrying",
        metadata: ["worker": "\(name)", "reason": "\(error)"]
      )
    }) { () throws(WireError) in try sockets.connectNext(to: stages.next) }
    sockets.closeExports()
    reports.post(.committed)
  }

  private func testDevice(_ run: UInt32) {
    let report = DeviceTest.run(run, on: backend)
    counters.withLock { $0.selfTest = report }
    if !report.failure.isEmpty {
      logger.warning(
        "self-test failed",
        metadata: ["worker": "\(name)", "reason": "\(report.failure)"]
      )
    }
  }

  private func take(
    _ received: Received,
    _ stages: inout StagePair,
    _ sockets: DataSockets
  ) throws {
    if let key = received.peer?.key, !security.allows(key: key),
      !admitted.withLock({ $0.contains(key) })
    {
      reject("message refused", "the key \(key) is no longer admitted")
      return
    }
    switch received.content {
    case .failure(let error): reject("malformed message refused", "\(error)")
    case .success(let (.step(step), payloads)):
      let (stage, isNew) = stages.stage(for: step)
      if isNew { try committed(stages, sockets) }
      guard let stage else {
        reject("step refused", "no layers are prepared")
        return
      }
      if let reason = stage.reasonToDrop(step) {
        reject("step dropped", reason)
        return
      }
      run(step, payloads, stage, sockets)
    case .success(let (.kvRows(header), payloads)):
      do throws(WorkerError) {
        try stages.take(header, payloads)
      } catch {
        reject("keys and values refused", "\(error)")
        if stages.prepared?.epoch == header.epoch {
          reports.post(.moveFailed(epoch: header.epoch, StageFailure(error, on: backend)))
        }
      }
    case .success(let (message, _)): reject("unexpected message refused", message.name)
    }
  }

  /// Counts a refused peer, and logs it the first time.
  func refused(_ refusal: Refusal) {
    counters.withLock { $0.rejectedMessages += 1 }
    guard !refusal.isRepeated else { return }
    logger.warning(
      "peer refused",
      metadata: [
        "worker": "\(name)", "peer": "\(refusal.address.isEmpty ? "unknown" : refusal.address)",
        "reason": "\(refusal.reason)",
      ]
    )
  }

  private func reject(_ what: String, _ reason: String) {
    counters.withLock { $0.rejectedMessages += 1 }
    logger.warning("\(what)", metadata: ["worker": "\(name)", "reason": "\(reason)"])
  }

  private func run(
    _ step: Step,
    _ payloads: [[Float]],
    _ stage: Stage,
    _ sockets: DataSockets
  ) {
    counters.withLock { $0.stepBegan = ContinuousClock.now }
    do {
      switch try stage.run(step, payloads: payloads) {
      case .handOff(let next, let activations):
        let outcome = try sockets.next?.send(.step(next), payloads: activations)
        if outcome != .sent {
          fail(step, .handOff, "the next stage accepts no more steps", sockets)
        }
      case .done(let done, let logits):
        // Sending fails only if the coordinator has ended, and then this process ends, too.
        _ = try sockets.results.send(.stepDone(done), payloads: logits)
      case .notFinite(let slots, let reason):
        fail(step, .notFinite, reason, slots: slots, sockets)
      }
    } catch {
      let code = FailureCode(error)
      fail(step, code, "\(error)", sockets)
      if code == .device { reports.post(.deviceLost(reason: "\(error)")) }
    }
    count(step, stage)
  }

  /// Reports to the coordinator that a step has failed here.
  private func fail(
    _ step: Step,
    _ code: FailureCode,
    _ reason: String,
    slots: [Int] = [],
    _ sockets: DataSockets
  ) {
    reject("step failed", reason)
    let failure = StepFailed(
      epoch: step.epoch,
      sequence: step.sequence,
      worker: name,
      code: code,
      message: reason,
      slots: slots
    )
    _ = try? sockets.results.send(.stepFailed(failure))
  }

  private func count(_ step: Step, _ stage: Stage) {
    let kvBytes = UInt64(stage.runner.kvByteCount)
    let layerRows = stage.runner.program.layerRows(
      all: step.rows.count,
      wanted: step.rows.count { $0.output != .none }
    )
    counters.withLock { counters in
      counters.stepBegan = nil
      counters.steps += 1
      counters.layerRows += UInt64(layerRows.computed)
      counters.skippedLayerRows += UInt64(layerRows.skipped)
      counters.kvBytes = kvBytes
    }
  }
}
