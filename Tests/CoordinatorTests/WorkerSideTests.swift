// The workers' side of the coordinator: who may join, what they are told, and what is done about
// those that fail.

import Content
import Testing
import Wire

@testable import Coordinator

@Suite struct `Gathering workers` {
  /// Returns what the coordinator told a worker last.
  private func lastWord(_ harness: Harness, to worker: SimulatedWorker) -> Message? {
    harness.sentToPeers[worker.control]?.last
  }

  private func refusal(_ harness: Harness, _ worker: SimulatedWorker) -> Refused? {
    guard case .refused(let refused) = lastWord(harness, to: worker) else { return nil }
    return refused
  }

  private func assigns(_ harness: Harness, _ worker: SimulatedWorker?) -> [Assign] {
    (worker.flatMap { harness.sentToPeers[$0.control] } ?? []).compactMap {
      if case .assign(let assign) = $0 { assign } else { nil }
    }
  }

  // MARK: Joining

  @Test func `when all have joined, each is assigned its layers and where to hand on`() throws {
    let harness = Harness(plan: Harness.plan(3), limits: Harness.limits(context: 99, slots: 5))
    harness.startAll([2, 0])
    harness.settle()
    #expect(harness.workers.allSatisfy { assigns(harness, $0).isEmpty })
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    let endpoints = (0..<3).map { harness.worker("cpu-\($0)")?.hello.dataEndpoint ?? "none" }
    for stage in 0..<3 {
      let want = Assign(
        epoch: 1,
        firstLayer: 2 * stage,
        endLayer: 2 * stage + 2,
        firstVocabularyRow: 0,
        endVocabularyRow: stage == 2 ? 64 : 0,
        stage: stage,
        stageCount: 3,
        nextEndpoint: stage < 2 ? endpoints[stage + 1] : "",
        maxRows: 16,
        slots: 5,
        contextTokens: 99
      )
      #expect(assigns(harness, harness.worker("cpu-\(stage)")) == [want])
    }
    #expect(harness.connected == [endpoints[0]])
  }

  @Test func `it is ready once all are prepared, once an epoch`() throws {
    let harness = Harness()
    harness.startAll()
    for worker in harness.workers {
      harness.deliver(from: worker.control)
      harness.deliver(toWorker: worker.control)
    }
    for worker in harness.workers { harness.deliver(toWorker: worker.control) }
    let (first, second) = (harness.workers[0], harness.workers[1])
    harness.finishPreparing(first)
    harness.settle(computing: false)
    #expect(harness.readyCount == 1)
    // Said again, it changes nothing.
    harness.post(.prepared(Prepared(epoch: 1)), from: second.control)
    harness.settle()
    #expect(harness.readyCount == 1)
    #expect(harness.connected.count == 1)
  }

  @Test func `one prepared worker of two is not enough`() throws {
    let harness = Harness()
    harness.startAll()
    let first = harness.workers[0]
    for worker in harness.workers { harness.deliver(from: worker.control) }
    // Its own word, twice, does not count for the other's.
    for _ in 0..<2 {
      harness.handle(.message(.prepared(Prepared(epoch: 1)), from: first.control, payloads: []))
    }
    #expect(harness.readyCount == 0)
    #expect(harness.machine.epoch.isPreparing)
  }

  @Test func `workers without a name take the free places of their device in order`() {
    var plan = Harness.plan(3)
    plan[1].device = "npu"
    let harness = Harness(plan: plan)
    let workers = ["cpu", "npu", "cpu"].map { harness.start(Harness.hello("", device: $0)) }
    harness.settle()
    #expect(workers.map(\.place) == ["cpu-0", "cpu-1", "cpu-2"])
    #expect(harness.readyCount == 1)
  }

  // MARK: Refusals

  @Test func `other weights are refused, with both fingerprints named`() {
    let harness = Harness()
    var hello = Harness.hello("cpu-0")
    hello.fingerprint = Digest(of: [0xBE, 0xEF])
    hello.modelName = "other"
    let worker = harness.start(hello)
    harness.settle()
    let refused = refusal(harness, worker)
    #expect(refused?.code == .fingerprint)
    #expect(refused?.message.contains("(other, \(Digest(of: [0xBE, 0xEF])))") == true)
    #expect(refused?.message.contains("(tiny, \(Harness.fingerprint))") == true)
  }

