// One life of one worker process: the real machine of its control thread and the real stages of its
// compute thread, with the token model instead of a device and queues instead of sockets. Tests make it
// fail, sleep or become slow from outside; what an honest worker says is the real code's.

import Compute
import Gemma
import Platform
import Wire

@testable import Worker

final class SimulatedWorker {
  /// What leaves a worker, by the socket it leaves through.
  enum Output {
    case control(Message)
    case results(Message, [[Float]])
    case step(Step, [[Float]], to: String)
    case rows(OutgoingRows)
    /// The process ends.
    case exit
  }

  let hello: Hello
  /// Its control socket, and the socket that its results come from.
  private(set) var control: PeerID
  let results: PeerID
  private let backend: TokenBackend
  private let config: ModelConfig
  private let clock: () -> ContinuousClock.Instant
  private var machine: WorkerMachine
  private var stages = StagePair()
  private var counters = StageCounters()
  private var outputs: [Output] = []
  private var connections = 0
  /// The place the coordinator gave it.
  private(set) var place: String?
  /// What it is asked to prepare, until it is done.
  private(set) var preparing: Assign?
  /// By epoch: what it has prepared.
  private var prepared: [UInt32: Assign] = [:]

  // What tests do to it.

  /// When it says that its steps begin, by its own clock; nil for the truth.
  var beganMicroseconds: UInt64?
  /// How long a step takes; nil for some microseconds.
  var stepMicroseconds: ((Assign) -> UInt64)?
  /// Why the next step fails; nil if it does not.
  var nextFailure: FailureCode?
  /// Whether the last step failed because a test wanted it.
  private(set) var hasFailedOnDemand = false
  /// Its process is stopped: it takes nothing, computes nothing and says nothing.
  var isAsleep = false
  /// A token whose rows become no finite numbers.
  var poison: Int32?

  init(
    _ hello: Hello,
    life: Int,
    backend: TokenBackend,
    config: ModelConfig,
    key: PublicKey? = nil,
    clock: @escaping () -> ContinuousClock.Instant
  ) {
    var hello = hello
    self.backend = backend
    self.config = config
    self.clock = clock
    control = PeerID([0xC0, UInt8(life >> 8), UInt8(life & 255)], key: key)
    results = PeerID([0xD0, UInt8(life >> 8), UInt8(life & 255)], key: key)
    hello.resultsIdentity = PeerID(results.bytes)
    // Each life listens elsewhere.
    hello.dataEndpoint =
      hello.dataEndpoint.hasPrefix("tcp:")
      ? "tcp://10.0.\(life >> 8).\(life & 255):7000" : "\(hello.dataEndpoint).\(life)"
    self.hello = hello
    machine = WorkerMachine(hello: hello, now: clock())
  }

  /// The assignment it has prepared last, in place or not.
  var lastPrepared: Assign? { (stages.prepared ?? stages.running).flatMap { prepared[$0.epoch] } }

  /// Whether keys and values wait to be sent.
  var isExporting: Bool { stages.moveEpoch != nil }

  /// Connects its control socket anew: the coordinator's ROUTER gives the connection another name.
  ///
  /// The other socket names itself, so that its name stays.
  func reconnect() {
    control = PeerID(control.bytes + [UInt8(connections)], key: control.key)
    connections += 1
  }

  // MARK: The control thread

  /// Introduces itself.
  func begin() -> [Output] {
    machine.begin().forEach(perform)
    return takeOutputs()
  }

  /// Takes a message of its coordinator.
  func receive(_ message: Message) -> [Output] {
    if case .welcome(let welcome) = message { place = welcome.name }
    handle(.message(message))
    return takeOutputs()
  }

  /// Looks at the clock: heartbeats, and what to do about a coordinator that is silent.
  func tick() -> [Output] {
    handle(.tick(counters, residentBytes: 4096))
    return takeOutputs()
  }

  /// Puts the stage that is being prepared beside the one that runs, and says so.
  func finishPreparing() -> [Output] {
    guard let assign = preparing else { return [] }
    preparing = nil
    do {
      let runner = try backend.prepare(
        try config.lower(assign.slice(of: config.line), weights: WeightShapes(config)),
        weights: WeightShapes(config),
        limits: assign.executableLimits,
        sharing: stages.running?.runner
      ) { _ in }
      let stage = Stage(
        epoch: assign.epoch,
        runner: runner,
        vocabularySize: config.vocabularySize,
        suppressed: try assign.suppressed(vocabularySize: config.vocabularySize)
      )
      if stages.install(stage, next: try assign.next()) {
        prepared[assign.epoch] = assign
        handle(.prepared(epoch: assign.epoch))
      }
    } catch {
      handle(.prepareFailed(epoch: assign.epoch, StageFailure(error, on: backend)))
    }
    return takeOutputs()
  }

  /// Gives up what it is asked to prepare, and says so.
  func failPreparing(_ failure: StageFailure) -> [Output] {
    guard let assign = preparing else { return [] }
    preparing = nil
    handle(.prepareFailed(epoch: assign.epoch, failure))
    return takeOutputs()
  }

  private func takeOutputs() -> [Output] {
    defer { outputs = [] }
    return outputs
  }

