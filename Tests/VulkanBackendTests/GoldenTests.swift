// The Vulkan backend against the reference implementation's values.

import TestSupport
import Testing
import VulkanBackend

@Suite(.needsVulkan) struct `Goldens on the Vulkan backend` {
  private func checks(_ name: String) throws -> GoldenChecks {
    try GoldenChecks(name, backend: Vulkan(index: TestDevice.index))
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
