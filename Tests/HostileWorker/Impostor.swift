// The honest part of a hostile worker, on one thread: it joins, prepares layers, takes over keys and
// values, runs steps. Liar.swift has what it does instead when its time has come.

import CPUBackend
import Compute
import Foundation
import Gemma
import Glibc
import Wire
import Worker

/// A worker that can be told to misbehave.
final class Impostor {
  let name: String
  let coordinator: Endpoint
  /// Where the workers' own sockets are.
  let directory: String
  let checkpoint: Checkpoint
  private let backend: CPU
  var liar: Liar
  let context: ZeroMQContext
  let control: Socket
  let results: Socket
  private let input: Socket
  private(set) var next: Socket?
  private let hello: Hello
  private(set) var assigned: Assign?
  private var stages = StagePair()
  private var exports: [PeerAddress: Socket] = [:]
  private var lastHeartbeat = ContinuousClock.now
  private var hasEnded = false
  var isHostile = false
  /// Steps it says it has run.
  var steps: UInt64 = 0

  init(
    name: String,
    coordinator: Endpoint,
    directory: String,
    checkpoint: Checkpoint,
    backend: CPU,
    liar: Liar
  ) throws {
    self.name = name
    self.coordinator = coordinator
    self.directory = directory
    self.checkpoint = checkpoint
    self.backend = backend
    self.liar = liar
    context = try ZeroMQContext()
    let listen = try Endpoint("ipc://\(directory)/\(getpid())")
    input = try Socket(context, role: .router, options: .data)
    try input.bind(listen)
    control = try Socket(context, role: .dealer)
    try control.connect(coordinator)
    let identity = PeerID((0..<16).map { _ in UInt8.random(in: 1...255) })
    var options = SocketOptions.control
    options.identity = identity
    results = try Socket(context, role: .dealer, options: options)
    try results.connect(coordinator)
    hello = Hello(
      name: name,
      device: Device(backend.device),
      pid: Int(getpid()),
      fingerprint: try checkpoint.fingerprint(),
      modelName: checkpoint.name,
      layerCount: checkpoint.config.layers.count,
      dataEndpoint: listen.description,
      resultsIdentity: identity
    )
  }

  /// Serves until the coordinator has had enough, or stdin ends.
  func run() throws {
    _ = try control.send(.hello(hello))
    while !hasEnded {
      let ready = try poll(
        sockets: [control, input],
        descriptors: isHostile ? [] : [STDIN_FILENO],
        timeout: .milliseconds(5)
      )
      if ready.descriptors.contains(STDIN_FILENO) { try heed() }
      while let received = try control.receive() {
        if case .success(let (message, _)) = received.content { try take(message) }
      }
      // One step, then control again, as honest workers do.
      if let received = try input.receive(), case .success(let content) = received.content {
        try take(content.message, content.payloads)
      }
      try moveOn()
      try showLife()
      if isHostile { try harass() }
    }
    next?.close()
    exports.values.forEach { $0.close() }
    [input, control, results].forEach { $0.close() }
    context.close()
  }

  func end() { hasEnded = true }

  /// Takes the word to misbehave, or the end of the test.
  private func heed() throws {
    var byte: UInt8 = 0
    guard unsafe read(STDIN_FILENO, &byte, 1) == 1 else {
      hasEnded = true
      return
    }
    isHostile = true
  }

  // MARK: Control

  private func take(_ message: Message) throws {
    switch message {
    case .refused, .shutdown: hasEnded = true
    case .assign(let assign): try prepare(assign)
    case .move(let move): try stages.begin(move)
    case .commit(let commit): if stages.commit(commit.epoch) { try committed() }
    case .abandon(let abandon): stages.abandon(abandon.epoch)
    default: break
    }
  }

  private func prepare(_ assign: Assign) throws {
    if isHostile, try refuse(assign) { return }
    let slice = ModelSlice(
      layers: assign.firstLayer..<assign.endLayer,
      vocabulary: assign.firstVocabularyRow..<assign.endVocabularyRow
    )
    let runner = try backend.prepare(
      checkpoint.config.lower(slice, weights: checkpoint),
      weights: checkpoint,
      limits: ExecutableLimits(
        maxRows: assign.maxRows,
        slots: assign.slots,
        contextTokens: assign.contextTokens
      ),
      sharing: stages.running?.runner
    ) { _ in }
    let stage = Stage(
      epoch: assign.epoch,
      runner: runner,
      vocabularySize: checkpoint.config.vocabularySize
    )
    assigned = assign
    if stages.install(stage, next: try assign.next()) {
      _ = try control.send(.prepared(Prepared(epoch: assign.epoch)))
    }
  }

  private func committed() throws {
    next?.close()
    next = try stages.next.map { try connect($0.endpoint) }
    exports.values.forEach { $0.close() }
    exports = [:]
  }

  func connect(_ endpoint: Endpoint) throws -> Socket {
    let socket = try Socket(context, role: .dealer, options: .data)
    try socket.connect(endpoint)
    return socket
  }

  /// Sends keys and values that another worker takes over, and says when a move is complete.
  private func moveOn() throws {
    while let rows = try stages.nextExport() {
      let socket = try exports[rows.address] ?? connect(rows.address.endpoint)
      exports[rows.address] = socket
      while try socket.send(.kvRows(rows.header), payloads: rows.payloads) != .sent { usleep(1000) }
    }
    if let moved = try stages.completeMove() { _ = try control.send(.moved(moved)) }
  }

  private func showLife() throws {
    guard ContinuousClock.now - lastHeartbeat > .milliseconds(200) else { return }
    lastHeartbeat = .now
    var heartbeat = Heartbeat(
      loadFraction: 1,
      steps: steps,
      stepInProgressMicroseconds: 0,
      residentBytes: 1 << 20,
      kvBytes: 0,
      rejectedMessages: 0
    )
    if isHostile { adorn(&heartbeat) }
    _ = try control.send(.heartbeat(heartbeat))
  }

  // MARK: Data

  private func take(_ message: Message, _ payloads: [[Float]]) throws {
    switch message {
    case .kvRows(let header): try stages.take(header, payloads)
    case .step(let step):
      let (stage, isNew) = stages.stage(for: step)
      if isNew { try committed() }
      guard let stage, stage.reasonToDrop(step) == nil else { return }
      if isHostile, try answer(step, payloads) { return }
      try run(step, payloads, stage)
    default: break
    }
  }

  private func run(_ step: Step, _ payloads: [[Float]], _ stage: Stage) throws {
    steps += 1
    switch try stage.run(step, payloads: payloads) {
    case .handOff(let step, let activations):
      liar.remember(.step(step), activations)
      _ = try next?.send(.step(step), payloads: isHostile ? spoiled(activations) : activations)
    case .done where isHostile && liar.behaviour == .notFinite:
      try sendFailure(step, .notFinite)
    case .done(let done, let logits):
      liar.remember(.stepDone(done), logits)
      _ = try results.send(.stepDone(done), payloads: logits)
    case .notFinite(let slots, let reason):
      try sendFailure(step, .notFinite, reason, slots: slots)
    }
  }
}
