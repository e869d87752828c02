// A coordinator's machine among simulated workers and clients. Messages wait in one queue a connection,
// in order, as ZeroMQ keeps them; which queue moves next is the test's choice.

import Gemma
import ModelFiles
import TestSupport
import Testing
import Wire
import Worker

@testable import Coordinator

/// What a client has been told about one request.
struct Outcome {
  var accepted: Accepted?
  var tokens: [Int32] = []
  var text = ""
  var thought = ""
  var scored: [DrawnToken] = []
  var finished: Finished?
  var failed: RequestFailed?
  var evaluated: [Evaluated] = []
  var logits: [[Float]] = []
  /// Nothing may follow this.
  var isOver = false
}

final class Harness {
  struct Request: Hashable {
    var client: Int
    var request: UInt64
  }

  let model: TokenModel
  var machine: CoordinatorMachine
  var now = ContinuousClock.now
  /// Told each event and what the machine said to it.
  var observer: ((CoordinatorEvent, [CoordinatorAction]) -> Void)?
  /// Those alive.
  var workers: [SimulatedWorker] = []
  private var lives = 0
  /// Messages on their way, by the connection they come through.
  var toCoordinator: [PeerID: [InTransit<(message: Message, payloads: [[Float]])>]] = [:]
  var toWorker: [PeerID: [InTransit<Message>]] = [:]
  /// Steps on their way, by the endpoint they go to.
  var steps: [String: [InTransit<(step: Step, payloads: [[Float]])>]] = [:]
  /// Keys and values on their way, by the endpoint they go to.
  var rows: [String: [InTransit<OutgoingRows>]] = [:]
  /// Answers on their way; only where there is a network, else clients have them at once.
  var toClient: [PeerID: [InTransit<(message: Message, payloads: [[Float]])>]] = [:]
  /// What delays messages; without one, all are due at once and the test chooses.
  var network: Network?
  private var firstStage: String?
  /// What clients have got, and in what order the answers came.
  private var outcomes: [Request: Outcome] = [:]
  private(set) var replies: [Message] = []
  /// The next steps that the first stage does not take.
  var stepsToRefuse = 0
  /// Whether workers cannot prepare anything beside what they run.
  var refusesMoves = false
  /// The next connections to a first stage that fail.
  var connectionsToRefuse = 0

  // What the machine has asked of its shell.
  private(set) var notes: [CoordinatorNote] = []
  private(set) var readyCount = 0
  private(set) var failures: [CoordinatorError] = []
  private(set) var killed: [String] = []
  private(set) var progress: [Double] = []
  private(set) var sentSteps: [Step] = []
  private(set) var connected: [String] = []
  private(set) var tracedSteps: [StepTrace] = []
  private(set) var sentToPeers: [PeerID: [Message]] = [:]
  /// Results that have come in, for a test to send once more.
  private(set) var arrivedResults: [(message: Message, payloads: [[Float]])] = []
  /// Requests that were in steps which failed as a test wanted, and in how many.
  private(set) var failedSteps: [Request: Int] = [:]
  /// Requests whose rows are no finite numbers, workers have said.
  private(set) var notFinite: Set<Request> = []

  init(
    plan: [PlannedWorker]? = nil,
    limits: CoordinatorLimits = Harness.limits(),
    model: TokenModel = TokenModel(vocabularySize: 64),
    served: ServedModel? = nil,
    isPlanBinding: Bool = true,
    advice: RebalanceAdvisor.Limits? = nil
  ) {
    self.model = model
    machine = CoordinatorMachine(
      model: served ?? Harness.served(vocabularySize: model.vocabularySize),
      plan: plan ?? Harness.plan(2, vocabularySize: model.vocabularySize),
      isPlanBinding: isPlanBinding,
      limits: limits,
      now: now,
      advice: advice
    )
  }

  // MARK: The shell

  func handle(_ event: CoordinatorEvent) {
    var events = [event]
    while !events.isEmpty {
      let next = events.removeFirst()
      let actions = machine.handle(next, at: now)
      observer?(next, actions)
      do { try machine.checkInvariants() } catch { Issue.record("\(error)") }
      checkCounters()
      for action in actions {
        if let consequence = perform(action) { events.append(consequence) }
      }
    }
  }

