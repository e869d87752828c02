// The thread of an executable: made anywhere, used and freed on one.

import Compute
import Foundation
import Gemma
import Glibc
import Platform
import TestSupport
import Testing
import Wire

/// Where an executable was made, used and freed.
private struct Life: Sendable {
  var made: UInt
  var used: Set<UInt> = []
  var freed: UInt?
}

/// Notes the threads of what it makes; may be told to stop in the middle of a compilation.
private final class WitnessBackend: Backend {
  struct State {
    var lives: [Life] = []
    /// The executable whose compilation waits, with what it shares in hand.
    var held: Int?
    var isWaiting = false
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
    let number = state.withLock { state in
      state.lives.append(Life(made: currentThread()))
      return state.lives.count - 1
    }
    let whole = try backend.compile(
      program,
      weights: weights,
      limits: limits,
      sharing: (previous as? WitnessExecutable)?.whole,
      progress: progress
    )
    while state.withLock({ state in
      state.isWaiting = state.held == number
      return state.isWaiting
    }) { usleep(1000) }
    return WitnessExecutable(whole, number, state)
  }
}

private final class WitnessExecutable: Executable {
  let whole: any Executable
  private let number: Int
  private let state: Lock<WitnessBackend.State>

  init(_ whole: any Executable, _ number: Int, _ state: Lock<WitnessBackend.State>) {
    self.whole = whole
    self.number = number
    self.state = state
  }

  deinit { state.withLock { $0.lives[number].freed = currentThread() } }

  var program: Program { whole.program }
  var limits: ExecutableLimits { whole.limits }
  var footprint: Footprint { whole.footprint }
  var storages: [any CacheStorage] { whole.storages }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    state.withLock { _ = $0.lives[number].used.insert(currentThread()) }
    return try whole.run(batch, inputs: inputs)
  }
}

private func currentThread() -> UInt { UInt(pthread_self()) }

@Suite struct `Threads of executables` {
  private let checkpoint: Checkpoint

  init() throws {
    checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
  }

  /// Runs a worker and returns the lives of all its executables, the device test's first.
  private func lives(
    _ body: (WorkerFront, WitnessBackend) throws -> Void
  ) throws -> [Life] {
    let backend = WitnessBackend()
    try withTemporaryDirectory { directory in
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer {
        backend.state.withLock { $0.held = nil }
        front.close()
      }
      try front.welcome()
      try body(front, backend)
    }
    return backend.state.withLock { $0.lives }
  }

  /// Expects that all were used and freed where the device test was: on the compute thread.
  private func expectOneThread(
    _ lives: [Life],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (number, life) in lives.enumerated() {
      #expect(life.freed == lives[0].made, "number \(number)", sourceLocation: sourceLocation)
      #expect(
        life.used.isSubset(of: [lives[0].made]),
        "number \(number)",
        sourceLocation: sourceLocation
      )
    }
    #expect(lives.dropFirst().allSatisfy { $0.made != lives[0].made }, "no loader made one")
  }

  @Test func `a stage runs and is freed on the compute thread, the last one too`() throws {
    let lives = try lives { front, _ in
      for epoch: UInt32 in 1...3 {
        try front.assign(epoch)
        try front.awaitPrepared(epoch)
        try front.run(epoch: epoch)
      }
    }
    #expect(lives.count == 4)
    #expect(lives.dropFirst().allSatisfy { !$0.used.isEmpty })
    expectOneThread(lives)
  }

  @Test func `so is one that a loader still shares with when it is replaced`() throws {
    let lives = try lives { front, backend in
      try front.assign(1)
      try front.awaitPrepared(1)
      try front.run(epoch: 1)
      // The loader of the second epoch stops with the first stage in hand …
      backend.state.withLock { $0.held = 2 }
      try front.assign(2)
      while !backend.state.withLock({ $0.isWaiting }) { usleep(1000) }
      // … and is overtaken.
      try front.send(.abandon(Abandon(epoch: 2)))
      try front.assign(3)
      try front.awaitPrepared(3)
      try front.run(epoch: 3)
      backend.state.withLock { state in
        #expect(state.lives[1].freed == nil, "the loader has the first stage yet")
        state.held = nil
      }
    }
    #expect(lives.count == 4)
    #expect(lives[2].used.isEmpty && !lives[3].used.isEmpty)
    expectOneThread(lives)
  }

  @Test func `a stage that is prepared and never run is freed there as well`() throws {
    let lives = try lives { front, _ in
      try front.assign(1)
      try front.awaitPrepared(1)
    }
    #expect(lives.count == 2 && lives[1].used.isEmpty)
    expectOneThread(lives)
  }
}
