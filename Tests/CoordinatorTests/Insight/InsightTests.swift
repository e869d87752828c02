// What status and health say of a pipeline at work: latencies, bubbles, queues, caches, self-tests.

import Platform
import Testing
import Wire

@testable import Coordinator

@Suite struct `Insight` {
  private func status(_ harness: Harness) throws -> StatusReply {
    harness.ask(.statusRequest(StatusRequest(request: 77)), client: 9)
    guard case .statusReply(let reply) = harness.replies.last else {
      throw WireError(.malformed, "no status")
    }
    return reply
  }

  private func health(_ harness: Harness) throws -> HealthReply {
    harness.ask(.healthRequest(HealthRequest(request: 78)), client: 9)
    guard case .healthReply(let reply) = harness.replies.last else {
      throw WireError(.malformed, "no health")
    }
    return reply
  }

  /// Lets a worker say how it is.
  private func beat(_ harness: Harness, _ index: Int, _ change: (inout Heartbeat) -> Void) {
    var heartbeat = Harness.heartbeat()
    change(&heartbeat)
    let peer = harness.workers[index].control
    harness.handle(.message(.heartbeat(heartbeat), from: peer, payloads: []))
  }

  // MARK: Status

  @Test func `times to the first token and between tokens are told`() throws {
    let harness = Harness()
    harness.serve()
    #expect(try status(harness).firstToken == LatencySummary())
    harness.ask(Harness.generate(.tokens([5, 6]), count: 3, ignoresEnd: true))
    harness.now += .milliseconds(40)
    // The first token after 40 ms, the others at once.
    harness.settle()
    let reply = try status(harness)
    #expect(reply.firstToken.count == 1)
    #expect((38_000...42_000).contains(reply.firstToken.p50Microseconds))
    #expect(reply.interToken.count == 2)
    #expect(reply.interToken.p99Microseconds <= 1)
    harness.pass(.seconds(70), times: 280)
    #expect(try status(harness).interToken.count == 0)
  }

  @Test func `positions in the caches are counted against what fits`() throws {
    let harness = Harness(limits: Harness.limits(context: 64, slots: 4))
    harness.serve()
    #expect(try status(harness).kvPositions == 0)
    #expect(try status(harness).kvCapacityPositions == 256)
    harness.ask(Harness.generate(.tokens([5, 6, 7]), count: 3))
    harness.ask(Harness.generate(.tokens([8, 9]), request: 2, count: 3))
    #expect(try status(harness).kvPositions == 5)
    harness.settle()
    #expect(try status(harness).kvPositions == 0)
  }

