// A worker's shell at the hands of a coordinator that asks for too much.

import Compute
import Foundation
import Gemma
import Glibc
import Platform
import TestSupport
import Testing
import Wire

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

  var device: DeviceDescription { backend.device }

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
  @Test func `a flood of assignments is a few threads, and the last one counts`() throws {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let backend = GatedBackend()
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer {
        backend.state.withLock { $0.isOpen = true }
        front.close()
      }
      let count: UInt32 = 60
      try front.welcome()
      // Its own test of the device lies behind it.
      backend.state.withLock { $0 = GatedBackend.State(isOpen: false) }
      for epoch in 1...count { try front.assign(epoch) }
      usleep(300_000)
      #expect(backend.state.withLock { $0.most } <= 2)
      backend.state.withLock { $0.isOpen = true }
      try front.awaitPrepared(count)
      #expect(backend.state.withLock { $0.total } <= 3)
    }
  }
}
