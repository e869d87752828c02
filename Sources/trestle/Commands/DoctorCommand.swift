// `trestle doctor`: which devices of this machine Trestle can use, what is missing, and how to fix
// that.

import ArgumentParser
import CPUBackend
import Compute
import Foundation
import Gemma
import Glibc
import Launch
import Platform
import VulkanBackend
import Wire

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Show which devices can be used here, what is missing, and how to fix that."
  )

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(
    help: ArgumentHelp(
      "Try all kernels on a Vulkan device, measure them, and write a report to attach to an issue. It takes a minute."
    )
  )
  var vulkanSelftest = false

  @Option(
    help: ArgumentHelp(
      "The number of the device to test. Default: the first GPU.",
      valueName: "number"
    )
  )
  var vulkanDevice: Int?

  @Flag(
    help: ArgumentHelp(
      "Try an NPU step by step, from questions to products, and write a report to attach to an issue. It takes seconds."
    )
  )
  var npuSelftest = false

  @Option(
    help: ArgumentHelp(
      "A PDI that somebody else's tools have made, to run before our own: it tells faults of the driver from faults of our programs.",
      valueName: "file"
    )
  )
  var npuImage: String?

  @Option(
    help: ArgumentHelp("The control code that goes with --npu-image.", valueName: "file")
  )
  var npuCode: String?

  @Flag(help: "With --npu-selftest: try a simulated NPU.")
  var emulate = false

  @Option(
    help: ArgumentHelp(
      "Where to write the report of the self-test. Default: vulkan-report.json or npu-report.json.",
      valueName: "file"
    )
  )
  var report: String?

  func validate() throws {
    if vulkanDevice != nil && !vulkanSelftest {
      throw ValidationError("--vulkan-device goes with --vulkan-selftest.")
    }
    for (name, isGiven) in [
      ("--npu-image", npuImage != nil), ("--npu-code", npuCode != nil), ("--emulate", emulate),
    ] where isGiven && !npuSelftest {
      throw ValidationError("\(name) goes with --npu-selftest.")
    }
    if (npuImage == nil) != (npuCode == nil) {
      throw ValidationError("--npu-image and --npu-code go together.")
    }
    if vulkanSelftest && npuSelftest {
      throw ValidationError("Choose one of --vulkan-selftest and --npu-selftest.")
    }
    if report != nil && !vulkanSelftest && !npuSelftest {
      throw ValidationError("--report goes with --vulkan-selftest or --npu-selftest.")
    }
  }

  /// Opens the report's file: that it cannot be written is better known before the test than after it.
  private func openReport(_ standard: String) throws -> OutputFile {
    try OutputFile(report ?? standard)
  }

  private func write(_ text: String, to file: OutputFile) throws {
    try unsafe Array(text.utf8).withUnsafeBytes { try unsafe file.write($0) }
    try file.finish()
  }

  /// Tries the NPU, and writes the report in any case.
  private func testNPU() throws {
    let file = try openReport("npu-report.json")
    let foreign = npuImage.flatMap { image in npuCode.map { (image: image, code: $0) } }
    let found = try NPUReport.make(emulates: emulate, foreign: foreign, prints: !json)
    let text = try trestle.json(found)
    try write(text, to: file)
    let path = file.path
    if json {
      try printOut(text)
    } else {
      try printOut(
        found.isRight
          ? "all steps hold\(found.emulated == true ? " on an emulation" : ""); the report is in \(path)"
          : found.device == nil
            ? "there is no NPU that could be tried; what was found is in \(path)"
            : "a step has failed; docs/NPU.md says what that means; please report it with \(path)"
      )
    }
    if !found.isRight { throw ExitCode.failure }
  }

  /// Tests, and writes the report in any case: what made a device fail is what it is for.
  private func testVulkan() throws {
    let file = try openReport("vulkan-report.json")
    let found = try VulkanSelfTest(vulkanDevice, prints: !json).run()
    let text = try trestle.json(found)
    try write(text, to: file)
    let path = file.path
    if json {
      try printOut(text)
    } else if let error = found.error {
      throw CommandError("\(error); please report it with \(path)")
    } else {
      try printOut(
        found.isRight
          ? "all kernels are right; the report is in \(path)"
          : "some kernels are WRONG on this device; please report it with \(path)"
      )
    }
    if !found.isRight { throw ExitCode.failure }
  }

  func run() throws {
    try reportingFailures {
      guard !vulkanSelftest else { return try testVulkan() }
      guard !npuSelftest else { return try testNPU() }
      let diagnosis = Diagnosis()
      if json {
        try printOut(try trestle.json(diagnosis))
        return
      }
      for device in diagnosis.devices {
        let name = device.device + (device.emulated ? " (emulated)" : "")
        try printOut("\(device.available ? "yes" : "no ")  \(name): \(device.detail)")
        if let remedy = device.remedy { try printOut("     \(remedy)") }
      }
      try printOut(
        "models: \(diagnosis.models.joined(separator: ", ")), as GGUF or in Hugging Face layout"
      )
      try printOut("next: \(diagnosis.next)")
    }
  }
}

