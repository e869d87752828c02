// The CPU backend under the suite for all backends, with every instruction set of this machine.

import BackendConformance
import CPUBackend
import Compute
import Foundation
import Testing

/// The seed of this run: `TRESTLE_SEED`, or the same as always.
let seed = ProcessInfo.processInfo.environment["TRESTLE_SEED"].flatMap(UInt64.init) ?? 20_240_817

/// The instruction sets this machine has; says which it lacks.
let instructionSets: [InstructionSet] = InstructionSet.allCases.filter { set in
  if !set.isSupported { print("skipped: this machine has no \(set.rawValue) instructions") }
  return set.isSupported
}

@Suite struct `CPU backend conformance` {
  @Test(arguments: instructionSets, OpKind.allCases)
  func `every op agrees with the reference, whatever the batch`(
    _ set: InstructionSet,
    _ kind: OpKind
  ) throws {
    let backend = try CPUBackend(threads: 2, pinnedTo: nil, instructionSet: set)
    let report = checkConformance(of: backend, kinds: [kind], seed: seed)
    #expect(report.failures.isEmpty, "\(set): \(report)")
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(report.caseCount > 0)
  }

  @Test func `thread counts and instruction sets change no bit`() throws {
    var backends: [(name: String, backend: any Backend)] = []
    for (set, threads) in instructionSets.flatMap({ set in [1, 3].map { (set, $0) } }) {
      let backend = try CPUBackend(threads: threads, pinnedTo: nil, instructionSet: set)
      backends.append((name: "\(set) on \(threads) threads", backend: backend))
    }
    let report = checkAgreement(of: backends, seed: seed)
    #expect(report.failures.isEmpty, "\(report)")
  }
}
