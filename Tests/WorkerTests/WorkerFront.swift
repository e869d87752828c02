// A coordinator's side of a worker, by hand: its front socket, and the worker's loop on a thread.

import Compute
import Gemma
import Logging
import Platform
import TestSupport
import Testing
import Wire
import Worker

/// A worker loop that serves a front socket which the test drives.
final class WorkerFront {
  let socket: Socket
  private let checkpoint: Checkpoint
  private let context: ZeroMQContext
  private let stop: Mailbox<Void>
  private let thread: Platform.Thread
  /// What the worker has said of itself.
  private(set) var hello: Hello?
  private var worker: PeerID?
  /// Where steps go to the worker.
  private var steps: Socket?
  /// How the worker has ended, once it has; nil if in good order.
  private let failure: Lock<WorkerError?>

  /// Starts a worker with a backend and a local model.
  ///
  /// - Parameters:
  ///   - directory: Where its sockets are.
  ///   - checkpoint: The model.
  ///   - backend: What it computes with.
  ///   - mayFail: Whether it may end with an error, which `close` returns.
  /// - Throws: What keeps it from starting.
  init(
    directory: String,
    checkpoint: Checkpoint,
    backend: any Backend,
    mayFail: Bool = false
  ) throws {
    let failure = Lock<WorkerError?>(nil)
    self.failure = failure
    let fingerprint = try checkpoint.fingerprint()
    let endpoint = try Endpoint("ipc://\(directory)/front")
    self.checkpoint = checkpoint
    context = try ZeroMQContext()
    socket = try Socket(context, role: .router)
    try socket.bind(endpoint)
    let stop = try Mailbox<Void>()
    self.stop = stop
    let options = WorkerOptions(
      name: "cpu-0",
      coordinator: endpoint,
      listen: try Endpoint("ipc://\(directory)/data"),
      lifeline: nil,
      passesAllLayers: false
    )
    thread = try Platform.Thread {
      var logger = Logger(label: "test")
      logger.logLevel = .critical
      do {
        try WorkerLoop(
          options,
          model: .local(checkpoint, fingerprint: fingerprint),
          backend: backend,
          logger: logger
        ).run(untilReadable: stop.descriptor)
      } catch let error as WorkerError where mayFail {
        failure.withLock { $0 = error }
      } catch {
        Issue.record(error)
      }
    }
  }

  /// Ends the worker and waits for it.
  func close() {
    stop.post(())
    awaitEnd()
  }

  /// Waits for the worker to end, by itself or because it was told to.
  ///
  /// - Returns: The error that it has ended with.
  @discardableResult
  func awaitEnd() -> WorkerError? {
    thread.join()
    steps?.close()
    socket.close()
    context.close()
    return failure.withLock { $0 }
  }

  /// Waits for a message that `take` returns true for.
  func awaitMessage(_ take: (Message) throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
      _ = try poll(sockets: [socket], timeout: .milliseconds(100))
      while let received = try socket.receive() {
        let message = try received.content.get().message
        if case .hello(let hello) = message { (self.hello, worker) = (hello, received.peer) }
        if try take(message) { return }
      }
    }
    throw WireError(.unreachable, "nothing arrived in twenty seconds")
  }

  /// Waits for the worker to introduce itself, and lets it in.
  func welcome() throws {
    try awaitMessage { if case .hello = $0 { true } else { false } }
    try send(.welcome(Welcome(name: "cpu-0", heartbeatMilliseconds: 50)))
  }

  func send(_ message: Message) throws {
    let worker = try #require(worker)
    _ = try socket.send(message, to: worker)
  }

  /// Gives the worker the whole model.
  func assign(_ epoch: UInt32) throws {
    let config = checkpoint.config
    try send(
      .assign(
        Assign(
          epoch: epoch,
          firstLayer: 0,
          endLayer: config.layers.count,
          firstVocabularyRow: 0,
          endVocabularyRow: config.vocabularySize,
          stage: 0,
          stageCount: 1,
          nextEndpoint: "",
          maxRows: 16,
          slots: 1,
          contextTokens: 32
        )
      )
    )
  }

  func awaitPrepared(_ epoch: UInt32) throws {
    try awaitMessage {
      if case .prepared(let prepared) = $0 { prepared.epoch == epoch } else { false }
    }
  }

  /// Runs a step of one token and waits for its result.
  func run(epoch: UInt32) throws {
    try sendStep(1, epoch: epoch)
    try awaitMessage { if case .stepDone(let done) = $0 { done.epoch == epoch } else { false } }
  }

  /// Sends a step of one token.
  func sendStep(_ sequence: UInt64, epoch: UInt32) throws {
    if steps == nil {
      let socket = try Socket(context, role: .dealer)
      try socket.connect(Endpoint(#require(hello).dataEndpoint))
      steps = socket
    }
    let step = Step(
      epoch: epoch,
      sequence: sequence,
      cleared: [0],
      rows: [StepRow(slot: 0, position: 0, token: 5, output: .sample(.greedy))],
      stageMicroseconds: []
    )
    _ = try steps?.send(.step(step))
  }
}
