// A worker's control side: events in, actions out, with a clock that the test turns.

import Compute
import Content
import Testing
import Wire

@testable import Worker
import Platform

/// A machine, its clock, and words for what comes out.
private struct Bench {
  static let hello = Hello(
    name: "cpu-0",
    device: Device(ReferenceBackend(threads: 2, memoryByteCount: 1 << 30).device),
    pid: 4711,
    fingerprint: Digest(of: [0xFE, 0xED]),
    modelName: "tiny",
    layerCount: 14,
    dataEndpoint: "ipc:///run/trestle/data",
    resultsIdentity: PeerID([0xD0])
  )

  static func assign(epoch: UInt32) -> Assign {
    Assign(
      epoch: epoch,
      firstLayer: 0,
      endLayer: 7,
      firstVocabularyRow: 0,
      endVocabularyRow: 0,
      stage: 0,
      stageCount: 2,
      nextEndpoint: "ipc:///run/trestle/next",
      maxRows: 128,
      slots: 4,
      contextTokens: 256
    )
  }

  let start = ContinuousClock.now
  var now: ContinuousClock.Instant
  var machine: WorkerMachine
  var counters = StageCounters()
  let began: [WorkerAction]

  init() {
    now = start
    machine = WorkerMachine(hello: Self.hello, now: start)
    began = machine.begin()
  }

  /// A machine that has been welcomed.
  static func serving(heartbeatMilliseconds: Int = 250) -> Bench {
    var bench = Bench()
    _ = bench.receive(
      .welcome(Welcome(name: "cpu-0", heartbeatMilliseconds: heartbeatMilliseconds))
    )
    return bench
  }

  mutating func handle(_ event: WorkerEvent) -> [WorkerAction] { machine.handle(event, at: now) }

  mutating func receive(_ message: Message) -> [WorkerAction] { handle(.message(message)) }

  mutating func tick(after time: Duration = .zero) -> [WorkerAction] {
    now += time
    return handle(.tick(counters, residentBytes: 77))
  }

  /// Lets the time pass in small ticks and returns what came of it.
  mutating func pass(
    _ time: Duration,
    every interval: Duration = .milliseconds(50)
  )
    -> [WorkerAction]
  {
    let end = now + time
    var actions: [WorkerAction] = []
    while now < end { actions += tick(after: min(interval, end - now)) }
    return actions
  }
}

extension [WorkerAction] {
  fileprivate var hellos: [Hello] {
    compactMap { if case .send(.hello(let hello)) = $0 { hello } else { nil } }
  }

  fileprivate var heartbeats: [Heartbeat] {
    compactMap { if case .send(.heartbeat(let heartbeat)) = $0 { heartbeat } else { nil } }
  }

  fileprivate var prepares: [Assign] {
    compactMap { if case .prepare(let assign) = $0 { assign } else { nil } }
  }

  fileprivate var sent: [Message] {
    compactMap { if case .send(let message) = $0 { message } else { nil } }
  }

  /// Each exit, with its reason.
  fileprivate var exits: [WorkerError?] {
    compactMap { if case .exit(let error) = $0 { .some(error) } else { nil } }
  }
}

@Suite struct `Worker machine` {
  // MARK: Greeting

  @Test func `it begins with a hello and says nothing else`() {
    let bench = Bench()
    #expect(bench.began.sent == [.hello(Bench.hello)])
    #expect(bench.began.count == 1)
  }

  @Test func `the hello is repeated about once a second until it is answered`() {
    var bench = Bench()
    let actions = bench.pass(.seconds(5))
    #expect((4...5).contains(actions.hellos.count))
    #expect(actions.count == actions.hellos.count)
    #expect(actions.hellos.allSatisfy { $0 == Bench.hello })
    _ = bench.receive(.welcome(Welcome(name: "cpu-0", heartbeatMilliseconds: 250)))
    #expect(bench.pass(.seconds(5)).hellos.isEmpty)
  }

