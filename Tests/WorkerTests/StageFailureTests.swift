// What errors mean to the coordinator: each kind its own code.

import Compute
import FakeGPUBackend
import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing
import Wire

@testable import Worker

@Suite struct `Stage failures` {
  private func code(_ error: any Error) -> FailureCode {
    StageFailure(error, on: ReferenceBackend()).code
  }

  @Test func `every error of a backend has its code, alone or within a step`() {
    let codes: [(ComputeError.Code, FailureCode)] = [
      (.unsupported, .unsupported), (.memory, .memory), (.device, .device), (.weight, .model),
      (.batch, .step), (.invalidProgram, .internal),
    ]
    for (cause, expected) in codes {
      let error = ComputeError(cause, "why")
      #expect(code(error) == expected)
      #expect(code(WorkerError(.step, "step 3 failed", underlying: error)) == expected)
      #expect(StageFailure(error, on: ReferenceBackend()).reason.contains("why"))
    }
  }

  @Test func `errors that are no device's have theirs`() {
    #expect(code(WorkerError(.step, "logits before row 3 have 2 values")) == .step)
    #expect(code(WorkerError(.weights, "was not pulled")) == .model)
    #expect(code(WorkerError(.handOff, "cannot be reached")) == .handOff)
    #expect(code(WorkerError(.prepare, "assigned layers 9..<3")) == .internal)
    #expect(code(GemmaError(.tensor, "missing")) == .model)
    #expect(code(CancellationError()) == .internal)
  }

  @Test func `only the layers that are not supported are named`() throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let config = checkpoint.config
    var program = try config.lower(1..<config.layers.count, weights: checkpoint)
    // The gate of one layer in a type that the device has no kernel for.
    for (index, op) in program.ops.enumerated() where program.layer(of: op) == 2 {
      guard case .matmul(var product) = op else { continue }
      product.weight.type = .iq4_xs
      program.ops[index] = .matmul(product)
    }
    let error = ComputeError(.unsupported, "why")
    let failure = StageFailure(error, preparing: program, on: FakeGPU())
    #expect(failure.unsupportedLayers == [2] && !failure.lacksLogits)
    // What else goes wrong with such a program is no matter of its layers.
    let other = StageFailure(ComputeError(.memory, "why"), preparing: program, on: FakeGPU())
    #expect(other.unsupportedLayers.isEmpty)
  }
}
