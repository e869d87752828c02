// The backend with an emulated array, against the reference: on the array, on the CPU, and both within one session.

import BackendConformance
import Compute
import NPUFake
import Testing

@testable import NPUBackend

@Suite struct `NPU backend conformance` {
  /// Rounding of weights and activations to bytes, relative to the largest output.
  static let tolerance: Float = 0.2

  @Test(arguments: OpKind.allCases)
  func `every op agrees with the reference, on the array and on the CPU`(
    _ kind: OpKind
  ) throws {
    let kernel = EmulatedKernel()
    // One core, because most of these products are small. Steps with two rows and more are for the array: the suite's schedules have both.
    let backend = try NPU.emulated(kernel, leastRows: 2)
    let report = checkConformance(
      of: backend,
      kinds: [kind],
      seed: 20_261_130,
      tolerance: Self.tolerance
    )
    #expect(report.failures.isEmpty, "\(report)")
    print(kind, report.caseCount, backend.statistics)
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
