// A worker's shell at the hands of a coordinator that asks for too much.

import Compute
import Foundation
import Gemma
import Glibc
import Logging
import Platform
import Testing
import TestSupport
import Wire
import Worker

/// Compiles on the reference backend, but not while its gate is shut.
private final class GatedBackend: Backend {
  struct State {
    var isOpen = true
    var underWay = 0
    var most = 0
    var total = 0
  }

  let state = Lock(State())
  private let backend = ReferenceBackend()

  var device: String { backend.device }
  func support(for op: Op) -> Support { backend.support(for: op) }

  func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    state.withLock { state in
      state.underWay += 1
      state.total += 1
      state.most = max(state.most, state.underWay)
    }
    defer { state.withLock { $0.underWay -= 1 } }
    while !state.withLock({ $0.isOpen }) { usleep(1000) }
    return try backend.compile(
      program,
      weights: weights,
      limits: limits,
      sharing: previous,
      progress: progress
    )
  }
}

@Suite struct `Worker loop` {
  private func assign(_ epoch: UInt32, _ config: ModelConfig) -> Assign {
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
  }

  @Test func `a flood of assignments is a few threads, and the last one counts`() throws {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let fingerprint = try checkpoint.fingerprint()
      let endpoint = try Endpoint("ipc://\(directory)/front")
      let context = try ZeroMQContext()
      let front = try Socket(context, role: .router)
      try front.bind(endpoint)
      defer {
        front.close()
        context.close()
      }
      let (backend, stop) = (GatedBackend(), try Mailbox<Void>())
      let options = WorkerOptions(
        name: "cpu-0",
        coordinator: endpoint,
        listen: try Endpoint("ipc://\(directory)/data"),
        threads: 1,
        isEmulated: false,
        lifeline: nil,
        programVersion: "test",
        passesAllLayers: false
      )
      let thread = try Platform.Thread {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        do {
          try WorkerLoop(
            options,
            model: .local(checkpoint, fingerprint: fingerprint),
            backend: backend,
            logger: logger
          ).run(untilReadable: stop.descriptor)
        } catch {
          Issue.record(error)
        }
      }
      defer {
        backend.state.withLock { $0.isOpen = true }
        stop.post(())
        thread.join()
      }
      let count: UInt32 = 60
      try awaitMessage(front) { peer, message in
        guard case .hello = message else { return false }
        // Its own test of the device lies behind it.
        backend.state.withLock { $0 = GatedBackend.State(isOpen: false) }
        _ = try front.send(
          .welcome(Welcome(name: "cpu-0", heartbeatMilliseconds: 50)),
          to: peer
        )
        for epoch in 1...count {
          _ = try front.send(.assign(assign(epoch, checkpoint.config)), to: peer)
        }
        return true
      }
      usleep(300_000)
      #expect(backend.state.withLock { $0.most } <= 2)
      backend.state.withLock { $0.isOpen = true }
      try awaitMessage(front) { _, message in
        if case .prepared(let prepared) = message { prepared.epoch == count } else { false }
      }
      #expect(backend.state.withLock { $0.total } <= 3)
    }
  }

  private func awaitMessage(
    _ front: Socket,
    _ take: (PeerID, Message) throws -> Bool
  ) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < deadline {
      _ = try poll(sockets: [front], timeout: .milliseconds(100))
      while let received = try front.receive() {
        guard let peer = received.peer else { continue }
        if try take(peer, received.content.get().message) { return }
      }
    }
    throw WireError(.unreachable, "nothing arrived in twenty seconds")
  }
}
