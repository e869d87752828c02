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
    let report = checkConformance(
      of: try CPU(threads: 2, pinnedTo: nil, cacheType: .f32),
      peers: try peers(.f32),
      kinds: [kind],
      seed: seed
    )
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(report.caseCount > 0)
  }

  /// What int8 activations cost.
  ///
  /// Against f64, the root mean square of the error over that of the result. The lines are those of
  /// docs/SPEED.md.
  @Test func `rounding activations to int8 costs less than a hundredth`() throws {
    let backend = try CPU(threads: 1, pinnedTo: nil)
    let cases = OpKind.matmul.cases(seed: seed).filter { $0.name.contains("of real inputs") }
    #expect(cases.count == TensorType.allCases.count)
    for (type, testCase) in zip(TensorType.allCases, cases) {
      let got = try testCase.run(on: backend, .together, seed: seed)
      let want = try testCase.run(on: ReferenceBackend(), .together, seed: seed)
      var error = 0.0
      var size = 0.0
      for (key, row) in want {
        for (value, expected) in zip(try #require(got[key]), row) {
          error += Double(value - expected) * Double(value - expected)
          size += Double(expected) * Double(expected)
        }
      }
      let share = (error / size).squareRoot()
      print("matmul \(type) against f64: rms error \(share) of the result")
      #expect(share < (type.isQuantised ? 0.01 : 1e-6), "\(type)")
    }
  }

  private func peers(_ cacheType: CacheType) throws -> [Peer] {
    var peers: [Peer] = []
    for set in instructionSets {
      for threads in [1, 3] {
        let backend = try CPU(
          threads: threads,
          pinnedTo: nil,
          cacheType: cacheType,
          instructionSet: set
        )
        peers.append(Peer(name: "\(set) on \(threads) threads", backend: backend))
      }
    }
    return peers
  }

  @Test(arguments: [(CacheType.f16, Tolerance.f16Cache), (.q8_0, Tolerance.q8Cache)])
  func `attention over rounded keys and values stays within their rounding`(
    _ cacheType: CacheType,
    _ tolerance: Float
  ) throws {
    let report = checkConformance(
      of: try CPU(threads: 2, pinnedTo: nil, cacheType: cacheType),
      peers: try peers(cacheType),
      kinds: [.appendKV, .attend],
      seed: seed,
      tolerance: tolerance
    ) { testCase in
      // q8_0 has blocks of 32.
      cacheType == .f16 || testCase.program.caches.allSatisfy { $0.headDim.isMultiple(of: 32) }
    }
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.caseCount >= 10)
  }

  @Test func `heads that are no blocks of 32 are refused a q8_0 cache, by name`() throws {
    let testCase = try #require(
      OpKind.attend.cases(seed: seed).first { !$0.program.caches[0].headDim.isMultiple(of: 32) }
    )
    let backend = try CPU(threads: 1, pinnedTo: nil, cacheType: .q8_0)
    let error = #expect(throws: ComputeError.self) {
      try testCase.run(on: backend, .together, seed: seed)
    }
    #expect(error?.code == .unsupported && "\(error?.message ?? "")".contains("q8_0"))
  }

  @Test(arguments: instructionSets)
  func `products scale with their activations, and no bit changes`(
    _ set: InstructionSet
  ) throws {
    let backend = try CPU(threads: 2, pinnedTo: nil, instructionSet: set)
    let wrong = try checkScaling(of: backend, seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test(arguments: instructionSets)
  func `slots are forgotten, misfit batches refused`(_ set: InstructionSet) throws {
    let backend = try CPU(threads: 2, pinnedTo: nil, instructionSet: set)
    let wrong = try checkLifecycle(of: backend, seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test(arguments: instructionSets)
  func `logits may be cut between stages, and no bit changes`(_ set: InstructionSet) throws {
    for threads in 1...2 {
      let backend = try CPU(threads: threads, pinnedTo: nil, instructionSet: set)
      let wrong = try checkSlices(of: backend, seed: seed)
      #expect(wrong.isEmpty, "\(wrong)")
    }
  }

  @Test(arguments: CacheType.allCases)
  func `sessions move bit for bit, and executables follow one another`(
    _ cacheType: CacheType
  ) throws {
    for set in instructionSets {
      let backend = try CPU(threads: 2, pinnedTo: nil, cacheType: cacheType, instructionSet: set)
      let wrong = try checkMoves(of: backend, foreign: ReferenceBackend(), seed: seed)
      #expect(wrong.isEmpty, "\(set): \(wrong)")
    }
  }

  @Test func `its description is what it does`() throws {
    for cacheType in [CacheType?.none, .f16] {
      let backend = try CPU(
        threads: 2,
        pinnedTo: nil,
        cacheType: cacheType,
        memoryByteCount: 1 << 30
      )
      let wrong = checkDevice(of: backend)
      #expect(wrong.isEmpty, "\(wrong)")
      #expect(backend.device.hostThreads == 2 && backend.device.rateHint == 2)
      #expect(backend.device.cacheTypes == cacheType.map { [$0] } ?? CacheType.allCases)
      #expect(backend.device.memory == .host(1 << 30))
    }
  }
}