  private var lastCounters = ServiceCounters()

  /// No count ever falls.
  private func checkCounters() {
    let counters = machine.counters.totals
    defer { lastCounters = counters }
    guard counters != lastCounters else { return }
    let fields: [KeyPath<ServiceCounters, UInt64>] = [
      \.stoppedRequests, \.lengthRequests, \.cancelledRequests, \.evaluatedRequests,
      \.abandonedRequests, \.promptTokens, \.cachedTokens, \.generatedTokens, \.evaluatedTokens,
      \.steps, \.epochs, \.lostWorkers, \.rebalances, \.movedBytes,
    ]
    for field in fields where counters[keyPath: field] < lastCounters[keyPath: field] {
      Issue.record("\(field) has fallen from \(lastCounters[keyPath: field])")
    }
  }

  private func perform(_ action: CoordinatorAction) -> CoordinatorEvent? {
    switch action {
    case .send(let message, let peer, let payloads): return send(message, to: peer, payloads)
    case .connectFirstStage(let endpoint, _):
      guard connectionsToRefuse == 0 else {
        connectionsToRefuse -= 1
        return .firstStageNotConnected(reason: "cannot connect to \(endpoint)")
      }
      firstStage = endpoint
      connected.append(endpoint)
    case .sendStep(let step):
      guard stepsToRefuse == 0 else {
        stepsToRefuse -= 1
        return .stepNotSent(sequence: step.sequence)
      }
      sentSteps.append(step)
      put(step, [], from: nil, to: firstStage ?? "nowhere")
    case .release, .proven: break
    case .encode(let prompt): encoding.append(prompt)
    case .forgetEncoding(let id): encoding.removeAll { $0.id == id }
    case .stepTraced(let step): tracedSteps.append(step)
    case .kill(let name):
      killed.append(name)
      workers.removeAll { $0.place == name }
    case .note(let note): notes.append(note)
    case .progress(let fraction): progress.append(fraction)
    case .ready: readyCount += 1
    case .fail(let error): failures.append(error)
    }
    return nil
  }

  private func send(
    _ message: Message,
    to peer: PeerID,
    _ payloads: [[Float]]
  ) -> CoordinatorEvent? {
    sentToPeers[peer, default: []].append(message)
    guard peer.bytes[0] == 0xA0 else {
      toWorker[peer, default: []].append(inTransit(message, over: .fromCoordinator(peer)))
      return nil
    }
    guard network == nil else {
      let content = (message: message, payloads: payloads)
      toClient[peer, default: []].append(inTransit(content, over: .fromCoordinator(peer)))
      return nil
    }
    guard !goneClients.contains(peer) else { return .unreachable(peer) }
    record(message, payloads, Int(peer.bytes[1]))
    if let unsentReason { return .notSent(message, to: peer, reason: unsentReason) }
    return receipt(for: message, from: peer)
  }

  /// Counts what a client was sent; returns what it says when it has read it.
  private func receipt(for message: Message, from peer: PeerID) -> CoordinatorEvent? {
    switch message {
    case .accepted, .delta, .evaluated, .finished, .requestFailed:
      unread[peer, default: 0] += 1
      if case .evaluated(let part) = message { proofs[peer] = part.proof }
      return pausedClients.contains(peer) ? nil : read(peer)
    default: return nil
    }
  }

  /// Lets the coordinator's next answer reach a client.
  func deliver(toClient peer: PeerID) {
    guard var queue = toClient[peer], !queue.isEmpty else { return }
    let (message, payloads) = queue.removeFirst().content
    toClient[peer] = queue.isEmpty ? nil : queue
    record(message, payloads, Int(peer.bytes[1]))
    if case .message(let receipt, _, _)? = receipt(for: message, from: peer) {
      post(receipt, from: peer)
    }
  }

