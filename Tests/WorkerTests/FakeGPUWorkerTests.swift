// A worker with a device that it has never heard of.

import Compute
import FakeGPUBackend
import Foundation
import Gemma
import TestSupport
import Testing
import Wire

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

  @Test func `an op that it cannot do ends the preparation in words`() throws {
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3n-random-a").path)
      let front = try WorkerFront(
        directory: directory,
        checkpoint: checkpoint,
        backend: FakeGPU()
      )
      defer { front.close() }
      try front.welcome()
      try front.assign(1)
      var reason = ""
      try front.awaitMessage { message in
        guard case .prepareFailed(let failure) = message else { return false }
        reason = failure.message
        return true
      }
      #expect(reason.contains("laurel has no kernel"), "\(reason)")
    }
  }
}
