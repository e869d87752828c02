// The backend with an emulated array, against the reference: on the array, on the CPU, and both within one session.

import BackendConformance
import Compute
import NPUFake
import Testing

@testable import NPUBackend

@Suite struct `NPU backend conformance` {
  /// Rounding of weights and activations to bytes, relative to the largest output.
  private static let tolerance: Float = 0.2
  /// A norm over two values makes much of a little.
  private static let toleranceOfTinyHeads: Float = 0.6

  private func check(
    _ backend: NPU,
    _ kind: OpKind,
    where isIncluded: (ConformanceCase) -> Bool
  ) {
    for isTiny in [false, true] {
      let report = checkConformance(
        of: backend,
        kinds: [kind],
        seed: 20_261_130,
        tolerance: isTiny ? Self.toleranceOfTinyHeads : Self.tolerance
      ) { testCase in
        testCase.name.contains("head 2,") == isTiny && isIncluded(testCase)
      }
      // No case of a kind may have a tiny head.
      let failures = report.failures.filter { !$0.hasPrefix("no case tries") }
      #expect(failures.isEmpty, "\(report)")
      #expect(isTiny || report.caseCount > 0)
    }
  }

  @Test(arguments: OpKind.allCases)
  func `every op agrees with the reference where the CPU multiplies`(_ kind: OpKind) throws {
    let backend = try NPU.emulated(EmulatedKernel(), leastRows: .max)
    check(backend, kind) { _ in true }
    #expect(backend.statistics.dispatches == 0)
  }

  /// Whatever their type, weights are bytes on the array: two types will do.
  @Test(arguments: OpKind.allCases)
  func `every op agrees with the reference where the array multiplies`(_ kind: OpKind) throws {
    // One core, because most of these products are small. Steps with two rows and more are for the array: the suite's
    // schedules have both, and must give the same bits.
    let backend = try NPU.emulated(EmulatedKernel(), leastRows: 2)
    let others = TensorType.allCases.map(\.rawValue).filter { !["f32", "q4_K"].contains($0) }
    check(backend, kind) { testCase in !others.contains { testCase.name.contains($0) } }
    let hasProducts: Set<OpKind> = [
      .expandStreams, .perLayerInputs, .laurel, .projectKV, .projectQueries, .matmul, .feedForward,
      .injectPerLayerInput,
    ]
    #expect((backend.statistics.dispatches > 0) == hasProducts.contains(kind))
    #expect(backend.statistics.retries == 0)
  }

  @Test func `its description is what it does`() throws {
    let backend = try NPU.emulated(EmulatedKernel(), leastRows: 2)
    #expect(checkDevice(of: backend) == [])
    #expect(backend.device.isEmulated && backend.device.kind == .npu)
  }
}

extension NPU {
  /// A backend that gives small products to the array as well.
  static func emulated(
    _ kernel: EmulatedKernel,
    leastRows: Int,
    side: Int = 1,
    patience: Duration = .seconds(60),
    note: @escaping @Sendable (String) -> Void = { _ in }
  ) throws -> NPU {
    var settings = NPUSettings()
    settings.leastRows = leastRows
    settings.leastElements = 1
    settings.side = side
    settings.patience = patience
    return try NPU(kernel, threads: 2, settings: settings, note: note)
  }
}
