// The reference backend under the suite for all backends. What it computes is compared with itself
// there (its values are tested with the goldens); what is shown here is that batches do not matter.

import BackendConformance
import Compute
import TestSupport
import Testing

private let seed = testSeed(default: 20_240_817)

@Suite struct `Reference backend conformance` {
  // Those that know of positions and row sets: the cases of appendKV attend as well. The other ops
  // see one row at a time.
  @Test(arguments: [OpKind.appendKV, .keepWanted])
  func `a row's result depends neither on its batch nor on how its session was cut`(
    _ kind: OpKind
  ) {
    let report = checkConformance(of: ReferenceBackend(), kinds: [kind], seed: seed)
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(report.caseCount > 0)
  }

  @Test func `slots are forgotten, misfit batches refused`() throws {
    let wrong = try checkLifecycle(of: ReferenceBackend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `sessions move bit for bit, and executables follow one another`() throws {
    let wrong = try checkMoves(of: ReferenceBackend(), foreign: nil, seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `logits may be cut between stages, and no bit changes`() throws {
    let wrong = try checkSlices(of: ReferenceBackend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `its description is what it does`() {
    let wrong = checkDevice(of: ReferenceBackend())
    #expect(wrong.isEmpty, "\(wrong)")
  }
}
