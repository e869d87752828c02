// The Vulkan backend under the suite for all backends.

import BackendConformance
import Compute
import TestSupport
import Testing

@testable import VulkanBackend

private let seed = testSeed(default: 20_261_129)

@Suite(.needsVulkan) struct `Vulkan backend conformance` {
  private func backend(_ cacheType: CacheType? = nil) throws -> Vulkan {
    try Vulkan(index: TestDevice.index, cacheType: cacheType)
  }

  @Test(arguments: OpKind.allCases)
  func `every op agrees with the reference, whatever batch`(_ kind: OpKind) throws {
    let report = checkConformance(of: try backend(.f32), kinds: [kind], seed: seed)
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.skipped.isEmpty, "\(report.skipped)")
    #expect(report.caseCount > 0)
  }

  /// An emulation computes with small workgroups, which leave out what kernels do on GPUs: unrolled chunks,
  /// sums over several subgroups, tables in shared memory.
  @Test(arguments: [OpKind.matmul, .feedForward, .logits, .attend, .norm])
  func `kernels divided as on a GPU agree with the reference, whatever batch`(
    _ kind: OpKind
  ) throws {
    let backend = try Vulkan(
      index: TestDevice.index,
      cacheType: .f32,
      of: VulkanInstance.open(),
      dividesAsOnGPU: true
    )
    let report = checkConformance(of: backend, kinds: [kind], seed: seed)
    #expect(report.failures.isEmpty, "\(report)")
    #expect(report.caseCount > 0)
  }

  @Test(arguments: [(CacheType.f16, Tolerance.f16Cache), (.q8_0, Tolerance.q8Cache)])
  func `attention over rounded keys and values stays within their rounding`(
    _ cacheType: CacheType,
    _ tolerance: Float
  ) throws {
    let report = checkConformance(
      of: try backend(cacheType),
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
    let error = #expect(throws: ComputeError.self) {
      try testCase.run(on: try backend(.q8_0), .together, seed: seed)
    }
    #expect(error?.code == .unsupported && "\(error?.message ?? "")".contains("q8_0"))
  }

  @Test func `products scale with their activations, and no bit changes`() throws {
    let wrong = try checkScaling(of: backend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `slots are forgotten, misfit batches refused`() throws {
    let wrong = try checkLifecycle(of: backend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `logits may be cut between stages, and no bit changes`() throws {
    let wrong = try checkSlices(of: backend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test(arguments: CacheType.allCases)
  func `sessions move bit for bit, and executables follow one another`(
    _ cacheType: CacheType
  ) throws {
    let wrong = try checkMoves(of: backend(cacheType), foreign: ReferenceBackend(), seed: seed)
    #expect(wrong.isEmpty, "\(wrong)")
  }

  @Test func `its description is what it does`() throws {
    for cacheType in [CacheType?.none, .f16] {
      let backend = try backend(cacheType)
      let wrong = checkDevice(of: backend)
      #expect(wrong.isEmpty, "\(wrong)")
      #expect(backend.device.kind == .gpu)
      #expect(backend.device.name == Vulkan.name(TestDevice.index))
    }
  }
}