  /// What a client says that has read all it was sent.
  private func read(_ peer: PeerID) -> CoordinatorEvent {
    let receipt = Receipt(
      messages: unread.removeValue(forKey: peer) ?? 0,
      awaited: [],
      proof: proofs.removeValue(forKey: peer) ?? 0
    )
    return .message(.receipt(receipt), from: peer, payloads: [])
  }

  /// Lets the oldest text that waits be tokenized.
  func encodeNext() {
    guard !encoding.isEmpty else { return }
    let prompt = encoding.removeFirst()
    let encoded = Result { () throws(PromptError) in
      try machine.encoder.encode(prompt.source, prompt.rule)
    }
    handle(.encoded(id: prompt.id, encoded))
  }

  // MARK: Workers

  /// Starts a worker; its hello is on the way.
  @discardableResult
  func start(_ hello: Hello, key: PublicKey? = nil) -> SimulatedWorker {
    lives += 1
    let worker = SimulatedWorker(
      hello,
      life: lives,
      backend: TokenBackend(model: model),
      config: machine.model.config,
      key: key
    ) { [unowned self] in now }
    workers.append(worker)
    carry(worker.begin(), from: worker)
    return worker
  }

  /// Puts what leaves a worker on its way.
  func carry(_ outputs: [SimulatedWorker.Output], from worker: SimulatedWorker) {
    for output in outputs {
      switch output {
      case .control(let message): post(message, from: worker.control)
      case .results(let message, let payloads):
        if case .stepFailed(let failure) = message { noteNotFinite(failure) }
        post(message, from: worker.results, payloads: payloads)
      case .step(let step, let payloads, let endpoint):
        put(step, payloads, from: worker.results, to: endpoint)
      case .rows(let outgoing):
        let endpoint = outgoing.address.endpoint.description
        let link = Link.keys(from: worker.results, to: endpoint)
        rows[endpoint, default: []].append(inTransit(outgoing, over: link))
      case .exit: crash(worker)
      }
    }
  }

  /// Starts one worker for each place, in an order of choice.
  func startAll(_ order: [Int]? = nil) {
    for index in order ?? Array(machine.plan.indices) {
      start(Harness.hello(machine.plan[index].name))
    }
  }

  /// The worker that holds a place.
  func worker(_ place: String) -> SimulatedWorker? { workers.first { $0.place == place } }

  /// Ends a worker's process at once.
  func crash(_ worker: SimulatedWorker) { workers.removeAll { $0 === worker } }

  func post(_ message: Message, from peer: PeerID, payloads: [[Float]] = []) {
    let content = (message: message, payloads: payloads)
    toCoordinator[peer, default: []].append(inTransit(content, over: .toCoordinator(peer)))
  }

  private func put(_ step: Step, _ payloads: [[Float]], from sender: PeerID?, to endpoint: String) {
    let content = (step: step, payloads: payloads)
    let link = Link.steps(from: sender, to: endpoint)
    steps[endpoint, default: []].append(inTransit(content, over: link))
  }

  private func inTransit<Content>(_ content: Content, over link: Link) -> InTransit<Content> {
    InTransit(content: content, link: link, due: network?.due(on: link, at: now) ?? now)
  }

  /// Lets the next message of a connection reach the coordinator.
  func deliver(from peer: PeerID) {
    guard var queue = toCoordinator[peer], !queue.isEmpty else { return }
    let (message, payloads) = queue.removeFirst().content
    toCoordinator[peer] = queue.isEmpty ? nil : queue
    if case .stepDone = message { arrivedResults.append((message, payloads)) }
    handle(.message(message, from: peer, payloads: payloads))
  }

  /// Lets the coordinator's next message reach a worker.
  func deliver(toWorker peer: PeerID) {
    let worker = workers.first { $0.control == peer }
    guard var queue = toWorker[peer], !queue.isEmpty, !(worker?.isAsleep ?? false) else { return }
    let message = queue.removeFirst().content
    toWorker[peer] = queue.isEmpty ? nil : queue
    guard let worker else { return }
    carry(worker.receive(message), from: worker)
    if worker.isExporting { carry(worker.export(), from: worker) }
  }

