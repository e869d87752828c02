// A worker with a device that it has never heard of.

import Compute
import FakeGPUBackend
import Foundation
import Gemma
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `A worker with an imaginary GPU` {
  // The device traps if a thread other than its own frees what it used.
  @Test func `it serves epoch after epoch, and gives all memory back`() throws {
    let backend = FakeGPU()
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer { front.close() }
      try front.welcome()
      for epoch: UInt32 in 1...3 {
        try front.assign(epoch)
        try front.awaitPrepared(epoch)
        try front.run(epoch: epoch)
      }
      #expect(backend.usedByteCount > 0)
    }
    #expect(backend.usedByteCount == 0)
  }

  @Test func `it introduces itself with what the device says`() throws {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let backend = FakeGPU(memoryByteCount: 123_456_789)
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer { front.close() }
      try front.welcome()
      let hello = try #require(front.hello)
      let device = hello.device
      #expect(device.kind == "gpu" && device.name == "fake-gpu" && device.isEmulated)
      #expect(device.hostThreads == 1 && device.preferredRows == 32 && device.rateHint == 8)
      #expect(device.memoryBytes == 123_456_789 && !device.isHostMemory && device.isMemoryShared)
      #expect(device.cacheTypes == ["f16"])
      #expect(device.ops.map(\.name) == OpKind.allCases.map(\.rawValue))
      #expect(
        device.ops.filter { !$0.obstacle.isEmpty } == [
          Capability(name: "laurel", obstacle: "laurel has no kernel")
        ]
      )
      #expect(device.weightTypes.map(\.name) == TensorType.allCases.map(\.rawValue))
      #expect(device.weightTypes.filter { !$0.obstacle.isEmpty }.map(\.name) == ["iq4_xs"])
    }
  }

  /// Returns what a worker says that cannot prepare a whole model.
  private func failure(of model: String, on backend: FakeGPU) throws -> PrepareFailed {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint(model).path)
      let front = try WorkerFront(directory: directory, checkpoint: checkpoint, backend: backend)
      defer { front.close() }
      try front.welcome()
      try front.assign(1)
      var failure: PrepareFailed?
      try front.awaitMessage { message in
        guard case .prepareFailed(let told) = message else { return false }
        failure = told
        return true
      }
      return try #require(failure)
    }
  }

  @Test func `an op that it cannot do ends the preparation in words, and names the layers`() throws
  {
    let failure = try failure(of: "gemma3n-random-a", on: FakeGPU())
    #expect(failure.code == .unsupported)
    #expect(failure.message.contains("laurel has no kernel"), "\(failure)")
    let layerCount = try Checkpoint.open(Goldens.checkpoint("gemma3n-random-a").path)
      .config.layers.count
    #expect(failure.layers == Array(0..<layerCount) && !failure.lacksLogits)
  }

  @Test func `too little memory is told as such`() throws {
    let failure = try failure(of: "gemma3-random-b", on: FakeGPU(memoryByteCount: 20_000))
    #expect(failure.code == .memory && failure.message.contains("are left"), "\(failure)")
    #expect(failure.layers.isEmpty)
  }

  @Test func `a device that is gone ends its worker, and the step says so`() throws {
    let backend = FakeGPU()
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
      let front = try WorkerFront(
        directory: directory,
        checkpoint: checkpoint,
        backend: backend,
        mayFail: true
      )
      try front.welcome()
      try front.assign(1)
      try front.awaitPrepared(1)
      try front.run(epoch: 1)
      backend.lose()
      try front.sendStep(2, epoch: 1)
      try front.awaitMessage { message in
        guard case .stepFailed(let failure) = message else { return false }
        #expect(failure.code == .device && failure.message.contains("the device is gone"))
        return true
      }
      let error = try #require(front.awaitEnd())
      #expect(error.code == .device && error.message.contains("the device is gone"), "\(error)")
    }
    #expect(backend.usedByteCount == 0)
  }
}
