// One run of `trestle quantize`: what is measured, chosen, written and told.

import CPUBackend
import Compute
import Foundation
import Gemma
import Glibc
import Launch
import ModelFiles
import Platform
import Quantization
import Wire

/// A quantisation from its source to its report.
struct QuantizationRun {
  private let command: QuantizeCommand
  private let interrupt: CInt
  private let checkpoint: Checkpoint
  private let tensors: [ExportedTensor]
  private let importance: Importance?
  private let threads: Int
  private let outputs: Outputs

  /// The files that are written.
  private struct Outputs {
    let model: String
    /// The report, as JSON and as tables.
    let report: String
    let table: String

    init(_ command: QuantizeCommand) {
      model = command.output
      report = command.report ?? command.output.dropLast(".gguf".count) + ".quantization.json"
      table = report.hasSuffix(".json") ? report.dropLast(".json".count) + ".txt" : report + ".txt"
    }

    /// Refuses files that cannot be made, that are read, or that would replace one another.
    func check(against inputs: [String]) throws {
      func resolved(_ path: String) -> String {
        URL(fileURLWithPath: path).resolvingSymlinksInPath().path
      }
      let read = Set(inputs.map(resolved))
      var written: Set<String> = []
      for path in [model, report, table] {
        try checkWritable(path)
        guard !read.contains(resolved(path)) else {
          throw CommandError("\(path) would replace a file that is read; give another name")
        }
        guard written.insert(resolved(path)).inserted else {
          throw CommandError(
            "\(path) is to be the model and its report; give another name to one of them"
          )
        }
      }
    }
  }

  /// Opens the source and checks everything that can be checked before the work begins.
  init(_ command: QuantizeCommand, interruptedBy interrupt: CInt) throws {
    self.command = command
    self.interrupt = interrupt
    threads = command.threads ?? AvailableCPUs.own.usableCount
    checkpoint = try Checkpoint.open(command.source.path(interruptedBy: interrupt))
    let tensors = checkpoint.ggufTensors
    self.tensors = tensors
    outputs = Outputs(command)
    try outputs.check(against: Self.inputs(command, checkpoint))
    // f32 adds no error.
    if let tensor = tensors.first(where: \.isQuantised), !command.allowRequantize,
      command.type != .f32
    {
      throw CommandError(
        "\(command.source): \(tensor.name) is quantised already, and the errors of both would add up; take the source"
          + " that this file was made from, or give --allow-requantize"
      )
    }
    importance = try command.importance.map { path in
      try Importance(ImportanceFile.read(path), name: path, for: tensors)
    }
  }

  /// The files that must not be written over: the source's, and those that the command reads besides.
  private static func inputs(
    _ command: QuantizeCommand,
    _ checkpoint: Checkpoint
  ) throws -> [String] {
    let own =
      checkpoint.format == .huggingFace
      ? ModelPath.names(in: checkpoint.path).map { "\(checkpoint.path)/\($0)" }
      : try checkpoint.files().map(\.file.path)
    return own + [command.text, command.importance].compactMap(\.self)
  }

  func perform() throws -> QuantizationReport {
    for (group, count) in checkpoint.tensorsLeftOut {
      printError(
        "note: \(count) tensors of \(group) are left out: the file is of the text model alone"
      )
    }
    var report = QuantizationReport(
      source: command.source.description,
      output: command.output,
      command: shellCommand,
      recipe: command.type?.rawValue ?? QuantizeCommand.Recipe.hybridQ4.rawValue
    )
    report.target = command.target?.rawValue
    report.importance = command.importance
    let choices: [TensorChoice]
    if let type = command.type {
      choices = TensorChoices.uniform(type, tensors)
    } else {
      choices = try choose(&report)
    }
    noteFallbacks(choices)
    let file = try QuantizedFile(checkpoint, choices, importance: importance, threads: threads)
    try checkSpace(file.byteCount + file.overheadByteCount)
    let errors = try withProgress("quantising") { try file.write(to: command.output, progress: $0) }
    report.add(choices, errors)
    do { try write(report) } catch {
      throw CommandError("\(command.output) is complete, but its report is not: \(reason(error))")
    }
    return report
  }

  /// Says where the type that was asked for is not possible.
  private func noteFallbacks(_ choices: [TensorChoice]) {
    guard let type = command.type else { return }
    let others = choices.filter {
      $0.tensor.precision == .any && $0.tensor.isWeight && $0.type != type
    }
    guard !others.isEmpty else { return }
    let types = Set(others.map(\.type.rawValue)).sorted().joined(separator: ", ")
    printError(
      "note: the rows of \(others.count) of the matrices are no blocks of \(type.blockLength) values, which \(type.rawValue)"
        + " needs; they are \(types)"
    )
  }