  /// Lets the next keys and values reach the worker behind an endpoint.
  func deliverRows(_ endpoint: String, over link: Link? = nil) {
    let worker = workers.first { $0.hello.dataEndpoint == endpoint }
    guard var queue = rows[endpoint], !queue.isEmpty, !(worker?.isAsleep ?? false) else { return }
    let next = queue.remove(at: queue.firstIndex { $0.link == link } ?? 0).content
    rows[endpoint] = queue.isEmpty ? nil : queue
    guard let worker else { return }
    carry(worker.take(next), from: worker)
    carry(worker.export(), from: worker)
  }

  /// Drops all keys and values that are on their way.
  func loseRows() {
    if rows.values.contains(where: { $0.contains(where: \.content.header.isEarly) }) {
      hasLostEarlyRows = true
    }
    rows = [:]
  }

  /// Whether some were copies made early: what follows on them then finds nothing to follow on.
  var hasLostEarlyRows = false

  /// Drops all steps that are on their way.
  func loseSteps() { steps = [:] }

  /// Lets a worker say that its layers are prepared.
  func finishPreparing(_ worker: SimulatedWorker) {
    guard !worker.isAsleep else { return }
    if refusesMoves, worker.preparing?.epoch == machine.move?.epoch {
      failPreparing(worker)
      return
    }
    carry(worker.finishPreparing(), from: worker)
  }

  /// Lets a worker say that it cannot prepare its layers.
  func failPreparing(
    _ worker: SimulatedWorker,
    _ reason: String = "too little memory",
    code: FailureCode = .memory
  ) {
    carry(worker.failPreparing(StageFailure(code, reason)), from: worker)
  }

  /// Lets the worker behind an endpoint run its next step.
  func compute(_ endpoint: String, over link: Link? = nil) {
    let worker = workers.first { $0.hello.dataEndpoint == endpoint }
    guard var queue = steps[endpoint], !queue.isEmpty, !(worker?.isAsleep ?? false) else { return }
    let (step, payloads) = queue.remove(at: queue.firstIndex { $0.link == link } ?? 0).content
    steps[endpoint] = queue.isEmpty ? nil : queue
    // Steps to a dead worker are lost without a word.
    guard let worker else { return }
    if let deadlyToken, step.epoch == machine.epoch.number,
      step.rows.contains(where: { $0.token == deadlyToken })
    {
      let name = worker.place ?? worker.hello.name
      deaths += 1
      crash(worker)
      handle(.workerExited(name: name, how: "was ended by signal 9", willRestart: true))
      start(Harness.hello(name))
      return
    }
    let outputs = worker.run(step, payloads)
    if worker.hasFailedOnDemand, step.epoch == machine.epoch.number {
      countFailure(of: step.sequence)
    }
    carry(outputs, from: worker)
  }

  /// Notes whose rows are no finite numbers, it is said.
  private func noteNotFinite(_ failure: StepFailed) {
    for part in machine.flight[failure.sequence]?.parts ?? [] {
      guard let slot = machine.sessions[part.session]?.slot, failure.slots.contains(slot),
        let request = machine.requests[part.session]
      else { continue }
      notFinite.insert(Request(client: Int(request.peer.bytes[1]), request: request.number))
    }
  }

  /// Notes that a step under way fails as a test wants.
  func countFailure(of sequence: UInt64) {
    for part in machine.flight[sequence]?.parts ?? [] {
      guard let request = machine.requests[part.session] else { continue }
      let key = Request(client: Int(request.peer.bytes[1]), request: request.number)
      failedSteps[key, default: 0] += 1
    }
  }

  // MARK: Running

  /// Moves everything until nothing moves any more; without `computing`, steps stay where they are.
  func settle(computing: Bool = true) {
    for _ in 0..<100_000 {
      // Always the first by name, so that every run is the same.
      if let peer = toCoordinator.keys.min(by: { $0.description < $1.description }) {
        deliver(from: peer)
      } else if let peer = toWorker.keys.min(by: { $0.description < $1.description }) {
        deliver(toWorker: peer)
      } else if let worker = workers.first(where: { $0.preparing != nil }) {
        finishPreparing(worker)
      } else if let endpoint = rows.keys.min() {
        deliverRows(endpoint)
      } else if computing, let endpoint = steps.keys.min() {
        compute(endpoint)
      } else {
        return
      }
    }
    preconditionFailure("the messages never come to rest")
  }