  private func handle(_ event: WorkerEvent) {
    machine.handle(event, at: clock()).forEach(perform)
  }

  private func perform(_ action: WorkerAction) {
    switch action {
    case .send(let message): outputs.append(.control(message))
    case .prepare(let assign): preparing = assign
    case .move(let move):
      attempt(move.epoch) { () throws(WorkerError) in try stages.begin(move) }
    case .commit(let epoch): if stages.commit(epoch) { handle(.committed) }
    case .abandon(let epoch): stages.abandon(epoch)
    // No device to test, no process to look for.
    case .selfTest, .lookForCoordinator: break
    case .exit: outputs.append(.exit)
    }
  }

  // MARK: The compute thread, as ComputeLoop runs it

  /// Does a part of a move and reports what is wrong with it.
  private func attempt(_ epoch: UInt32, _ part: () throws(WorkerError) -> Void) {
    do {
      try part()
    } catch {
      handle(.moveFailed(epoch: epoch, StageFailure(error, on: backend)))
    }
  }

  /// Sends keys and values, so many at most, and reports a move that is complete.
  func export(most: Int = .max) -> [Output] {
    attempt(stages.moveEpoch ?? 0) { () throws(WorkerError) in
      for _ in 0..<most {
        guard let outgoing = try stages.nextExport() else { break }
        outputs.append(.rows(outgoing))
      }
      if let moved = try stages.completeMove() { handle(.moved(moved)) }
    }
    return takeOutputs()
  }

  /// Takes keys and values from another worker.
  func take(_ rows: OutgoingRows) -> [Output] {
    do throws(WorkerError) {
      try stages.take(rows.header, rows.payloads)
    } catch {
      counters.rejectedMessages += 1
      if stages.prepared?.epoch == rows.header.epoch {
        handle(.moveFailed(epoch: rows.header.epoch, StageFailure(error, on: backend)))
      }
    }
    return takeOutputs()
  }

  /// Takes a step from the coordinator or the stage before.
  func run(_ step: Step, _ payloads: [[Float]]) -> [Output] {
    hasFailedOnDemand = false
    let (stage, isNew) = stages.stage(for: step)
    if isNew { handle(.committed) }
    guard let stage, stage.reasonToDrop(step) == nil else {
      counters.rejectedMessages += 1
      return takeOutputs()
    }
    let executable = stage.runner.executable as? TokenExecutable
    executable?.faults = TokenFaults(
      failsNext: nextFailure.flatMap { Self.causes[$0] },
      spoilsNext: nextFailure == .notFinite,
      poison: poison
    )
    do {
      forward(step, try stage.run(step, payloads: payloads, now: stopwatch(stage.epoch)))
    } catch {
      hasFailedOnDemand = nextFailure == .step || nextFailure == .internal
      let code = FailureCode(error)
      fail(step, code, "\(error)")
      if code == .device { handle(.deviceLost(reason: "\(error)")) }
    }
    let isSpent = nextFailure != .notFinite || executable?.faults.spoilsNext == false
    if isSpent { nextFailure = nil }
    count(step, stage)
    return takeOutputs()
  }

  /// What a device says for a step to fail with some of the codes.
  private static let causes: [FailureCode: ComputeError.Code] = [
    .step: .batch, .device: .device, .memory: .memory, .unsupported: .unsupported,
    .internal: .invalidProgram,
  ]

  /// Returns a clock for one step: first when it begins, then when it ends.
  private func stopwatch(_ epoch: UInt32) -> () -> ContinuousClock.Instant {
    let microseconds =
      prepared[epoch].map { assign in
        stepMicroseconds?(assign) ?? UInt64(10 + assign.stage)
      } ?? 10
    var readings = [clock() + .microseconds(Int64(microseconds)), clock()]
    return { readings.popLast() ?? self.clock() }
  }

  private func forward(_ step: Step, _ outcome: StepOutcome) {
    let isLost = nextFailure == .handOff
    switch outcome {
    case .handOff(var next, let payloads):
      lie(&next.stageBeganMicroseconds)
      if let address = stages.next, !isLost {
        outputs.append(.step(next, payloads, to: address.endpoint.description))
      }
    case .done(var done, let payloads):
      lie(&done.stageBeganMicroseconds)
      if !isLost { outputs.append(.results(.stepDone(done), payloads)) }
    case .notFinite(let slots, let reason): fail(step, .notFinite, reason, slots: slots)
    }
    if isLost { fail(step, .handOff, "the next stage accepts no more steps") }
  }

  /// Puts what a test wants in the place of the time that this stage began.
  private func lie(_ began: inout [UInt64]) {
    if let beganMicroseconds { began[began.count - 1] = beganMicroseconds }
  }

  private func fail(
    _ step: Step,
    _ code: FailureCode,
    _ reason: String,
    slots: [Int] = []
  ) {
    counters.rejectedMessages += 1
    let failure = StepFailed(
      epoch: step.epoch,
      sequence: step.sequence,
      worker: place ?? hello.name,
      code: code,
      message: reason,
      slots: slots
    )
    outputs.append(.results(.stepFailed(failure), []))
  }

  private func count(_ step: Step, _ stage: Stage) {
    counters.steps += 1
    counters.kvBytes = UInt64(stage.runner.kvByteCount)
  }
}