  // MARK: The recipe

  private func choose(_ report: inout QuantizationReport) throws -> [TensorChoice] {
    let recipe = HybridRecipe(
      checkpoint,
      tensors,
      for: command.target,
      importance: importance,
      threads: threads
    )
    let capacity = try capacity(recipe)
    let (windows, checks) = try self.windows()
    let backend = try CPU(threads: threads, pinnedTo: nil, cacheType: .f32)
    let sensitivities = try withProgress("measuring") { progress in
      try recipe.measure(windows: windows, on: backend, progress: progress)
    }
    report.sensitivity = .init(
      sensitivities,
      text: command.text ?? "the text that comes with trestle",
      tokens: windows.reduce(0) { $0 + $1.count }
    )
    let assessments = try withProgress("choosing types") { progress in
      try recipe.assess(sensitivities, progress: progress)
    }
    let choices = try recipe.choose(assessments, byteCount: capacity)
    let measured = try withProgress("checking") { progress in
      try recipe.divergence(of: choices, windows: checks, on: backend, progress: progress)
    }
    report.check = .init(
      predictedKl: recipe.predictedDivergence(of: choices, assessments),
      measuredKl: measured,
      tokens: checks.reduce(0) { $0 + $1.count }
    )
    return choices
  }

  /// Returns how many bytes all tensors may take, after a look at whether they can, and whether the disk has room.
  private func capacity(_ recipe: HybridRecipe) throws -> Int {
    let least = recipe.least
    let overhead = try overheadByteCount()
    let bits = command.bitsPerWeight ?? QuantizeCommand.defaultBits
    let capacity =
      command.size.map { $0.byteCount - overhead } ?? recipe.byteCount(bitsPerWeight: bits)
    guard capacity >= least.byteCount else {
      throw CommandError(
        command.size.map { size in
          "--size \(size.byteCount): too few bytes; with the smallest types the file has \(least.byteCount + overhead)"
        }
          ?? "--bits-per-weight \(bits): too few; with the smallest types it is \(least.bitsPerWeight)"
      )
    }
    // A first look, before minutes of measuring: what is chosen is checked again. Much more may be allowed than is used.
    try checkSpace(min(capacity, recipe.byteCount(bitsPerWeight: 16)) + overhead)
    return capacity
  }

  /// What the file takes besides its tensors, whatever their types are.
  private func overheadByteCount() throws -> Int {
    let choices = TensorChoices.uniform(.q8_0, tensors)
    return try QuantizedFile(checkpoint, choices, importance: importance, threads: threads)
      .overheadByteCount
  }

  /// The most tokens of a window: enough for attention to matter, and so few that all of it is one step.
  private static let windowTokens = 128

  private var probeTokens: Int { command.probeTokens ?? QuantizeCommand.defaultProbeTokens }

  /// Returns windows from all over the text to measure on, and others to check the result on.
  private func windows() throws -> (probes: [[Int32]], checks: [[Int32]]) {
    let text = try command.text.map { try readText($0) } ?? CalibrationText.bundled
    let tokens = try checkpoint.tokenizer().encode(text, addBOS: false, parseSpecial: false)
    // Windows of one length, as few as there can be; each begins with a token that is not of the text.
    let count = (probeTokens + Self.windowTokens - 1) / Self.windowTokens
    let length = (probeTokens + count - 1) / count - 1
    guard tokens.count >= 2 * count * length else {
      throw CommandError(
        "\(command.text ?? "the text") has \(tokens.count) tokens; \(2 * count * length) are needed to measure on"
          + " \(count * length) and to check the result on as many others"
      )
    }
    let windows = (0..<(2 * count)).map { index in
      let first = index * (tokens.count - length) / (2 * count - 1)
      return [checkpoint.config.bosToken] + tokens[first..<(first + length)]
    }
    return (
      windows.indices.filter { $0.isMultiple(of: 2) }.map { windows[$0] },
      windows.indices.filter { !$0.isMultiple(of: 2) }.map { windows[$0] }
    )
  }

  // MARK: Progress and files

  /// Runs work that reports its progress, and ends it at an interrupt.
  private func withProgress<Result>(
    _ label: String,
    _ work: (@escaping (Double) throws -> Void) throws -> Result
  ) throws -> Result {
    let line = ProgressLine(label: label, tellsRemaining: true)
    defer { line.clear() }
    return try work { fraction in
      line.show(fraction)
      let ready = try poll(sockets: [], descriptors: [interrupt], timeout: .zero)
      if ready.contains(descriptor: interrupt) { throw Interrupted() }
    }
  }

