// The lowering against the reference implementation, on the backend that is obviously right.

import Compute
import Gemma
import TestSupport
import Testing

@Suite struct `Goldens on the reference backend` {
  @Test(arguments: Goldens.random)
  func `hidden states agree layer by layer`(_ name: String) throws {
    try GoldenChecks(name, backend: ReferenceBackend()).layers()
  }

  @Test(arguments: Goldens.random)
  func `logits agree`(_ name: String) throws {
    try GoldenChecks(name, backend: ReferenceBackend()).logits()
  }
}