  @Test func `where the model file has changed, the refusal and the end say so`() {
    let harness = Harness()
    harness.handle(.modelChanged("/models/tiny.gguf was replaced by another file"))
    #expect(harness.notes.contains { $0.metadata["change"]?.contains("tiny.gguf") == true })
    var hello = Harness.hello("cpu-0")
    hello.fingerprint = Digest(of: [0xBE, 0xEF])
    let worker = harness.start(hello)
    harness.settle()
    let message = refusal(harness, worker)?.message ?? ""
    #expect(message.contains("/models/tiny.gguf was replaced by another file while it was served"))
    #expect(message.contains("restart the coordinator"))
    harness.handle(.workerExited(name: "cpu-0", how: "exited with status 1", willRestart: false))
    let words = harness.failures.first?.message ?? ""
    #expect(
      words.contains("cpu-0 exited with status 1; /models/tiny.gguf was replaced"),
      "\(words)"
    )
  }

  /// The coordinator knows that the worker runs on another machine, by their boots.
  @Test(arguments: [
    ("tcp://127.0.0.1:7000", "there", true), ("ipc:///run/trestle/1", "there", true),
    ("tcp://[::1]:7000", "there", true), ("tcp://10.0.0.9:7000", "there", false),
    ("tcp://127.0.0.1:7000", "here", false), ("tcp://127.0.0.1:7000", "", false),
    ("tcp://laptop:7000", "there", true),
  ])
  func `a data endpoint that only its own machine reaches is refused from another`(
    endpoint: String,
    machine: String,
    isRefused: Bool
  ) {
    let harness = Harness()
    harness.machine.machineID = "here"
    let peer = PeerID([0xC0, 1, 1])
    var hello = Harness.hello("cpu-0")
    hello.dataEndpoint = endpoint
    hello.machine = machine
    harness.handle(.message(.hello(hello), from: peer, payloads: []))
    #expect(harness.machine.workers.isEmpty == isRefused)
    guard case .refused(let refused) = harness.sentToPeers[peer]?.last else { return }
    #expect(refused.code == .invalid && refused.message.contains(endpoint), "\(refused)")
  }

  @Test(arguments: ["", "nowhere", "ipc://relative", "tcp://10.0.0.9:*", "tcp://*:7000"])
  func `a data endpoint that nobody can connect to is refused by name`(endpoint: String) {
    let harness = Harness()
    let peer = PeerID([0xC0, 1, 1])
    var hello = Harness.hello("cpu-0")
    hello.dataEndpoint = endpoint
    harness.handle(.message(.hello(hello), from: peer, payloads: []))
    guard case .refused(let refused) = harness.sentToPeers[peer]?.last else {
      Issue.record("it was not refused")
      return
    }
    #expect(refused.code == .invalid)
    #expect(refused.message.contains("\"\(endpoint)\""))
    #expect(harness.machine.workers.isEmpty)
  }

  @Test func `a place is given once, and only to its name and device`() {
    let harness = Harness()
    harness.start(Harness.hello("cpu-0"))
    harness.settle()
    let late = [
      harness.start(Harness.hello("cpu-0")), harness.start(Harness.hello("cpu-1", device: "npu")),
    ]
    harness.settle()
    #expect(late.map { refusal(harness, $0)?.code } == [.name, .placement])
    #expect(refusal(harness, late[0])?.message.contains("already a worker named cpu-0") == true)
    #expect(refusal(harness, late[1])?.message.contains("the place of a cpu worker") == true)
    #expect(harness.machine.workers.count == 1)
  }

  @Test func `workers without a place stand by, under a name of their own`() {
    let harness = Harness()
    let spare = harness.start(Harness.hello("gpu7"))
    let nameless = harness.start(Harness.hello("", device: "npu"))
    harness.settle()
    #expect([spare.place, nameless.place] == ["gpu7", "npu-0"])
    #expect(harness.machine.epoch.isGathering)
    harness.serve()
    #expect(harness.readyCount == 1)
    #expect(assigns(harness, spare).isEmpty && assigns(harness, nameless).isEmpty)
    // Their loss disturbs nobody.
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.handle(.workerExited(name: "gpu7", how: "died", willRestart: false))
    harness.settle()
    #expect(harness.machine.epoch.number == 1)
    #expect(harness.outcome().finished != nil)
  }

  @Test func `a hello that is repeated before its answer came is welcomed again`() {
    let harness = Harness()
    let worker = harness.start(Harness.hello("cpu-0"))
    harness.post(.hello(worker.hello), from: worker.control)
    harness.startAll([1])
    harness.settle()
    #expect(refusal(harness, worker) == nil)
    #expect(harness.readyCount == 1)
    #expect(assigns(harness, worker).count == 1)
    // Also when it comes late.
    harness.post(.hello(worker.hello), from: worker.control)
    harness.settle()
    #expect(harness.workers.count == 2)
    #expect(harness.machine.epoch.isServing)
  }

  @Test func `a heartbeat of a worker that never said hello is refused`() {
    let harness = Harness()
    harness.serve()
    let stranger = PeerID([0xC0, 9, 9])
    harness.handle(.message(.heartbeat(Harness.heartbeat()), from: stranger, payloads: []))
    guard case .refused(let refused) = harness.sentToPeers[stranger]?.last else {
      Issue.record("it was not refused")
      return
    }
    #expect(refused.code == .unknown)
    // And one that did is answered.
    let worker = harness.workers[0]
    harness.handle(.message(.heartbeat(Harness.heartbeat()), from: worker.control, payloads: []))
    #expect(lastWord(harness, to: worker) == .heartbeatAck(HeartbeatAck()))
  }

  @Test func `messages that nobody may send to a coordinator are counted and dropped`() {
    let harness = Harness()
    harness.serve()
    let strays: [Message] = [
      .welcome(Welcome(name: "cpu-0", heartbeatMilliseconds: 1)), .heartbeatAck(HeartbeatAck()),
      .shutdown(Shutdown(reason: "no")), .delta(Delta(request: 1, text: "x", tokens: [])),
    ]
    for stray in strays { harness.ask(stray) }
    harness.handle(.malformed(from: nil, WireError(.truncated, "cut off")))
    #expect(harness.machine.status(1).protocolErrors == 5)
    #expect(harness.notes.filter(\.isWarning).count == 5)
    #expect(harness.machine.epoch.isServing)
  }

  // MARK: Preparing

  @Test func `progress is the mean over all workers`() {
    let harness = Harness()
    harness.startAll()
    for worker in harness.workers { harness.deliver(from: worker.control) }
    for (worker, fraction) in zip(harness.workers, [0.5, 0.25]) {
      let heartbeat = Harness.heartbeat(loadFraction: fraction)
      harness.handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
    }
    #expect(harness.progress == [0.25, 0.375])
  }

  @Test func `a worker that cannot prepare its layers ends everything, with its reason`() {
    let harness = Harness()
    harness.startAll()
    for worker in harness.workers { harness.deliver(from: worker.control) }
    let worker = harness.workers[1]
    let failure = PrepareFailed(epoch: 1, code: .memory, message: "needs 9 GB, has 8")
    harness.post(.prepareFailed(failure), from: worker.control)
    harness.deliver(from: worker.control)
    #expect(harness.failures.map(\.code) == [.worker])
    #expect(harness.failures.first?.message.contains("cpu-1") == true)
    #expect(harness.failures.first?.message.contains("needs 9 GB, has 8") == true)
  }

  @Test func `a failure to prepare an epoch that is over is ignored`() {
    let harness = Harness()
    harness.serve()
    let failure = PrepareFailed(epoch: 0, code: .memory, message: "late")
    harness.post(.prepareFailed(failure), from: harness.workers[0].control)
    harness.settle()
    #expect(harness.failures.isEmpty)
  }

  // MARK: Loss

  @Test func `a silent worker is ended and awaited; the others are not`() {
    let harness = Harness()
    harness.serve()
    harness.pass(.seconds(2), times: 8, silent: ["cpu-1"])
    #expect(harness.killed.isEmpty)
    harness.pass(.milliseconds(250), silent: ["cpu-1"])
    #expect(harness.killed == ["cpu-1"])
    #expect(harness.machine.epoch.isGathering)
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    #expect(harness.readyCount == 2)
    #expect(harness.machine.epoch.number == 2)
    #expect(harness.worker("cpu-0")?.lastPrepared?.epoch == 2)
    // The place of the new one is where the first hands on to now.
    let endpoint = harness.worker("cpu-1")?.hello.dataEndpoint
    #expect(harness.worker("cpu-0")?.lastPrepared?.nextEndpoint == endpoint)
  }

  @Test func `a process that ended and will be restarted is awaited`() throws {
    let harness = Harness()
    harness.serve()
    harness.crash(try #require(harness.worker("cpu-0")))
    harness.handle(.workerExited(name: "cpu-0", how: "was ended by signal 9", willRestart: true))
    #expect(harness.machine.epoch.isGathering)
    #expect(harness.failures.isEmpty)
    harness.start(Harness.hello("cpu-0"))
    harness.settle()
    #expect(harness.readyCount == 2)
    #expect(harness.connected.count == 2)
    #expect(harness.connected[0] != harness.connected[1])
  }

  @Test func `a process that cannot even start ends everything, with its reason`() {
    let harness = Harness()
    harness.handle(.workerExited(name: "cpu-0", how: "exited with status 1", willRestart: false))
    #expect(harness.failures.count == 1)
    #expect(harness.failures.first?.message == "worker cpu-0 exited with status 1")
  }

  @Test func `the layers of a process that will not be restarted go to the others`() {
    let harness = Harness(plan: Harness.plan(3))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.settle(computing: false)
    harness.crash(harness.workers[1])
    harness.handle(.workerExited(name: "cpu-1", how: "exited with status 1", willRestart: false))
    harness.settle()
    #expect(harness.failures.isEmpty)
    #expect(harness.machine.plan.map(\.name) == ["cpu-0", "cpu-2"])
    #expect(harness.machine.plan.map(\.layers) == [0..<3, 3..<6])
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
  }

  @Test func `layers that no worker has the memory for are refused in so many words`() {
    let harness = Harness(plan: Harness.plan(2))
    for name in ["cpu-0", "cpu-1"] {
      var hello = Harness.hello(name)
      hello.device.memoryBytes = 4
      harness.start(hello)
    }
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.crash(harness.workers[1])
    harness.handle(.workerExited(name: "cpu-1", how: "exited with status 1", willRestart: false))
    #expect(harness.outcome().failed?.code == .lost)
    #expect(harness.outcome().failed?.message.contains("too little memory: cpu-0") == true)
    #expect(harness.failures.count == 1)
  }

  @Test
  func `with every worker gone, requests fail when patience ends, and the next worker serves`() {
    let harness = Harness(plan: Harness.plan(1))
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.crash(harness.workers[0])
    harness.pass(.seconds(30), times: 60)
    #expect(harness.outcome().failed == nil)
    #expect(harness.machine.status(1).state == .degraded)
    harness.pass(.seconds(5), times: 10)
    #expect(harness.outcome().failed?.code == .lost)
    #expect(harness.outcome().failed?.message.contains("no worker has returned") == true)
    #expect(harness.failures.isEmpty)
    // Whoever asks whether it is ready must not hear that requests merely wait.
    #expect(harness.machine.status(1).state == .waiting)
    harness.start(Harness.hello(""))
    harness.settle()
    harness.ask(Harness.generate(.tokens([5, 6]), request: 2))
    harness.settle()
    #expect(harness.outcome(2).finished != nil)
    #expect(harness.machine.status(1).state == .ready)
  }

  @Test func `steps that vanish are sent again in another epoch`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    // The step reaches nobody, and nobody computes.
    harness.loseSteps()
    harness.pass(.seconds(4), times: 16)
    #expect(harness.machine.epoch.number == 1)
    harness.pass(.seconds(2), times: 8)
    harness.settle()
    #expect(harness.machine.epoch.number == 2)
    #expect(harness.outcome().finished != nil)
  }

  @Test func `a worker that hangs in a step is ended`() {
    let harness = Harness()
    harness.serve()
    var heartbeat = Harness.heartbeat()
    heartbeat.stepInProgressMicroseconds = 121_000_000
    harness.post(.heartbeat(heartbeat), from: harness.workers[1].control)
    harness.settle()
    harness.handle(.tick)
    #expect(harness.killed == ["cpu-1"])
  }

  @Test func `results that make no sense end the worker, and nobody sees them`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let last = harness.workers[1]
    let result = RowResult(slot: 0, position: 1, token: 64, logProbability: 0)
    let done = StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [1, 1])
    harness.post(.stepDone(done), from: last.results)
    harness.deliver(from: last.results)
    #expect(harness.killed == ["cpu-1"])
    #expect(harness.outcome().tokens.isEmpty)
    #expect(harness.notes.last { $0.isWarning }?.metadata["reason"]?.contains("token 64") == true)
  }

  @Test func `results from anybody else are dropped and counted`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    let result = RowResult(slot: 0, position: 1, token: 9, logProbability: 0)
    let done = StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [1, 1])
    harness.handle(.message(.stepDone(done), from: PeerID([0xEE]), payloads: []))
    #expect(harness.machine.protocolErrors == 1)
    #expect(harness.outcome().tokens.isEmpty)
    harness.settle()
    let want = harness.model.continuation(of: [5, 6], Harness.sampling(), count: 8)
    #expect(harness.outcome().tokens == want)
  }

  @Test func `late results of a worker that was lost are no fault of anybody's`() throws {
    let harness = Harness()
    harness.serve()
    let last = try #require(harness.worker("cpu-1"))
    harness.crash(last)
    harness.handle(.workerExited(name: "cpu-1", how: "was ended by signal 9", willRestart: true))
    let warnings = harness.notes.count(where: \.isWarning)
    let done = StepDone(epoch: 1, sequence: 1, results: [], stageMicroseconds: [1, 1])
    for _ in 0..<5 { harness.post(.stepDone(done), from: last.results) }
    harness.settle()
    #expect(harness.machine.protocolErrors == 0)
    #expect(harness.notes.count(where: \.isWarning) == warnings)
    // Others are not remembered for ever.
    for _ in 0..<300 {
      harness.start(Harness.hello("cpu-1"))
      harness.settle()
      harness.crash(try #require(harness.worker("cpu-1")))
      harness.handle(.workerExited(name: "cpu-1", how: "was ended by signal 9", willRestart: true))
    }
    #expect(harness.machine.workers.formerSources.count == Limits.workers)
  }

  @Test func `a worker that keeps sending malformed messages is ended`() {
    let harness = Harness()
    harness.serve()
    for _ in 0..<3 {
      let error = WireError(.malformed, "no message")
      harness.handle(.malformed(from: harness.workers[0].control, error))
    }
    #expect(harness.killed == ["cpu-0"])
  }

  @Test func `a coordinator that stood still itself blames nobody`() {
    let harness = Harness()
    harness.serve()
    harness.now += .seconds(3600)
    harness.handle(.tick)
    #expect(harness.killed.isEmpty)
  }

  @Test func `a worker that says goodbye is awaited`() {
    let harness = Harness()
    harness.serve()
    harness.post(
      .goodbye(Goodbye(reason: "was asked to stop")),
      from: harness.workers[1].control
    )
    harness.settle()
    #expect(harness.machine.epoch.isGathering)
    #expect(harness.machine.workers.names == ["cpu-0"])
    let note = harness.notes.last { $0.isWarning }
    #expect(note?.metadata == ["worker": "cpu-1", "reason": "was asked to stop"])
  }

  @Test func `a worker lost while layers are prepared begins another epoch`() throws {
    let harness = Harness()
    harness.startAll()
    for worker in harness.workers { harness.deliver(from: worker.control) }
    #expect(harness.machine.epoch.isPreparing)
    harness.crash(harness.workers[1])
    harness.handle(.workerExited(name: "cpu-1", how: "died", willRestart: true))
    // The first still prepares the epoch that is over.
    harness.settle()
    #expect(harness.readyCount == 0)
    harness.start(Harness.hello("cpu-1"))
    harness.settle()
    #expect(harness.readyCount == 1)
    #expect(harness.machine.epoch.number == 2)
  }

  // MARK: The end

  @Test func `stopping tells workers and clients, and takes nobody on`() {
    let harness = Harness()
    harness.serve()
    harness.ask(Harness.generate(.tokens([5, 6])))
    harness.handle(.stop)
    #expect(harness.outcome().failed?.code == .shuttingDown)
    for worker in harness.workers {
      guard case .shutdown = lastWord(harness, to: worker) else {
        Issue.record("\(worker.hello.name) was not told")
        continue
      }
    }
    harness.ask(Harness.generate(.tokens([5, 6]), request: 2))
    #expect(harness.outcome(2).failed?.code == .shuttingDown)
    let late = harness.start(Harness.hello("cpu-0"))
    harness.deliver(from: late.control)
    #expect(refusal(harness, late)?.code == .shuttingDown)
    // A worker that ends now does as it was told.
    harness.handle(.workerExited(name: "cpu-1", how: "exited", willRestart: false))
    #expect(harness.failures.isEmpty)
  }
}