  /// Refuses to begin what would fill the disk.
  private func checkSpace(_ byteCount: Int) throws {
    var status = statvfs()
    guard unsafe statvfs(NewFile.directory(of: command.output), &status) == 0 else { return }
    let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
    guard free > UInt64(byteCount) else {
      throw CommandError(
        "\(command.output) takes \(describe(bytes: UInt64(byteCount))), but its disk has \(describe(bytes: free)) left"
      )
    }
  }

  private func write(_ report: QuantizationReport) throws {
    for (path, text) in [(outputs.report, try json(report)), (outputs.table, report.text)] {
      let file = try OutputFile(path)
      try unsafe Array((text + "\n").utf8).withUnsafeBytes { try unsafe file.write($0) }
      try file.finish()
    }
  }

  /// The command that gives the same file again.
  private var shellCommand: String {
    var words = ["trestle", "quantize", command.source.description, command.output]
    if let type = command.type { words += ["--type", type.rawValue] }
    if command.type == nil { words += ["--recipe", QuantizeCommand.Recipe.hybridQ4.rawValue] }
    if let bits = command.bitsPerWeight { words += ["--bits-per-weight", "\(bits)"] }
    if let size = command.size { words += ["--size", "\(size.byteCount)"] }
    if let target = command.target { words += ["--for", target.rawValue] }
    if let importance = command.importance { words += ["--importance", importance] }
    if let text = command.text { words += ["--text", text] }
    if command.type == nil { words += ["--probe-tokens", "\(probeTokens)"] }
    if command.allowRequantize { words.append("--allow-requantize") }
    if let report = command.report { words += ["--report", report] }
    return words.map(shellQuoted).joined(separator: " ")
  }
}

extension QuantizationReport {
  /// What the terminal shows.
  var summary: String {
    var lines = [
      "\(output): \(describe(bytes: UInt64(bytes))), \(decimal(bitsPerWeight, 2)) bits a weight"
        + (bitsPerQuantisedWeight > 0
          ? " (\(decimal(bitsPerQuantisedWeight, 2)) where quantised)," : ",")
        + " \(sizeRatio(from: bytesBefore, to: bytes)) than \(source)"
    ]
    lines += types.map { total in
      let error = total.relativeError.map { ", error \(decimal($0 * 100, 2)) %" } ?? ""
      return
        "  \(total.type): \(counted(total.tensors, "tensor")), \(describe(bytes: UInt64(total.bytes)))\(error)"
    }
    if let check {
      lines.append(
        "divergence of the next token: \(decimal(check.measuredKl, 5)) nats on \(check.tokens) tokens"
          + " (\(decimal(check.predictedKl, 5)) were expected)"
      )
    }
    return lines.joined(separator: "\n")
  }

  /// What is wrong with the file, a line each: tensors that their types cannot hold.
  var warnings: [String] {
    let shown = 5
    let lines = ruined.prefix(shown).map { tensor in
      "warning: \(tensor.name) loses \(decimal((tensor.relativeError ?? 0) * 100, 0)) % as \(tensor.type), which "
        + "cannot hold such values; --type bf16 does"
    }
    let rest = ruined.count - lines.count
    return lines + (rest > 0 ? ["warning: so do \(counted(rest, "other tensor"))"] : [])
  }

  /// The report as tables.
  var text: String {
    var parts = [summary, "made by: \(command)"]
    if let sensitivity {
      let groups = sensitivity.groups.sorted { $0.klDivergence > $1.klDivergence }
      parts.append(
        "What quantising one group alone to \(sensitivity.probeType) costs: \(sensitivity.metric), on"
          + " \(sensitivity.tokens) tokens of \(sensitivity.text)\n"
          + table(["group", "kl"], groups.map { [$0.title, decimal($0.klDivergence, 7)] })
      )
      if !sensitivity.kept.isEmpty {
        parts.append(
          "What is never quantised would cost as q8_0\n"
            + table(
              ["group", "kl"],
              sensitivity.kept.map { [$0.title, decimal($0.klDivergence, 7)] }
            )
        )
      }
    }
    let rows = tensors.map { tensor in
      [
        tensor.name, tensor.shape.map(String.init).joined(separator: " × "), tensor.type,
        "\(tensor.bytes)",
        tensor.relativeError.map { "\(decimal($0 * 100, 3)) %" } ?? "copied", tensor.reason,
      ]
    }
    parts.append(table(["tensor", "shape", "type", "bytes", "error", "chosen by"], rows))
    return parts.joined(separator: "\n\n")
  }
}
