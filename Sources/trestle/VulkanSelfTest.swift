// `doctor --vulkan-selftest`: tries and measures a Vulkan device on its owner's machine, and writes one file
// that can be attached to a report.

import BackendConformance
import Compute
import Foundation
import Launch
import VulkanBackend

/// What the self-test has found, as one JSON document.
struct VulkanReport: Encodable {
  struct Conformance: Encodable {
    var op: String
    var cases: Int
    var failures: [String]
  }

  var program = "trestle \(programVersion)"
  var system: String
  var device: String
  var driver: String
  var emulated: Bool
  var subgroupSize: Int
  var maxRangeBytes: Int
  var heapBytes: [UInt64]
  var limits: MachineLimits?
  var conformance: [Conformance] = []
  var kernels: [KernelResult] = []
  /// The driver's numbers of each kernel, without its instructions; empty if it has none.
  var shaders: [ShaderStatistics] = []
  /// What was left out on purpose.
  var leftOut: [String] = []
  /// What ended the test early; what was found before stands above.
  var error: String?

  var isRight: Bool { error == nil && !conformance.contains { !$0.failures.isEmpty } }
}

/// Runs the self-test of one device.
struct VulkanSelfTest {
  let backend: Vulkan
  let info: VulkanDeviceInfo
  /// Whether what is found is printed meanwhile.
  private let prints: Bool

  /// - Parameters:
  ///   - number: The device's number; nil for the first GPU.
  ///   - prints: Whether to print what is found meanwhile.
  /// - Throws: Why there is no such device.
  init(_ number: Int?, prints: Bool) throws {
    self.prints = prints
    info = try VulkanInstance.open().device(number)
    backend = try Vulkan(index: info.index)
  }

  /// The kernels that a model spends its time in.
  private static func isMeasured(_ kernel: KernelCase) -> Bool {
    kernel.op == "attend"
      || (kernel.op == "matmul" && ["q4_0", "q4_K", "q6_K"].contains(kernel.type))
  }

  private static let seed: UInt64 = 20_261_129

  private func show(_ line: String) throws { if prints { try printOut(line) } }

  /// Runs everything.
  ///
  /// - Returns: What was found, also where the device has failed.
  /// - Throws: The error of an output that cannot be written.
  func run() throws -> VulkanReport {
    var report = VulkanReport(
      system: ProcessInfo.processInfo.operatingSystemVersionString,
      device: info.name,
      driver: info.driver,
      emulated: info.isSoftware,
      subgroupSize: info.subgroupSize,
      maxRangeBytes: info.maxRangeBytes,
      heapBytes: info.heaps.map(\.byteCount)
    )
    let name = info.name + (info.isSoftware ? " (emulated)" : "")
    try show("\(name), driver \(info.driver)")
    do {
      try test(&report)
    } catch let error as ComputeError {
      report.error = error.description
    }
    return report
  }

  private func test(_ report: inout VulkanReport) throws {
    try testKernels(&report)
    let limits = try backend.measureLimits()
    report.limits = limits
    try show(
      "reads \(decimal(limits.bytesPerSecond / 1e9, 1)) GB/s, multiplies "
        + "\(decimal(limits.integerOperationsPerSecond / 1e9, 0)) GOPS of int8, "
        + "\(decimal(limits.floatOperationsPerSecond / 1e9, 0)) of f32"
    )
    try measure(limits, &report)
    guard info.hasStatistics else {
      report.leftOut.append("shaders: the driver tells nothing of them")
      return
    }
    report.shaders = try ShaderStatistics.all(deviceIndex: info.index).map { shader in
      var shader = shader
      shader.assembly = ""
      return shader
    }
  }

  private func testKernels(_ report: inout VulkanReport) throws {
    for kind in OpKind.allCases {
      let found = checkConformance(of: backend, kinds: [kind], seed: Self.seed)
      report.conformance.append(
        VulkanReport.Conformance(
          op: kind.rawValue,
          cases: found.caseCount,
          failures: found.failures
        )
      )
      let isRight = found.failures.isEmpty
      try show(
        "\(isRight ? "right" : "WRONG") \(kind.rawValue): \(found.caseCount) cases"
          + (isRight ? "" : ", \(found.failures.count) wrong: \(found.failures[0])")
      )
    }
  }

  private func measure(_ limits: MachineLimits, _ report: inout VulkanReport) throws {
    // An emulation takes minutes for what a GPU does in seconds, and its speed says nothing.
    guard !info.isSoftware else {
      report.leftOut.append("kernels: an emulation's speed says nothing")
      return
    }
    let lab = KernelLab(
      backend: backend,
      bytesPerSecond: limits.bytesPerSecond,
      integerOperationsPerSecond: limits.integerOperationsPerSecond,
      floatOperationsPerSecond: limits.floatOperationsPerSecond
    )
    for kernel in KernelCase.all where Self.isMeasured(kernel) {
      for result in try lab.measure(kernel, rows: [1, 8, 128]) {
        report.kernels.append(result)
        try show(
          "\(result.op) \(result.type) \(result.shape), \(result.rows) rows: "
            + "\(decimal(result.microseconds, 1)) us, \(decimal(result.shareOfLimit * 100, 0)) % of the "
            + "limit by \(result.bound)"
        )
      }
    }
  }
}
