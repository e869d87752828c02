// A worker's control side as a value: it introduces itself, prepares the layers it is given, tells
// how it is, and ends when its coordinator does.

internal import Platform
package import Wire

/// What happens to a worker.
package enum WorkerEvent: Sendable {
  case message(Message)
  /// Time passed; with what the compute thread has counted, the process's resident bytes, and how the
  /// machine is.
  case tick(StageCounters, residentBytes: UInt64, vitals: Vitals = Vitals())
  /// Some of the weights are prepared.
  case loadProgress(epoch: UInt32, fraction: Double)
  /// The stage is in place and takes steps.
  case prepared(epoch: UInt32)
  case prepareFailed(epoch: UInt32, StageFailure)
  /// All keys and values of a move are sent and received.
  case moved(Moved)
  case moveFailed(epoch: UInt32, StageFailure)
  /// The device is gone; the step that it was lost in has been reported.
  case deviceLost(reason: String)
  /// The prepared stage runs from now on.
  case committed
  /// The model file has other bytes by now: what this worker computes is not to be trusted.
  case modelChanged(String)
  /// The user or the supervisor asks to stop.
  case stop
}

/// What a worker's shell shall do.
package enum WorkerAction: Sendable {
  case send(Message)
  /// Compile the stage and put it in place, then say `prepared`.
  case prepare(Assign)
  /// Move keys and values, then say `moved`.
  case move(Move)
  /// Put the epoch in place.
  case commit(epoch: UInt32)
  /// Let go of the epoch.
  case abandon(epoch: UInt32)
  /// Test the device between two steps; the counters will hold the result with this number.
  case selfTest(run: UInt32)
  /// The coordinator is silent: end the process if nobody listens where it was.
  case lookForCoordinator
  /// End the process: in good order, or with a reason.
  case exit(WorkerError?)
}