  @Test func `patience with a coordinator that never answers ends`() {
    var bench = Bench()
    #expect(bench.pass(WorkerMachine.patience).exits.isEmpty)
    let exits = bench.pass(.seconds(1)).exits
    #expect(exits.count == 1)
    #expect(exits.first??.code == .unreachable)
    #expect(exits.first??.message.contains("is one running at this endpoint?") == true)
  }

  @Test func `a refusal ends it with the coordinator's reason`() {
    var bench = Bench()
    let refusal = Refused(code: .fingerprint, message: "other weights (a) than ours (b)")
    let actions = bench.receive(.refused(refusal))
    #expect(actions.exits.count == 1)
    #expect(actions.exits.first??.code == .refused)
    #expect(actions.exits.first??.message.hasSuffix(refusal.message) == true)
  }

  // MARK: Heartbeats

  @Test(arguments: [100, 250, 1000])
  func `heartbeats go out at the interval of the welcome`(_ milliseconds: Int) {
    var bench = Bench.serving(heartbeatMilliseconds: milliseconds)
    var counts = 0
    for _ in 0..<5 {
      counts += bench.pass(.seconds(1)).heartbeats.count
      _ = bench.receive(.heartbeatAck(HeartbeatAck()))
    }
    let want = 5000 / milliseconds
    #expect((want - 1...want + 1).contains(counts))
  }

