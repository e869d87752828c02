// The CPU backend against the reference implementation's values.

import CPUBackend
import TestSupport
import Testing

@Suite struct `Goldens on the CPU backend` {
  private func checks(_ name: String) throws -> GoldenChecks {
    try GoldenChecks(name, backend: CPU(threads: 2, pinnedTo: nil))
  }

  @Test(arguments: Goldens.random)
  func `hidden states agree layer by layer`(_ name: String) throws {
    try checks(name).layers()
  }

  @Test(arguments: Goldens.random + ["demo-model"])
  func `logits agree`(_ name: String) throws {
    try checks(name).logits()
  }

  @Test(arguments: Goldens.random + ["demo-model"])
  func `greedy continuations are the same`(_ name: String) throws {
    try checks(name).greedy()
  }
}