/// The findings of `doctor`.
struct Diagnosis: Encodable {
  var devices: [DeviceReport]
  var defaultDevices: [String]
  /// The command to run next.
  var next: String
  /// The model families that can be read.
  var models = Architecture.allCases.map(\.rawValue)

  /// Kinds of which there is more to say, or that are no devices for users.
  private static let special: Set<String> = ["cpu", "vulkan", "npu", "reference"]

  init() {
    let settings = BackendSettings(threads: AvailableCPUs.own.usableCount)
    let registry = DeviceRegistry.builtIn
    let others = registry.kinds.filter { !Self.special.contains($0.name) }
    devices =
      [Self.cpu()] + Self.vulkan() + [NPUDiagnosis().report()]
      + others.map { $0.report(settings) }
    defaultDevices = registry.defaultDevices.map(\.name)
    next = Self.next(defaultDevices)
  }

  /// A prompt if a pipeline runs; else how to start one with the model at hand.
  private static func next(_ devices: [String]) -> String {
    let isServed = (try? Endpoint(EndpointOptions.standard).isListening()) ?? false
    if isServed { return "trestle run \"What news?\"    (a pipeline runs)" }
    let names = ((try? ModelsAtHand().names) ?? []).map(shellQuoted)
    let model: String
    switch names.count {
    case 0: model = " --model \(ModelsAtHand.example)    (a small model, which it fetches)"
    case 1: model = " --model \(names[0])"
    default: model = " --model \(names[0])    (or \(names[1...].prefix(4).joined(separator: ", ")))"
    }
    return "trestle up --devices \(devices.joined(separator: ","))\(model)"
  }

  private static func cpu() -> DeviceReport {
    let device = CPU.describe(threads: AvailableCPUs.own.usableCount)
    let best = InstructionSet.best
    return DeviceReport(
      device: device.name,
      available: true,
      emulated: device.isEmulated,
      detail:
        "\(AvailableCPUs.own.allowed.count) CPUs, kernels for \(best), "
        + "\(describe(bytes: device.memory.byteCount)) of memory"
        + limits(),
      remedy: best == .scalar
        ? "this CPU has neither AVX2 nor AVX512-VNNI: expect a tenth of the speed" : nil
    )
  }

  /// The limits that a container or service manager sets; empty if it sets none.
  private static func limits() -> String {
    let cpus = ControlGroup.own.cpus.map { "\(decimal($0, 1)) CPUs' time" }
    let memory = ControlGroup.own.memoryBytes.map { "\(describe(bytes: $0)) of memory" }
    let limits = [cpus, memory].compactMap(\.self)
    return limits.isEmpty ? "" : "; the control group allows " + limits.joined(separator: " and ")
  }

  /// Each Vulkan device with its number, or why there is none.
  private static func vulkan() -> [DeviceReport] {
    do {
      return try VulkanInstance.open().devices().map(vulkan)
    } catch {
      let nodes = entries("/dev/dri").filter { $0.hasPrefix("renderD") }
      let gpu =
        nodes.isEmpty ? "no GPU: /dev/dri has no render node" : "GPU at /dev/dri/\(nodes[0])"
      return [
        DeviceReport(device: "vulkan", available: false, detail: gpu, remedy: error.message)
      ]
    }
  }

  private static func vulkan(_ info: VulkanDeviceInfo) -> DeviceReport {
    let kind = info.isSoftware ? "on the CPU" : info.isUnified ? "integrated" : "discrete"
    // An emulation computes in the process's own memory, whatever its driver says.
    let heaps =
      info.isSoftware
      ? ["the machine's"]
      : info.heaps.map { heap in
        describe(bytes: heap.byteCount) + (heap.isDeviceLocal ? " of its own" : " of the host's")
      }
    let dot = info.hasFastIntegerDot ? "int8 products in hardware" : "no int8 products in hardware"
    return DeviceReport(
      device: Vulkan.name(info.index),
      available: info.missing.isEmpty,
      emulated: info.isSoftware,
      detail:
        "\(info.name), \(kind), driver \(info.driver); memory: \(heaps.isEmpty ? "none" : heaps.joined(separator: ", ")); \(dot), "
        + "subgroups of \(info.subgroupSize), bindings of up to \(describe(bytes: UInt64(info.maxRangeBytes)))",
      remedy: info.missing.isEmpty
        ? nil
        : "lacks \(info.missing.joined(separator: ", ")); a newer driver may have it"
    )
  }

  private static func entries(_ directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
  }
}
