// `trestle bench kernels`: each op against the limits of the machine.

import ArgumentParser
import CPUBackend
import Compute
import Launch

struct BenchKernelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernels",
    abstract: "Measure each op on the CPU against the limits of the machine.",
    discussion: """
      First the limits are measured: how fast memory can be read, and how many operations on bytes
      and on f32 the cores do from registers. Then the ops, types and shapes of Gemma 3n and Gemma 4
      run with several numbers of rows. The share is the shortest time that the limits allow, divided
      by the time measured. Up to 8 rows, weights are read from memory, as in decode; with more they
      are in the processor's cache, as in prefill.
      """
  )

  @Option(help: ArgumentHelp("Threads. Default: all CPUs.", valueName: "threads"))
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
      let threads = threads ?? AvailableCPUs.own.usableCount
      let backend = try CPU(threads: threads, pinnedTo: nil, instructionSet: instructions)
      let machine = try backend.measureLimits()
      let lab = KernelLab(
        backend: backend,
        bytesPerSecond: machine.bytesPerSecond,
        integerOperationsPerSecond: machine.integerOperationsPerSecond,
        floatOperationsPerSecond: machine.floatOperationsPerSecond
      )
      if !json { try printOut(Self.heading(machine, threads: threads, backend)) }
      var results: [KernelResult] = []
      for kernel in cases {
        let measured = try lab.measure(kernel, rows: rows.values)
        results += measured
        if !json { try printOut(measured.map(Self.line).joined(separator: "\n")) }
      }
      guard json else { return }
      let document = KernelDocument(
        threads: threads,
        instructions: backend.instructionSet.rawValue,
        limits: machine,
        results: results
      )
      try printOut(try trestle.json(document))
    }
  }

  private static func heading(_ limits: MachineLimits, threads: Int, _ backend: CPU) -> String {
    """
    \(threads) threads, \(backend.instructionSet.rawValue): memory \
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
  var threads: Int
  var instructions: String
  var limits: MachineLimits
  var results: [KernelResult]
}
