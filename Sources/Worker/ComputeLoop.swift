// The thread that computes: it owns the data sockets, takes steps from the stage before, runs them,
// and hands their activations straight to the stage behind. Nothing else runs on it, so heartbeats
// go on during a long step.

internal import Compute
internal import Glibc
internal import Logging
internal import Wire

/// What the control thread tells the compute thread.
enum ComputeCommand: Sendable {
  /// Put a stage in place of the one before and send its results to `next`.
  case install(StageTransfer, next: Endpoint?)
  case stop
}

/// What the compute thread tells the control thread.
enum ComputeReport: Sendable {
  /// The data socket listens.
  case listening(Endpoint)
  case installed(epoch: UInt32)
  /// The thread cannot go on.
  case failed(WorkerError)
}

/// A stage on its way from the thread that made it to the thread that runs it.
// @unchecked Sendable: the maker lets go of it when it sends it, so one thread at a time has it.
final class StageTransfer: @unchecked Sendable {
  let stage: Stage
  init(_ stage: Stage) { self.stage = stage }
}

/// The compute thread of a worker.
final class ComputeLoop: Sendable {
  let commands: Mailbox<ComputeCommand>
  let reports: Mailbox<ComputeReport>
  let counters = Lock(StageCounters())
  private let context: ZeroMQContext
  private let name: String
  private let listen: Endpoint
  private let coordinator: Endpoint
  private let logger: Logger

  init(
    context: ZeroMQContext,
    name: String,
    listen: Endpoint,
    coordinator: Endpoint,
    logger: Logger
  ) throws(WireError) {
    commands = try Mailbox()
    reports = try Mailbox()
    self.context = context
    self.name = name
    self.listen = listen
    self.coordinator = coordinator
    self.logger = logger
  }

  /// Runs until told to stop; call it on the thread that shall compute.
  func run() {
    do {
      var sockets = try DataSockets(context, listen: listen, coordinator: coordinator)
      defer { sockets.close() }
      reports.post(.listening(sockets.listening))
      try serve(&sockets)
    } catch {
      reports.post(
        .failed(WorkerError(.system, "the data plane failed", underlying: error))
      )
    }
  }

  private func serve(_ sockets: inout DataSockets) throws {
    var stage: Stage?
    while true {
      _ = try poll(
        sockets: [sockets.input],
        descriptors: [commands.descriptor],
        timeout: nil
      )
      for command in commands.takeAll() {
        switch command {
        case .install(let transfer, let next):
          // A loader may be overtaken by that of a later epoch.
          guard transfer.stage.epoch > stage?.epoch ?? 0 else { continue }
          try sockets.connectNext(next)
          stage = transfer.stage
          reports.post(.installed(epoch: transfer.stage.epoch))
        case .stop: return
        }
      }
      // One step, then commands again.
      if let received = try sockets.input.receive() { take(received, stage, sockets) }
    }
  }

  private func take(_ received: Received, _ stage: Stage?, _ sockets: DataSockets) {
    switch received.content {
    case .failure(let error): reject("malformed message refused", "\(error)")
    case .success(let (.step(step), payloads)):
      guard let stage else {
        reject("step refused", "no layers are prepared")
        return
      }
      run(step, payloads, stage, sockets)
    case .success(let (message, _)): reject("message out of place refused", message.name)
    }
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
    let began = ContinuousClock.now
    counters.withLock { $0.stepBegan = began }
    do {
      switch try stage.run(step, payloads: payloads) {
      case .handOff(let next, let activations):
        let outcome = try sockets.next?.send(.step(next), payloads: activations)
        if outcome != .sent { fail(step, .handOff, "the next stage takes no steps", sockets) }
      case .done(let done, let logits):
        // Not sent only if the coordinator is gone, and then this process ends too.
        _ = try sockets.results.send(.stepDone(done), payloads: logits)
      }
    } catch {
      fail(step, .step, "\(error)", sockets)
    }
    count(began, rows: step.rows.count, stage)
  }

  /// Tells the coordinator that a step ended here.
  private func fail(_ step: Step, _ code: FailureCode, _ reason: String, _ sockets: DataSockets) {
    reject("step failed", reason)
    let failure = StepFailed(
      epoch: step.epoch,
      sequence: step.sequence,
      worker: name,
      code: code,
      message: reason
    )
    _ = try? sockets.results.send(.stepFailed(failure))
  }

  private func count(_ began: ContinuousClock.Instant, rows: Int, _ stage: Stage) {
    let elapsed = UInt64((ContinuousClock.now - began) / .microseconds(1))
    let kvBytes = UInt64(stage.executable.footprint.kvBytes)
    counters.withLock { counters in
      counters.stepBegan = nil
      counters.steps += 1
      counters.rows += UInt64(rows)
      counters.busyMicroseconds += elapsed
      counters.lastStepMicroseconds = elapsed
      counters.kvBytes = kvBytes
    }
  }
}

/// The compute thread's sockets.
private struct DataSockets {
  let context: ZeroMQContext
  /// Steps come in here, from the coordinator or the stage before.
  let input: Socket
  let listening: Endpoint
  /// Results of the last stage, and failures of any, go to the coordinator.
  let results: Socket
  /// Steps go on here; nil on the last stage.
  var next: Socket?

  init(_ context: ZeroMQContext, listen: Endpoint, coordinator: Endpoint) throws(WireError) {
    self.context = context
    input = try Socket(context, role: .router, options: .data)
    try input.bind(listen)
    listening = try input.boundEndpoint
    results = try Socket(context, role: .dealer)
    try results.connect(coordinator)
  }

  mutating func connectNext(_ endpoint: Endpoint?) throws(WireError) {
    next?.close()
    next = nil
    guard let endpoint else { return }
    let socket = try Socket(context, role: .dealer, options: .data)
    try socket.connect(endpoint)
    next = socket
  }

  func close() {
    input.close()
    results.close()
    next?.close()
  }
}