  @Test func `a bubble is time with work that a stage did not compute`() throws {
    let harness = Harness()
    harness.serve()
    harness.pass(.seconds(5), times: 20)
    #expect(try status(harness).workers.map(\.bubble) == [0, 0])
    harness.ask(Harness.generate(.tokens([5, 6]), count: 1))
    // A micro-batch under way for two of the last five seconds; both stages computed 10 µs of them.
    harness.pass(.seconds(2), times: 8)
    harness.settle()
    for worker in try status(harness).workers { #expect(abs(worker.bubble - 0.4) < 1e-3) }
    harness.pass(.seconds(6), times: 24)
    #expect(try status(harness).workers.map(\.bubble) == [0, 0])
  }

  // MARK: When the stages computed

  /// Serves one step whose stages begin 3 and 8 ms after it was sent, by clocks that are ahead.
  private func traced(ahead: Int64, machine: String) throws -> (Harness, StepTrace) {
    let harness = Harness()
    harness.machine.tracesSteps = true
    harness.machine.machineID = "here"
    for place in harness.machine.plan {
      var hello = Harness.hello(place.name)
      hello.machine = machine
      if machine != "here" { hello.dataEndpoint = "tcp://" }
      harness.start(hello)
    }
    harness.settle()
    let sent = harness.now
    let theirs = { (milliseconds: Int) in
      UInt64(Int64(sent.microsecondsSinceBoot) + ahead) + UInt64(milliseconds * 1000)
    }
    for index in 0..<2 { beat(harness, index) { $0.clockMicroseconds = theirs(0) } }
    for (worker, began) in zip(harness.workers, [3, 8]) {
      worker.beganMicroseconds = theirs(began)
    }
    harness.ask(Harness.generate(.tokens([5, 6]), count: 1))
    harness.now += .milliseconds(10)
    harness.settle()
    return (harness, try #require(harness.tracedSteps.first))
  }

  @Test(arguments: [(0, "here", true), (7_000_000, "there", false), (-5_000_000, "there", false)])
  func `a step's slices are on the coordinator's clock`(
    ahead: Int64,
    machine: String,
    isExact: Bool
  ) throws {
    let (harness, step) = try traced(ahead: ahead, machine: machine)
    #expect(step.epoch == 1 && step.sequence == 1)
    #expect(step.prefillRows == 2 && step.decodeRows == 0)
    #expect(step.slices.map(\.worker) == ["cpu-0", "cpu-1"])
    #expect(step.slices.map(\.layers) == [0..<2, 2..<6])
    #expect(step.slices.map(\.isExact) == [isExact, isExact])
    #expect(step.slices.map(\.duration) == [.microseconds(10), .microseconds(11)])
    let between = (step.slices[1].began - step.slices[0].began) / .microseconds(1)
    #expect(abs(between - 5000) <= 1)
    // Sent, 3 ms later begun; done after 10 µs, and 8 ms after it was sent begun by the next.
    #expect(abs(step.slices[0].wait / .microseconds(1) - 3000) <= 1)
    #expect(abs(step.slices[1].wait / .microseconds(1) - 4990) <= 1)
    // Little: the sum of the waits in five seconds, that of the step that clears the slot included.
    let queued = try status(harness).workers.map(\.queued)
    for stage in 0..<2 {
      let waits = harness.tracedSteps.map { $0.slices[stage].wait / .seconds(1) }
      #expect(waits[0] > 0.0029)
      #expect(abs(queued[stage] - waits.reduce(0, +) / 5) < 1e-9, "\(queued)")
    }
  }

  @Test func `a time that cannot be is not believed`() throws {
    let harness = Harness()
    harness.machine.tracesSteps = true
    harness.machine.machineID = "here"
    for place in harness.machine.plan {
      var hello = Harness.hello(place.name)
      hello.machine = "here"
      harness.start(hello)
    }
    harness.settle()
    harness.workers[0].beganMicroseconds = .max
    harness.workers[1].beganMicroseconds = 1
    harness.ask(Harness.generate(.tokens([5, 6]), count: 1))
    harness.settle()
    let step = try #require(harness.tracedSteps.first)
    #expect(step.slices.map(\.isExact) == [false, false])
    #expect(step.slices.map(\.wait) == [.zero, .zero])
    #expect(step.slices[0].began == harness.now)
  }

  @Test func `prompts and decoded tokens are told apart, and nothing is traced unasked`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6]), count: 2, ignoresEnd: true))
    harness.settle()
    #expect(harness.tracedSteps.isEmpty)
    harness.machine.tracesSteps = true
    harness.ask(Harness.generate(.tokens([9, 8, 7]), count: 2, ignoresEnd: true))
    harness.settle()
    let rows = harness.tracedSteps.prefix(2).map { [$0.prefillRows, $0.decodeRows] }
    #expect(rows == [[3, 0], [0, 1]])
  }

  // MARK: Health

  @Test func `a failed self-test degrades a worker, with the value`() throws {
    let harness = Harness()
    harness.serve()
    let failed = SelfTestReport(
      run: 0,
      maxError: 0.7,
      tolerance: 0.1,
      failure: "cpu is off by 0.7"
    )
    beat(harness, 0) { $0.selfTest = failed }
    let reply = try health(harness)
    #expect(!reply.isHealthy)
    #expect(reply.workers.map(\.state) == [.degraded, .ready])
    #expect(reply.workers[0].detail == "self-test failed: cpu is off by 0.7")
    #expect(reply.workers[0].selfTest == failed)
  }

  @Test func `little memory left and slow steps degrade a worker; memory and heat are told`() throws
  {
    let harness = Harness()
    harness.serve()
    let hot = Temperature(sensor: "k10temp Tctl", celsius: 91)
    beat(harness, 1) {
      $0.availableBytes = 100 << 20
      $0.temperature = hot
    }
    var reply = try health(harness)
    #expect(reply.isHealthy)
    #expect(reply.workers[1].temperature == hot && reply.workers[0].temperature == nil)
    #expect(reply.workers[1].availableBytes == 100 << 20 && reply.workers[1].residentBytes == 4096)
    #expect(try status(harness).workers[1].temperature == hot)
    beat(harness, 1) { $0.availableBytes = 20 << 20 }
    reply = try health(harness)
    #expect(reply.workers.map(\.state) == [.ready, .degraded])
    #expect(reply.workers[1].detail.contains("20 MiB of memory left of 1024 MiB"))
  }

  @Test func `steps that have become slow degrade a worker`() throws {
    let harness = Harness()
    harness.serve()
    let decode = { (microseconds: UInt64) in
      for _ in 0..<30 {
        let sequence = harness.machine.flight.nextSequence
        let part = ScheduledRows(session: 999, positions: 8..<9)
        let batch = MicroBatch(
          parts: [part],
          cleared: [],
          forks: [],
          wanted: [],
          readsPrompt: false,
          sent: harness.now
        )
        let done = StepDone(
          epoch: 1,
          sequence: sequence,
          results: [],
          stageMicroseconds: [microseconds, 1000]
        )
        harness.machine.measure(done, batch)
      }
    }
    decode(1000)
    harness.pass(.seconds(61), times: 122)
    #expect(try health(harness).isHealthy)
    decode(3000)
    let reply = try health(harness)
    #expect(reply.workers.map(\.state) == [.degraded, .ready])
    #expect(reply.workers[0].detail.contains("take 3.0 ms, 3.0 times the 1.0 ms"))
  }

  // MARK: Self-tests on request

  private func ask(_ harness: Harness, request: UInt64, client: Int = 9) {
    let health = HealthRequest(request: request, runsSelfTest: true)
    harness.ask(.healthRequest(health), client: client)
  }

  private func answers(_ harness: Harness) -> [HealthReply] {
    harness.replies.compactMap { if case .healthReply(let reply) = $0 { reply } else { nil } }
  }

  private func pass(_ harness: Harness, _ index: Int, run: UInt32) {
    beat(harness, index) {
      $0.selfTest = SelfTestReport(run: run, maxError: 0.01, tolerance: 0.1, failure: "")
    }
  }

  @Test func `every worker is asked, and the answer waits for all`() {
    let harness = Harness()
    harness.serve()
    ask(harness, request: 5)
    for worker in harness.workers {
      #expect(harness.sentToPeers[worker.control]?.last == .selfTest(SelfTest(run: 1)))
    }
    pass(harness, 0, run: 1)
    // The word of an earlier test is not the answer.
    pass(harness, 1, run: 0)
    #expect(answers(harness).isEmpty)
    pass(harness, 1, run: 1)
    #expect(answers(harness).map(\.request) == [5])
    #expect(answers(harness)[0].isHealthy)
    #expect(answers(harness)[0].workers.map { $0.selfTest?.run } == [1, 1])
  }

  @Test func `a worker that does not answer is degraded, one that is lost is not waited for`() {
    let harness = Harness()
    harness.serve()
    ask(harness, request: 5)
    pass(harness, 0, run: 1)
    harness.pass(SelfTests.patience, times: 40)
    #expect(answers(harness).map { $0.workers.map(\.state) } == [[.ready, .degraded]])
    #expect(answers(harness)[0].workers[1].detail.contains("did not test its device"))
    ask(harness, request: 6)
    pass(harness, 0, run: 2)
    harness.handle(.workerExited(name: "cpu-1", how: "died", willRestart: true))
    harness.handle(.tick)
    #expect(answers(harness).map(\.request) == [5, 6])
    #expect(answers(harness)[1].workers.map(\.state) == [.loading, .lost])
  }

  @Test func `without workers the answer comes at once, and too many askers are refused`() {
    let harness = Harness()
    ask(harness, request: 1)
    #expect(answers(harness).map(\.isHealthy) == [false])
    harness.serve()
    for request in 0..<SelfTests.mostRounds { ask(harness, request: UInt64(request), client: 2) }
    ask(harness, request: 99, client: 3)
    #expect(harness.outcome(99, client: 3).failed?.code == .busy)
    #expect(harness.machine.selfTests.rounds.count == SelfTests.mostRounds)
  }
}