  /// Starts all workers and lets them prepare.
  func serve() {
    startAll()
    settle()
  }

  /// Lets time pass, with heartbeats of all workers but some; `times` ticks.
  func pass(
    _ time: Duration,
    times: Int = 1,
    silent: Set<String> = [],
    heartbeat: Heartbeat = Harness.heartbeat()
  ) {
    for _ in 0..<times {
      now += time / times
      for worker in workers
      where !worker.isAsleep && worker.place.map({ !silent.contains($0) }) ?? false {
        handle(.message(.heartbeat(heartbeat), from: worker.control, payloads: []))
      }
      handle(.tick)
    }
  }

  // MARK: Clients

  private var goneClients: Set<PeerID> = []
  private var pausedClients: Set<PeerID> = []
  private var unread: [PeerID: Int] = [:]
  private var proofs: [PeerID: UInt64] = [:]
  /// Prompts that are to be tokenized.
  private(set) var encoding: [UnencodedPrompt] = []
  /// A token that no worker survives, and how many have not.
  var deadlyToken: Int32?
  private(set) var deaths = 0
  /// Why messages to clients cannot be sent; nil if they can.
  var unsentReason: String?

  /// Lets a client read nothing until it goes on.
  func pause(client: Int) { pausedClients.insert(Harness.peer(client)) }

  /// Lets a client go on and read what it was sent.
  func resume(client: Int) {
    let peer = Harness.peer(client)
    guard pausedClients.remove(peer) != nil else { return }
    let event = read(peer)
    if network != nil, case .message(let receipt, _, _) = event {
      post(receipt, from: peer)
    } else {
      handle(event)
    }
  }

  static func peer(_ client: Int, key: PublicKey? = nil) -> PeerID {
    PeerID([0xA0, UInt8(client)], key: key)
  }

  func ask(_ message: Message, client: Int = 1, key: PublicKey? = nil) {
    handle(.message(message, from: Harness.peer(client, key: key), payloads: []))
  }

  /// Closes a client's socket; the coordinator learns it when it next sends there.
  func disconnect(client: Int) { goneClients.insert(Harness.peer(client)) }

  func outcome(_ request: UInt64 = 1, client: Int = 1) -> Outcome {
    outcomes[Request(client: client, request: request)] ?? Outcome()
  }

  /// Forgets what a client was told about a request, before it asks again.
  func forgetOutcome(_ request: UInt64, client: Int = 1) {
    outcomes[Request(client: client, request: request)] = nil
  }

  private func record(_ message: Message, _ payloads: [[Float]], _ client: Int) {
    replies.append(message)
    switch message {
    case .accepted(let answer): change(answer.request, client) { $0.accepted = answer }
    case .delta(let delta):
      change(delta.request, client) {
        $0.tokens += delta.tokens
        $0.text += delta.text
        $0.thought += delta.thought
        $0.scored += delta.scored
      }
    case .evaluated(let part):
      change(part.request, client) {
        $0.evaluated.append(part)
        $0.logits += payloads
        $0.isOver = part.isLast
      }
    case .finished(let finished):
      change(finished.request, client) {
        $0.finished = finished
        $0.isOver = true
      }
    case .requestFailed(let failure):
      change(failure.request, client) {
        $0.failed = failure
        $0.isOver = true
      }
    default: break
    }
  }

  private func change(_ request: UInt64, _ client: Int, _ edit: (inout Outcome) -> Void) {
    let key = Request(client: client, request: request)
    var outcome = outcomes[key] ?? Outcome()
    // A number may be used again when its request is over.
    if outcome.isOver { outcome = Outcome() }
    edit(&outcome)
    outcomes[key] = outcome
  }
}
