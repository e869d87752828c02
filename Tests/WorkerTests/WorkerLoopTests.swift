// A worker's shell at the hands of a coordinator that asks for too much.

import Compute
import Foundation
import Gemma
import Glibc
import Platform
import TestSupport
import Testing
import Wire

/// Compiles and tests its device on the reference backend, but not while its gate is shut.
private final class GatedBackend: Backend {
  struct State {
    var isOpen = true
    var isTestOpen = true
    var underWay = 0
    var most = 0
    var total = 0
    /// For each executable, whether it was made from the one before.
    var shares: [Bool] = []
  }

  let state = Lock(State())
  private let backend = ReferenceBackend()

  var device: DeviceDescription { backend.device }

  func test() throws(ComputeError) {
    while !state.withLock({ $0.isTestOpen }) { usleep(1000) }
  }

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
      state.shares.append(previous != nil)
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

  @Test func `a stage is prepared from the one that was committed last, however late that is done`()
    throws
  {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let backend = GatedBackend()
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer {
        backend.state.withLock { $0.isTestOpen = true }
        front.close()
      }
      try front.welcome()
      try front.assign(1)
      try front.awaitPrepared(1)
      // The compute thread is busy when it is told to commit, and the next placement comes at once.
      backend.state.withLock { $0 = GatedBackend.State(isTestOpen: false) }
      try front.send(.selfTest(SelfTest(run: 1)))
      try front.send(.commit(Commit(epoch: 1)))
      try front.assign(2)
      usleep(200_000)
      backend.state.withLock { $0.isTestOpen = true }
      try front.awaitPrepared(2)
      // Without the first stage's caches the second could not go on with any session. The test of the device has
      // executables of its own.
      #expect(backend.state.withLock { $0.shares }.contains(true))
    }
  }
}
