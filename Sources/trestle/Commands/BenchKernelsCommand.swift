// `trestle bench kernels`: each op against the limits of the machine.

import ArgumentParser
import CPUBackend
import Compute
import Launch
import VulkanBackend

struct BenchKernelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernels",
    abstract: "Measure each op on a device against the limits of its silicon.",
    discussion: """
      First the limits are measured: how fast memory can be read, and how many operations on bytes \
      and on f32 the cores do from registers. Then the ops, types and shapes of Gemma 3n and Gemma 4 \
      run with several numbers of rows. The share is the shortest time that the limits allow, divided \
      by the time measured. Up to 8 rows, weights are read from memory, as in decode; with more they \
      are in the processor's cache, as in prefill.
      """
  )

  @Option(
    help: ArgumentHelp(
      "The device: cpu, vulkan (the first GPU), or vulkan:1 (the device with this number).",
      valueName: "device"
    )
  )
  var device = "cpu"

  @Option(help: ArgumentHelp("Threads of the CPU. Default: all CPUs.", valueName: "threads"))
  var threads: Int?

  @Option(help: ArgumentHelp("Numbers of rows to measure, for example 1,8,512.", valueName: "rows"))
  var rows = NumberList([1, 2, 4, 8, 32, 512])

  @Option(
    help: ArgumentHelp(
      "Measure only ops or types whose name contains this text, for example q4_0.",
      valueName: "text"
    )
  )
  var only = ""

  @Option(
    help: ArgumentHelp(
      "Instructions to use: scalar, avx2 or avx512vnni. Default: the best that this CPU has.",
      valueName: "set"
    )
  )
  var instructions: InstructionSet?

  @Flag(help: "Only measure the machine's limits.")
  var limits = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads) is outside 1...1024.")
    }
    guard rows.values.allSatisfy({ (1...4096).contains($0) }) else {
      throw ValidationError("--rows: give numbers from 1 to 4096.")
    }
  }

  func run() throws {
    try reportingFailures {
      let cases =
        limits ? [] : KernelCase.all.filter { only.isEmpty || "\($0.op) \($0.type)".contains(only) }
      guard limits || !cases.isEmpty else {
        throw CommandError("--only \(only): no op or type contains this text")
      }
      let measured = try measured()
      let machine = measured.limits
      let lab = KernelLab(
        backend: measured.backend,
        bytesPerSecond: machine.bytesPerSecond,
        integerOperationsPerSecond: machine.integerOperationsPerSecond,
        floatOperationsPerSecond: machine.floatOperationsPerSecond
      )
      if !json { try printOut(Self.heading(machine, measured.name)) }
      var results: [KernelResult] = []
      for kernel in cases {
        let measured = try lab.measure(kernel, rows: rows.values)
        results += measured
        if !json { try printOut(measured.map(Self.line).joined(separator: "\n")) }
      }
      guard json else { return }
      let document = KernelDocument(
        device: measured.backend.device.name,
        emulated: measured.backend.device.isEmulated,
        threads: measured.backend.device.hostThreads,
        instructions: measured.instructions,
        limits: machine,
        results: results
      )
      try printOut(try trestle.json(document))
    }
  }

  /// A device with its limits.
  private struct Measured {
    var backend: any Backend
    var limits: MachineLimits
    /// What a heading calls it.
    var name: String
    /// The instruction set of a CPU.
    var instructions: String?
  }

  private func measured() throws -> Measured {
    let kind = try DeviceRegistry.builtIn.kind(named: device)
    let threads = threads ?? AvailableCPUs.own.usableCount
    switch try kind.makeBackend(BackendSettings(threads: threads)) {
    case let vulkan as Vulkan:
      guard instructions == nil else {
        throw CommandError("--instructions is for the CPU; \(device) has none")
      }
      let name = vulkan.deviceName + (vulkan.device.isEmulated ? " (emulated)" : "")
      return Measured(backend: vulkan, limits: try vulkan.measureLimits(), name: name)
    case is CPU:
      let cpu = try CPU(threads: threads, pinnedTo: nil, instructionSet: instructions)
      let instructions = cpu.instructionSet.rawValue
      return Measured(
        backend: cpu,
        limits: try cpu.measureLimits(),
        name: "\(threads) threads, \(instructions)",
        instructions: instructions
      )
    default:
      throw CommandError("--device \(device): its limits cannot be measured; use cpu or vulkan")
    }
  }

  private static func heading(_ limits: MachineLimits, _ name: String) -> String {
    """
    \(name): memory \
    \(decimal(limits.bytesPerSecond / 1e9, 1)) GB/s, bytes \
    \(decimal(limits.integerOperationsPerSecond / 1e9, 0)) GOPS, f32 \
    \(decimal(limits.floatOperationsPerSecond / 1e9, 0)) GOPS
    \(columns(["op", "type", "shape", "rows", "us", "GB/s", "GOPS", "bound by", "share"]))
    """
  }

  private static func line(_ result: KernelResult) -> String {
    columns([
      result.op, result.type, result.shape, "\(result.rows)",
      decimal(result.microseconds, 1), decimal(result.bytesPerSecond / 1e9, 1),
      decimal(result.operationsPerSecond / 1e9, 0), result.bound,
      "\(decimal(result.shareOfLimit * 100, 0)) %",
    ])
  }

  /// The widths are fixed, because each line is printed as soon as it is measured.
  private static func columns(_ cells: [String]) -> String {
    let widths = [16, 9, 13, 5, 10, 7, 7, 8, 6]
    return zip(cells, widths).enumerated().map { index, cell in
      let padding = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
      return index < 3 ? cell.0 + padding : padding + cell.0
    }.joined(separator: " ")
  }
}

extension InstructionSet: ExpressibleByArgument {}

/// What `bench kernels --json` prints.
private struct KernelDocument: Encodable {
  var device: String
  var emulated: Bool
  var threads: Int
  var instructions: String?
  var limits: MachineLimits
  var results: [KernelResult]
}
