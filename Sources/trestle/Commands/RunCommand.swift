// `trestle run`: submits a prompt and streams the text.

import ArgumentParser
import Gemma
import Launch
import Logging
import Wire

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Submit a prompt and stream the text.",
    discussion: """
      The prompt is a turn of a chat; with --raw it is continued as it is. Without a running
      pipeline give --model to start one for this prompt. Ctrl-C cancels this request alone.
      """
  )

  @Argument(help: ArgumentHelp("The prompt; - reads it from stdin.", valueName: "prompt"))
  var prompt: String

  @Flag(help: "Apply no chat template.")
  var raw = false

  @Flag(help: "Parse special tokens such as <start_of_turn> in the prompt (with --raw).")
  var special = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens to generate at most; -1 for as many as the context holds.",
      valueName: "tokens"
    )
  )
  var maxTokens = 256

  @OptionGroup var sampling: SamplingOptions

  @Option(help: ArgumentHelp("End before this text; may be repeated.", valueName: "text"))
  var stop: [String] = []

  @Flag(help: "Print one JSON document at the end, instead of streaming.")
  var json = false

  @Option(help: ArgumentHelp("Start a private pipeline with this model.", valueName: "path"))
  var model: String?

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var coordinator: ClientOptions
  @OptionGroup var log: LogOptions

  func validate() throws {
    guard maxTokens > 0 || maxTokens == -1 else {
      throw ValidationError(
        "--max-tokens \(maxTokens): give 1 or more, or -1 for as many as the context holds."
      )
    }
    if let option = pipeline.given.first, model == nil {
      throw ValidationError(
        "\(option): the pipeline that runs is not this command's; give \(option) to `trestle up`, or "
          + "start one for this prompt with --model."
      )
    }
    if prompt.isEmpty {
      throw ValidationError("the prompt is empty; is a variable of the shell unset?")
    }
    if stop.contains("") { throw ValidationError("--stop: the text is empty.") }
  }

  func run() throws {
    try reportingFailures {
      // As a shell reports a program ended by Ctrl-C, before the answer begins too.
      do { try submit() } catch is Interrupted { throw ExitCode(130) }
    }
  }

  private func submit() throws {
    let interrupt = try signalDescriptor()
    let text = prompt == "-" ? try readStandardInput() : prompt
    let own = try model.map { model in
      let planned = try Pipeline(
        model: model,
        pipeline.settings,
        in: .program,
        interruptedBy: interrupt
      )
      // A prompt of text needs it: what is missing is told before workers are started.
      if !planned.checkpoint.hasTokenizer { _ = try planned.checkpoint.tokenizer() }
      return try PrivatePipeline(
        planned,
        logger: log.logger("trestle.coordinator", default: .warning),
        interruptedBy: interrupt
      )
    }
    defer { own?.stop() }
    let client = try own.map { try Client($0.endpoint) } ?? coordinator.connect()
    let generate = Generate(
      request: client.newRequest(),
      prompt: .text(text),
      appliesChatTemplate: !raw,
      parsesSpecial: special,
      // A session ends with its context in any case.
      maxTokens: maxTokens < 0 ? Limits.positions : min(maxTokens, Limits.positions),
      sampling: sampling.sampling,
      stops: stop,
      ignoresEndOfTurn: false
    )
    if try serve(generate, client, interrupt) { throw Interrupted() }
  }

  /// Submits the request and shows what comes; returns whether the user cancelled it.
  private func serve(_ generate: Generate, _ client: Client, _ interrupt: CInt) throws -> Bool {
    var result = RunResult()
    var isCancelling = false
    var absence = Absence()
    var hasToldQueue = false
    client.onHealth = { health in
      if let news = absence.news(of: health) { printError(news) }
    }
    try client.send(.generate(generate))
    while true {
      guard let answer = try client.receive(interruptedBy: isCancelling ? nil : interrupt)
      else {
        isCancelling = true
        try client.send(.cancel(Cancel(request: generate.request)))
        continue
      }
      switch answer.message {
      case .accepted(let accepted) where accepted.queuePosition > 0 && !hasToldQueue:
        hasToldQueue = true
        printError("waiting: place \(accepted.queuePosition) in the queue")
      case .delta(let delta) where delta.request == generate.request:
        result.text += delta.text
        result.tokens += delta.tokens
        if !json { try printOut(delta.text, terminator: "", interruptedBy: interrupt) }
      case .finished(let finished) where finished.request == generate.request:
        result.finish(finished)
        try printOut(json ? try trestle.json(result) : "", interruptedBy: interrupt)
        return isCancelling
      case .requestFailed(let failure) where failure.request == generate.request:
        throw CommandError(failure.message)
      default: continue
      }
    }
  }
}

/// Which workers are missing while an answer is awaited, to be said once.
struct Absence {
  private var last: Set<String> = []
  private var told: Set<String> = []

  /// Returns what to say: of workers that are missing for a second time in a row, since one that has just
  /// died is back soon.
  mutating func news(of health: HealthReply) -> String? {
    let missing = Set(health.workers.filter { $0.state == .lost }.map(\.name))
    defer { last = missing }
    let lasting = missing.intersection(last)
    guard !lasting.isEmpty, lasting != told else { return nil }
    told = lasting
    return "waiting for workers that have not joined: " + lasting.sorted().joined(separator: ", ")
  }
}

/// What `run --json` prints.
struct RunResult: Encodable {
  struct Timing: Encodable {
    var ttftMs = 0.0
    var prefillTokensPerSecond = 0.0
    var decodeTokensPerSecond = 0.0
    var totalMs = 0.0
  }

  var text = ""
  var tokens: [Int32] = []
  var promptTokens = 0
  var finishReason = ""
  var timing = Timing()
  var placement: [PlacementRow] = []

  mutating func finish(_ finished: Finished) {
    promptTokens = finished.promptTokens
    finishReason = finished.reason.name
    placement = finished.placement.map { entry in
      PlacementRow(worker: entry.worker, device: entry.device, slice: entry.slice)
    }
    let timing = finished.timing
    self.timing.ttftMs = Double(timing.firstTokenMicroseconds) / 1000
    self.timing.totalMs = Double(timing.totalMicroseconds) / 1000
    self.timing.prefillTokensPerSecond = Self.rate(promptTokens, timing.prefillMicroseconds)
    // The first token belongs to the prompt's time.
    self.timing.decodeTokensPerSecond = Self.rate(
      finished.generatedTokens - 1,
      timing.decodeMicroseconds
    )
  }

  static func rate(_ count: Int, _ microseconds: UInt64) -> Double {
    microseconds > 0 ? Double(max(0, count)) * 1e6 / Double(microseconds) : 0
  }
}

extension FinishReason {
  var name: String {
    switch self {
    case .stop: "stop"
    case .length: "length"
    case .cancelled: "cancelled"
    }
  }
}