  @Test func `what is new is told at the next tick, not at the next interval`() {
    var bench = Bench.serving()
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.count == 1)
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.isEmpty)
    _ = bench.receive(.assign(Bench.assign(epoch: 3)))
    _ = bench.handle(.prepared(epoch: 3))
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.count == 1)
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.isEmpty)
  }

  @Test func `an absurd interval does not stop the heartbeats`() {
    var bench = Bench.serving(heartbeatMilliseconds: 0)
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.count == 1)
  }

  @Test func `a heartbeat tells what the compute thread has counted`() {
    var bench = Bench.serving()
    bench.counters.steps = 12
    bench.counters.kvBytes = 1 << 20
    bench.counters.rejectedMessages = 3
    bench.counters.stepBegan = bench.now + .milliseconds(600)
    let heartbeats = bench.tick(after: .seconds(1)).heartbeats
    let want = Heartbeat(
      loadFraction: 0,
      steps: 12,
      stepInProgressMicroseconds: 400_000,
      residentBytes: 77,
      kvBytes: 1 << 20,
      rejectedMessages: 3,
      clockMicroseconds: bench.now.microsecondsSinceBoot
    )
    #expect(heartbeats == [want])
  }

  @Test func `a heartbeat tells how its machine is`() {
    var bench = Bench.serving()
    bench.now += .seconds(1)
    let vitals = Vitals(
      availableBytes: 5 << 30,
      temperature: Temperature(sensor: "k10temp Tctl", celsius: 61.5)
    )
    let tick = WorkerEvent.tick(bench.counters, residentBytes: 77, vitals: vitals)
    let heartbeat = bench.handle(tick).heartbeats.first
    #expect(heartbeat?.availableBytes == 5 << 30)
    #expect(heartbeat?.temperature == vitals.temperature)
    #expect(bench.tick(after: .seconds(1)).heartbeats.first?.temperature == nil)
  }

  @Test func `a self-test is passed to the compute thread and its result told at once`() {
    var bench = Bench.serving()
    _ = bench.tick(after: .milliseconds(1))
    let asked = bench.receive(.selfTest(SelfTest(run: 3)))
    #expect(asked.count == 1)
    guard case .selfTest(3) = asked.first else {
      Issue.record("\(asked)")
      return
    }
    #expect(bench.tick(after: .milliseconds(1)).isEmpty)
    let report = SelfTestReport(run: 3, maxError: 0.25, tolerance: 0.1, failure: "wrong")
    bench.counters.selfTest = report
    #expect(bench.tick(after: .milliseconds(1)).heartbeats.map(\.selfTest) == [report])
    #expect(bench.tick(after: .milliseconds(1)).isEmpty)
  }

  @Test func `a step that began later than the clock reads counts as just begun`() {
    var bench = Bench.serving()
    bench.counters.stepBegan = bench.now + .seconds(5)
    #expect(bench.tick(after: .seconds(1)).heartbeats.first?.stepInProgressMicroseconds == 0)
  }

  // MARK: Preparing

  @Test func `an assignment is prepared, shown in the heartbeats and reported`() {
    var bench = Bench.serving()
    let assign = Bench.assign(epoch: 3)
    let actions = bench.receive(.assign(assign))
    #expect(actions.prepares == [assign])
    #expect(actions.sent.isEmpty)
    #expect(bench.tick(after: .seconds(1)).heartbeats.first?.loadFraction == 0)
    _ = bench.handle(.loadProgress(epoch: 3, fraction: 0.5))
    let loading = bench.tick(after: .seconds(1)).heartbeats.first
    #expect(loading?.loadFraction == 0.5)
    #expect(bench.handle(.prepared(epoch: 3)).sent == [.prepared(Prepared(epoch: 3))])
    let ready = bench.tick(after: .seconds(1)).heartbeats.first
    #expect(ready?.loadFraction == 1)
  }

  @Test func `a new assignment takes the place of one being prepared`() {
    var bench = Bench.serving()
    _ = bench.receive(.assign(Bench.assign(epoch: 3)))
    #expect(bench.receive(.assign(Bench.assign(epoch: 4))).prepares.map(\.epoch) == [4])
    // What the one before still says is too late.
    #expect(bench.handle(.prepared(epoch: 3)).isEmpty)
    #expect(bench.handle(.prepareFailed(epoch: 3, StageFailure(.memory, "gone"))).isEmpty)
    _ = bench.handle(.loadProgress(epoch: 3, fraction: 0.9))
    let heartbeat = bench.tick(after: .seconds(1)).heartbeats.first
    #expect(heartbeat?.loadFraction == 0)
    #expect(bench.handle(.prepared(epoch: 4)).sent == [.prepared(Prepared(epoch: 4))])
  }

  @Test func `an assignment after a good one is loading again`() {
    var bench = Bench.serving()
    _ = bench.receive(.assign(Bench.assign(epoch: 3)))
    _ = bench.handle(.prepared(epoch: 3))
    _ = bench.receive(.assign(Bench.assign(epoch: 4)))
    #expect(bench.tick(after: .seconds(1)).heartbeats.first?.loadFraction == 0)
  }

  @Test func `a failure to prepare is reported with its reason, and the worker lives on`() {
    var bench = Bench.serving()
    _ = bench.receive(.assign(Bench.assign(epoch: 3)))
    let lacking = StageFailure(.model, "no weight layers.3.mlp.up_proj")
    let actions = bench.handle(.prepareFailed(epoch: 3, lacking))
    guard case .prepareFailed(let failure) = actions.sent.first, actions.count == 1 else {
      Issue.record("no failure is reported: \(actions)")
      return
    }
    #expect(failure.epoch == 3 && failure.code == .model)
    #expect(failure.message == "no weight layers.3.mlp.up_proj")
    #expect(bench.tick(after: .seconds(1)).heartbeats.count == 1)
  }

  @Test func `a device that is gone is reported, and ends the worker`() {
    for hasStep in [false, true] {
      var bench = Bench.serving()
      _ = bench.receive(.assign(Bench.assign(epoch: 3)))
      let actions =
        hasStep
        ? bench.handle(.deviceLost(reason: "the device is gone"))
        : bench.handle(.prepareFailed(epoch: 3, StageFailure(.device, "the device is gone")))
      // The step's failure was reported by the compute thread.
      let reports = actions.sent.compactMap { message -> FailureCode? in
        if case .prepareFailed(let told) = message { told.code } else { nil }
      }
      #expect(reports == (hasStep ? [] : [.device]))
      #expect(actions.exits.map { $0?.code } == [.device])
      #expect(bench.tick(after: .seconds(1)).isEmpty)
    }
  }

  @Test func `a device that is gone while an old assignment is prepared ends the worker, too`() {
    var bench = Bench.serving()
    _ = bench.receive(.assign(Bench.assign(epoch: 4)))
    let actions = bench.handle(.prepareFailed(epoch: 3, StageFailure(.device, "gone")))
    #expect(actions.sent.isEmpty && actions.exits.count == 1)
  }

  // MARK: The end

  @Test func `a coordinator that falls silent ends it`() {
    var bench = Bench.serving()
    #expect(bench.pass(WorkerMachine.silence).exits.isEmpty)
    let exits = bench.pass(.milliseconds(200)).exits
    #expect(exits.count == 1)
    #expect(exits.first??.code == .unreachable)
    #expect(exits.first??.message.contains("silent") == true)
  }

  @Test func `one that is silent is looked for, each second after the fifth`() {
    var bench = Bench.serving()
    let looks = { (actions: [WorkerAction]) in
      actions.count { if case .lookForCoordinator = $0 { true } else { false } }
    }
    #expect(looks(bench.pass(.seconds(5))) == 0)
    #expect((3...4).contains(looks(bench.pass(.milliseconds(3500)))))
    _ = bench.receive(.heartbeatAck(HeartbeatAck()))
    #expect(looks(bench.pass(.seconds(5))) == 0)
  }

  @Test func `one that has started the worker may be silent for ever`() {
    var machine = WorkerMachine(hello: Bench.hello, hasLifeline: true, now: .now)
    _ = machine.begin()
    var now = ContinuousClock.now
    let welcome = Welcome(name: "cpu-0", heartbeatMilliseconds: 250)
    _ = machine.handle(.message(.welcome(welcome)), at: now)
    var actions: [WorkerAction] = []
    for _ in 0..<1000 {
      now += .milliseconds(500)
      actions += machine.handle(.tick(StageCounters(), residentBytes: 0), at: now)
    }
    let beats = actions.count { if case .send(.heartbeat) = $0 { true } else { false } }
    #expect(beats == actions.count && beats > 900)
  }

  @Test func `any word of the coordinator counts against silence`() {
    var bench = Bench.serving()
    for _ in 0..<5 {
      #expect(bench.pass(WorkerMachine.silence - .seconds(1)).exits.isEmpty)
      _ = bench.receive(.heartbeatAck(HeartbeatAck()))
    }
  }

  @Test func `asked to stop, it says goodbye and ends in good order`() {
    var bench = Bench.serving()
    let actions = bench.handle(.stop)
    guard actions.count == 2, case .send(.goodbye) = actions[0], case .exit(nil) = actions[1]
    else {
      Issue.record("\(actions)")
      return
    }
  }

  @Test func `a shutdown by the coordinator ends it in good order`() {
    var bench = Bench.serving()
    let actions = bench.receive(.shutdown(Shutdown(reason: "enough")))
    guard actions.count == 1, case .exit(nil) = actions[0] else {
      Issue.record("\(actions)")
      return
    }
  }

  @Test func `after its end nothing happens any more`() {
    var bench = Bench.serving()
    _ = bench.handle(.stop)
    #expect(bench.handle(.stop).isEmpty)
    #expect(bench.receive(.assign(Bench.assign(epoch: 9))).isEmpty)
    #expect(bench.handle(.prepared(epoch: 9)).isEmpty)
    #expect(bench.pass(.seconds(60), every: .seconds(1)).isEmpty)
  }

  @Test func `messages that are not for a worker are ignored`() {
    var bench = Bench.serving()
    let strays: [Message] = [
      .statusRequest(StatusRequest(request: 1)), .hello(Bench.hello),
      .accepted(Accepted(request: 1, promptTokens: 2, queuePosition: 0)),
      .prepared(Prepared(epoch: 3)),
    ]
    for stray in strays { #expect(bench.receive(stray).isEmpty, "\(stray.name)") }
    #expect(bench.tick(after: .seconds(1)).heartbeats.count == 1)
  }
}
