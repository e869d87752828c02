// The suite for all backends on a device that there is not: what a new device has to bring, and that it
// brings no bookkeeping.

import BackendConformance
import Compute
import Dispatch
import FakeGPUBackend
import Foundation
import Synchronization
import TestSupport
import Testing

private let seed = testSeed(default: 20_240_818)

@Suite struct `An imaginary GPU` {
  @Test(arguments: OpKind.allCases)
  func `it computes what the reference does, to the precision of its caches`(_ kind: OpKind) {
    let report = checkConformance(
      of: FakeGPU(),
      kinds: [kind],
      seed: seed,
      tolerance: [.appendKV, .attend].contains(kind) ? Tolerance.f16Cache : Tolerance.exact
    )
    #expect(report.failures.isEmpty, "\(report)")
    #expect((report.caseCount > 0) == (kind != FakeGPU.missingOp), "\(report)")
    #expect(kind != FakeGPU.missingOp || !report.skipped.isEmpty)
  }

  @Test func `slots are forgotten, misfit batches refused`() throws {
    let wrong = try checkLifecycle(of: FakeGPU(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `sessions move bit for bit, and executables follow one another`() throws {
    let wrong = try checkMoves(of: FakeGPU(), foreign: FakeGPU(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `logits may be cut between stages, and no bit changes`() throws {
    let wrong = try checkSlices(of: FakeGPU(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `its description is what it does`() {
    let wrong = checkDevice(of: FakeGPU())
    #expect(wrong.isEmpty, "\(wrong)")
  }

  private func prepare(
    _ backend: FakeGPU,
    sharing previous: ProgramRunner? = nil
  ) throws -> ProgramRunner {
    // Weights at the same place each time, as those of one model file are.
    try backend.prepare(
      testCase.program,
      weights: testCase.weights,
      limits: testCase.limits,
      sharing: previous
    ) { _ in }
  }

  private let testCase = ConformanceCase.lifecycle(seed: seed)

  @Test func `all memory that is taken is given back`() throws {
    let backend = FakeGPU()
    do {
      let first = try prepare(backend)
      let used = backend.usedByteCount
      #expect(used > first.footprint.ownedWeightBytes)
      let second = try prepare(backend, sharing: first)
      #expect(backend.usedByteCount == used, "weights and caches are there twice")
      #expect(second.footprint.sharedWeightBytes == second.footprint.ownedWeightBytes)
    }
    #expect(backend.usedByteCount == 0)
  }

  @Test func `too little memory is an error that says how much is left`() throws {
    let error = #expect(throws: ComputeError.self) {
      _ = try prepare(FakeGPU(memoryByteCount: 20_000))
    }
    #expect(error?.code == .memory)
    #expect(error?.message.contains("are left") == true)
  }

  @Test func `on another thread than the first it refuses to work`() throws {
    let runner = try prepare(FakeGPU())
    let rows = (0..<2).map { Row(slot: 0, position: $0, token: 1, isWanted: true) }
    _ = try runner.run(Batch(rows: [rows[0]]), inputs: [])
    // This thread waits for the other, which leaves no reference behind when it says that it is done.
    nonisolated(unsafe) let reference = unsafe Unmanaged.passUnretained(runner)
    let code = Mutex<ComputeError.Code?>(nil)
    let isDone = DispatchSemaphore(value: 0)
    @Sendable func attempt() -> ComputeError.Code? {
      do throws(ComputeError) {
        _ = unsafe try reference.takeUnretainedValue().run(Batch(rows: [rows[1]]), inputs: [])
        return nil
      } catch {
        return error.code
      }
    }
    Thread.detachNewThread {
      code.withLock { $0 = attempt() }
      isDone.signal()
    }
    isDone.wait()
    #expect(code.withLock { $0 } == .device)
    // What the device has broken off is gone, and the slot can begin anew.
    #expect(runner.positionCount(slot: 0) == 0)
    _ = try runner.run(Batch(rows: rows), inputs: [])
  }

  @Test func `ops of one phase run in any order, and there are fewer barriers than ops`() throws {
    let program = testCase.program
    let commands = CommandBuffer(program)
    #expect(commands.order.sorted() == Array(program.ops.indices))
    #expect(commands.order != Array(program.ops.indices), "no op was moved")
    #expect(commands.barrierCount < program.ops.count - 1)
    for (place, index) in commands.order.enumerated() {
      #expect(commands.recorded.ops[place] == program.ops[index])
    }
  }
}
