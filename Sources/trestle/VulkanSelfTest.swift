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

  var isRight: Bool { !conformance.contains { !$0.failures.isEmpty } }
}

/// Runs the self-test of one device.
struct VulkanSelfTest {
  let backend: Vulkan
  let info: VulkanDeviceInfo

  /// - Parameter number: The device's number; nil for the first GPU.
  /// - Throws: Why there is no such device.
  init(_ number: Int?) throws {
    info = try VulkanInstance.open().device(number)
    backend = try Vulkan(index: info.index)
  }

  /// The kernels that a model spends its time in.
  private static func isMeasured(_ kernel: KernelCase) -> Bool {
    kernel.op == "attend"
      || (kernel.op == "matmul" && ["q4_0", "q4_K", "q6_K"].contains(kernel.type))
  }

  private static let seed: UInt64 = 20_261_129

  /// Runs everything, and prints what it does.
  ///
  /// - Returns: What was found.
  /// - Throws: What the device throws where it fails altogether.
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
    try printOut("\(name), driver \(info.driver)")
    let limits = try backend.measureLimits()
    report.limits = limits
    try printOut(
      "reads \(decimal(limits.bytesPerSecond / 1e9, 1)) GB/s, multiplies "
        + "\(decimal(limits.integerOperationsPerSecond / 1e9, 0)) GOPS of int8, "
        + "\(decimal(limits.floatOperationsPerSecond / 1e9, 0)) of f32"
    )
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
      try printOut(
        "\(isRight ? "right" : "WRONG") \(kind.rawValue): \(found.caseCount) cases"
          + (isRight ? "" : ", \(found.failures.count) wrong: \(found.failures[0])")
      )
    }
    try measure(limits, &report)
    if info.hasStatistics {
      report.shaders = try ShaderStatistics.all(deviceIndex: info.index).map { shader in
        var shader = shader
        shader.assembly = ""
        return shader
      }
    }
    return report
  }

  private func measure(_ limits: MachineLimits, _ report: inout VulkanReport) throws {
    // An emulation takes minutes for what a GPU does in seconds, and its speed says nothing.
    guard !info.isSoftware else { return }
    let lab = KernelLab(
      backend: backend,
      bytesPerSecond: limits.bytesPerSecond,
      integerOperationsPerSecond: limits.integerOperationsPerSecond,
      floatOperationsPerSecond: limits.floatOperationsPerSecond
    )
    for kernel in KernelCase.all where Self.isMeasured(kernel) {
      for result in try lab.measure(kernel, rows: [1, 8, 128]) {
        report.kernels.append(result)
        try printOut(
          "\(result.op) \(result.type) \(result.shape), \(result.rows) rows: "
            + "\(decimal(result.microseconds, 1)) us, \(decimal(result.shareOfLimit * 100, 0)) % of the "
            + "limit by \(result.bound)"
        )
      }
    }
  }
}
