// `trestle calibrate`: how large the inputs of a model's products are, which a quantiser needs to know.

import ArgumentParser
import Client
import Content
import Gemma
import Launch
import Logging
import ModelFiles
import Quantization
import Wire

struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Collect importance data of a model, for `quantize --importance`.",
    discussion: """
      Runs a text through the model and sums up the squares of what each matrix is multiplied with. \
      A column with large inputs must be kept more precisely than one with small ones. The file is one \
      that llama.cpp's tools read, too, and theirs serve as well; a name that ends in .dat gives their \
      older format.

      The file is written every half minute, and at an interrupt. Give the same command again, without \
      --restart, to go on from there; a .dat file does not say of which text it is and cannot be continued.

      EXAMPLE: trestle calibrate gemma-3-270m-bf16.gguf --output importance.gguf
      """
  )

  @Argument(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(
    help: ArgumentHelp(
      "A text file in UTF-8 of the kind that the model is used for. Default: 80 KB of prose, verse, dialogue, code and other languages that come with the program.",
      valueName: "file"
    )
  )
  var text: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "file"))
  var output: String

  @OptionGroup var windows: WindowOptions

  @Flag(help: "Begin anew if the file exists.")
  var restart = false

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    try validateWindow(pipeline.context)
    if let device = pipeline.settings.devices?.first(where: { $0.hasPrefix("vulkan") }) {
      throw ValidationError(
        "--devices \(device): a GPU does not tell what its products are given; give cpu or npu."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      try checkWritable(output)
      let content = try text.map { try readText($0) } ?? CalibrationText.bundled
      let window = pipeline.context ?? 512
      var settings = pipeline.settings
      settings.contextTokens = window
      settings.observesInputs = true
      let pipeline = try Pipeline(
        model: model.path(interruptedBy: interrupt),
        settings,
        in: .program,
        interruptedBy: interrupt
      )
      let tokens = try pipeline.checkpoint.tokenizer()
        .encode(content, addBOS: true, parseSpecial: false)
      guard tokens.count >= window else {
        throw CommandError(
          "\(text ?? "the text") has \(tokens.count) tokens, but a window needs \(window); "
            + "give a longer text or a smaller --context"
        )
      }
      var calibration = try Calibration(
        of: pipeline.checkpoint,
        fingerprint: pipeline.fingerprint,
        dataset: text ?? "trestle",
        text: Digest(of: Array(content.utf8)),
        window: window,
        continuing: output,
        restarts: restart
      )
      let windowCount = min(windows.windows ?? .max, tokens.count / window)
      if calibration.windowCount >= windowCount {
        printError(
          "\(output) has \(counted(calibration.windowCount, "window")) already; nothing is left to do"
        )
      }
      if calibration.windowCount < windowCount {
        let own = try PrivatePipeline(
          pipeline,
          logger: log.logger("trestle.coordinator", default: .warning),
          interruptedBy: interrupt
        )
        defer { own.stop() }
        let client = try own.connect()
        defer { client.close() }
        try collect(
          tokens,
          windowCount,
          bos: pipeline.checkpoint.config.bosToken,
          client,
          Waiter(interruptedBy: interrupt),
          into: &calibration
        )
      }
      let document = CalibrationDocument(
        output: output,
        weights: calibration.weightCount,
        windows: calibration.windowCount,
        context: window
      )
      try printOut(json ? try trestle.json(document) : document.description)
    }
  }

  /// How long a crash can undo.
  private static let savingInterval = Duration.seconds(30)

  private func collect(
    _ tokens: [Int32],
    _ windowCount: Int,
    bos: Int32,
    _ client: CoordinatorClient,
    _ waiter: Waiter,
    into calibration: inout Calibration
  ) throws {
    let first = calibration.windowCount
    if first > 0 { printError("going on after \(counted(first, "window")), which \(output) has") }
    let progress = ProgressLine(label: "calibrating", tellsRemaining: true)
    defer { progress.clear() }
    var saved = ContinuousClock.now
    do {
      for index in first..<windowCount {
        let start = index * calibration.window
        let part = [bos] + tokens[(start + 1)..<(start + calibration.window)]
        let sums = try observe(part, client, waiter, calibration)
        calibration.add(sums)
        progress.show(Double(index + 1 - first) / Double(windowCount - first))
        guard .now - saved > Self.savingInterval else { continue }
        try calibration.save(to: output)
        saved = .now
      }
    } catch is Interrupted {
      progress.clear()
      if calibration.windowCount > first {
        try calibration.save(to: output)
        printError(
          "\(output) has \(calibration.windowCount) of \(windowCount) windows; \(adviceToGoOn)"
        )
      }
      throw Interrupted()
    }
    try calibration.save(to: output)
  }

  private var adviceToGoOn: String {
    if ImportanceFile.isLegacy(output) { return "a .dat file cannot be continued" }
    return "the same command\(restart ? " without --restart" : "") goes on"
  }

  /// How often a window is run again after a worker was lost in it.
  private static let mostRepetitions = 5

  /// Returns the sums of one window.
  ///
  /// After the loss of a worker some rows have been run again, so that they are counted twice in some stages:
  /// then the window's sums are useless.
  private func observe(
    _ tokens: [Int32],
    _ client: CoordinatorClient,
    _ waiter: Waiter,
    _ calibration: Calibration
  ) throws -> [Double] {
    for _ in 0..<Self.mostRepetitions {
      let evaluation = client.evaluate(tokens, .inputs)
      var sums = Array(repeating: 0.0, count: calibration.layout.count)
      while let part = try waiter.wait(for: { try await evaluation.next() }) {
        guard let observed = part.observed, observed.count == sums.count else {
          throw CommandError("the coordinator's answer lacks the inputs of some tokens")
        }
        for (index, value) in observed.enumerated() { sums[index] += Double(value) }
      }
      if calibration.counts(sums, rows: tokens.count) { return sums }
    }
    throw CommandError(
      "workers were lost in \(Self.mostRepetitions) attempts at one window; `--log-level info` shows why"
    )
  }
}

/// What `calibrate --json` prints.
struct CalibrationDocument: Encodable, CustomStringConvertible {
  var output: String
  /// How many matrices it has data of.
  var weights: Int
  var windows: Int
  var context: Int

  var description: String {
    "\(output): \(weights) matrices, \(counted(windows, "window")) of \(context) tokens"
  }
}
