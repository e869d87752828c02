// What an NPU says of the inputs of products: the same to the last bit whether the array or the CPU
// multiplies.

import Compute
import Foundation
import Gemma
import NPUFake
import TestSupport
import Testing

@testable import NPUBackend

@Suite struct `Observed inputs on an NPU` {
  @Test(arguments: ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a"])
  func `the array and the CPU observe the same, and nothing unless asked`(_ name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let batch = Batch(
      rows: (0..<20).map {
        Row(slot: 0, position: $0, token: Int32($0 * 31 % 200 + 5), isWanted: $0 % 3 == 0)
      }
    )
    func observe(
      _ backend: NPU,
      observes: Bool = true
    ) throws -> (inputs: [ObservedInput], logits: [Float]) {
      var program = try checkpoint.config.lower(
        0..<checkpoint.config.layers.count,
        weights: checkpoint
      )
      program.observesInputs = observes
      let limits = ExecutableLimits(maxRows: 32, slots: 1, contextTokens: 64)
      let runner = try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
      let outputs = try runner.run(batch, inputs: [])
      return (runner.executable.observedInputs, outputs.last ?? [])
    }
    let onCPU = try observe(try NPU.emulated(EmulatedKernel(), leastRows: .max))
    let array = try NPU.emulated(EmulatedKernel(), leastRows: 4)
    let onArray = try observe(array)
    #expect(array.statistics.dispatches > 0)
    #expect(onArray.inputs == onCPU.inputs)
    let layout = ObservationLayout(checkpoint.config)
    #expect(Set(onArray.inputs.map(\.weight.name)) == Set(layout.places.map(\.name.canonical)))
    #expect(onArray.inputs.allSatisfy { [20, 7].contains($0.rowCount) })
    #expect(onArray.inputs.allSatisfy { $0.sums.contains { $0 > 0 } })
    let plain = try observe(array, observes: false)
    #expect(plain.inputs.isEmpty)
    #expect(plain.logits.map(\.bitPattern) == onArray.logits.map(\.bitPattern))
  }
}