/// A worker's state.
package struct WorkerMachine {
  enum Phase: Hashable {
    case greeting(since: ContinuousClock.Instant, lastHello: ContinuousClock.Instant)
    case serving
    case ended
  }

  /// How long a coordinator may take to answer the first hello.
  static let patience = Duration.seconds(30)
  /// How often the hello is repeated until it is answered.
  static let helloInterval = Duration.seconds(1)
  /// How long a coordinator may be silent: it answers each heartbeat.
  ///
  /// One that was stopped for half a minute comes back to the workers it had. A new one at its
  /// endpoint is met at once, by a heartbeat that it refuses. The end of one that has started this
  /// worker is told by the lifeline, so it may be silent for ever.
  static let silence = Duration.seconds(60)
  /// After so much silence it is looked for, and how often.
  static let worry = Duration.seconds(5)
  static let lookInterval = Duration.seconds(1)

  private let hello: Hello
  /// Whether the end of the coordinator's process is noticed without a message.
  private let hasLifeline: Bool
  private var clock: AwakeClock
  private var phase: Phase
  private var lastHeard: ContinuousClock.Instant
  private var lastHeartbeat: ContinuousClock.Instant
  private var lastLook: ContinuousClock.Instant
  /// Something changed that the coordinator should see at once.
  private var hasNews = false
  private var heartbeatInterval = Duration.milliseconds(250)
  private var assigned: Assign?
  private var loadFraction = 0.0
  /// The number of the self-test last told.
  private var lastSelfTest: UInt32?
  private var actions: [WorkerAction] = []

  /// Begins with a hello; `actions` holds it.
  package init(hello: Hello, hasLifeline: Bool = false, now: ContinuousClock.Instant) {
    self.hello = hello
    self.hasLifeline = hasLifeline
    clock = AwakeClock(now: now)
    phase = .greeting(since: now, lastHello: now)
    lastHeard = now
    lastHeartbeat = now
    lastLook = now
    actions = [.send(.hello(hello))]
  }

  /// Returns what is to be done without any event: the first hello.
  package mutating func begin() -> [WorkerAction] {
    defer { actions = [] }
    return actions
  }

  /// Takes an event and returns what to do about it, in order.
  ///
  /// - Parameters:
  ///   - event: What has happened.
  ///   - systemNow: When, by the system's clock. A longer pause since the last event than a second is
  ///     taken for a standstill of the worker's own.
  /// - Returns: What the shell shall do.
  package mutating func handle(
    _ event: WorkerEvent,
    at systemNow: ContinuousClock.Instant
  ) -> [WorkerAction] {
    guard phase != .ended else { return [] }
    let now = clock.read(systemNow)
    switch event {
    case .message(let message): receive(message, now)
    case .tick(let counters, let residentBytes, let vitals):
      tick(counters, residentBytes, vitals, now, systemNow)
    case .loadProgress(let epoch, let fraction):
      if epoch == assigned?.epoch { loadFraction = fraction }
    case .prepared(let epoch):
      guard epoch == assigned?.epoch else { break }
      hasNews = true
      loadFraction = 1
      actions.append(.send(.prepared(Prepared(epoch: epoch))))
    case .prepareFailed(let epoch, let failure):
      fail(epoch, failure, isReported: epoch == assigned?.epoch)
    case .moveFailed(let epoch, let failure):
      // Also of a worker that is to lose all its layers, and so has no such assignment.
      fail(epoch, failure, isReported: true)
    case .deviceLost(let reason): exit(WorkerError(.device, reason))
    case .moved(let moved): actions.append(.send(.moved(moved)))
    case .committed: hasNews = true
    case .modelChanged(let change):
      let reason = "\(change) while it was in use"
      actions.append(.send(.goodbye(Goodbye(reason: reason))))
      exit(
        WorkerError(
          .weights,
          "\(reason): its weights are no longer those that are served; restore the old file, by "
            + "renaming, or restart the coordinator and the workers"
        )
      )
    case .stop:
      actions.append(.send(.goodbye(Goodbye(reason: "was asked to stop"))))
      exit(nil)
    }
    defer { actions = [] }
    return actions
  }

  /// Reports that an epoch could not be prepared, and ends if the device is gone.
  ///
  /// The report of a lost device is the worker's goodbye: the coordinator lets it go at once.
  private mutating func fail(_ epoch: UInt32, _ failure: StageFailure, isReported: Bool) {
    if isReported {
      actions.append(
        .send(
          .prepareFailed(
            PrepareFailed(
              epoch: epoch,
              code: failure.code,
              message: failure.reason,
              layers: failure.unsupportedLayers,
              lacksLogits: failure.lacksLogits
            )
          )
        )
      )
    }
    if failure.code == .device { exit(WorkerError(.device, failure.reason)) }
  }

  private mutating func exit(_ error: WorkerError?) {
    phase = .ended
    actions.append(.exit(error))
  }

  private mutating func receive(_ message: Message, _ now: ContinuousClock.Instant) {
    lastHeard = now
    switch message {
    case .welcome(let welcome):
      heartbeatInterval = .milliseconds(Int64(max(1, welcome.heartbeatMilliseconds)))
      phase = .serving
      hasNews = true
    case .refused(let refused):
      exit(WorkerError(.refused, "the coordinator refused this worker: \(refused.message)"))
    case .assign(let assign):
      assigned = assign
      loadFraction = 0
      actions.append(.prepare(assign))
    case .move(let move): actions.append(.move(move))
    case .commit(let commit): actions.append(.commit(epoch: commit.epoch))
    case .abandon(let abandon): actions.append(.abandon(epoch: abandon.epoch))
    case .selfTest(let test): actions.append(.selfTest(run: test.run))
    case .shutdown: exit(nil)
    default: break  // Heartbeat answers; anything else is not for a worker's control socket.
    }
  }

  private mutating func tick(
    _ counters: StageCounters,
    _ residentBytes: UInt64,
    _ vitals: Vitals,
    _ now: ContinuousClock.Instant,
    _ systemNow: ContinuousClock.Instant
  ) {
    if counters.selfTest?.run != lastSelfTest {
      lastSelfTest = counters.selfTest?.run
      hasNews = true
    }
    switch phase {
    case .greeting(let since, let lastHello):
      if now - since > Self.patience {
        exit(
          WorkerError(
            .unreachable,
            "no answer from the coordinator in \(Self.patience); is one running at this endpoint?"
          )
        )
      } else if now - lastHello > Self.helloInterval {
        phase = .greeting(since: since, lastHello: now)
        actions.append(.send(.hello(hello)))
      }
    case .serving:
      let silence = hasLifeline ? .zero : now - lastHeard
      if silence > Self.worry, now - lastLook >= Self.lookInterval {
        lastLook = now
        actions.append(.lookForCoordinator)
      }
      if silence > Self.silence {
        exit(WorkerError(.unreachable, "the coordinator has been silent for \(Self.silence)"))
      } else if hasNews || now - lastHeartbeat >= heartbeatInterval {
        lastHeartbeat = now
        hasNews = false
        let heartbeat = heartbeat(counters, residentBytes, vitals, now, systemNow)
        actions.append(.send(.heartbeat(heartbeat)))
      }
    case .ended: break
    }
  }

  private func heartbeat(
    _ counters: StageCounters,
    _ residentBytes: UInt64,
    _ vitals: Vitals,
    _ now: ContinuousClock.Instant,
    _ systemNow: ContinuousClock.Instant
  ) -> Heartbeat {
    let running = counters.stepBegan.map { max(0, (now - clock.place($0)) / .microseconds(1)) } ?? 0
    return Heartbeat(
      loadFraction: loadFraction,
      steps: counters.steps,
      stepInProgressMicroseconds: UInt64(running),
      residentBytes: residentBytes,
      kvBytes: counters.kvBytes,
      rejectedMessages: counters.rejectedMessages,
      clockMicroseconds: systemNow.microsecondsSinceBoot,
      availableBytes: vitals.availableBytes,
      temperature: vitals.temperature,
      selfTest: counters.selfTest,
      layerRows: counters.layerRows,
      skippedLayerRows: counters.skippedLayerRows,
      energyMicrojoules: vitals.energyMicrojoules
    )
  }
}
