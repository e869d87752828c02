// The CPU backend under the suite for all backends, with every instruction set of this machine.

import BackendConformance
import CPUBackend
import Compute
import TestSupport
import Testing

/// The instruction sets this machine has; says which it lacks.
let instructionSets: [InstructionSet] = InstructionSet.allCases.filter { set in
  if !set.isSupported { print("skipped: this machine has no \(set.rawValue) instructions") }
  return set.isSupported
}

private let seed = testSeed(default: 20_240_817)

@Suite struct `CPU backend conformance` {
  @Test(arguments: OpKind.allCases)
  func `every op agrees with the reference, whatever batch, threads and instructions`(
    _ kind: OpKind
  ) throws {
    var peers: [Peer] = []
    for set in instructionSets {
      for threads in [1, 3] {
        let backend = try CPU(threads: threads, pinnedTo: nil, instructionSet: set)
        peers.append(Peer(name: "\(set) on \(threads) threads", backend: backend))
      }
    }
    let report = checkConformance(
      of: try CPU(threads: 2, pinnedTo: nil),
      peers: peers,
      kinds: [kind],
      seed: seed
    )
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(report.caseCount > 0)
  }

  @Test(arguments: instructionSets)
  func `slots are forgotten, misfit batches refused`(_ set: InstructionSet) throws {
    let backend = try CPU(threads: 2, pinnedTo: nil, instructionSet: set)
    let wrong = try checkLifecycle(of: backend, seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }
}
