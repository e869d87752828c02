// `trestle run`: submits a prompt and streams the text.

import ArgumentParser
import Client
import Gemma
import Launch
import Logging
import Platform
import Wire

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Submit a prompt and stream the text.",
    discussion: """
      The prompt becomes a turn of a chat; with --raw it is continued unchanged. If no pipeline \
      runs, --model starts one for this prompt. Ctrl-C cancels this request alone.
      """
  )

  @Argument(help: ArgumentHelp("The prompt; - reads it from stdin.", valueName: "prompt"))
  var prompt: String

  @Option(
    help: ArgumentHelp("Instructions that the model is given before the prompt.", valueName: "text")
  )
  var system: String?

  @Flag(
    help:
      "Let the model think before it answers. What it thinks is shown on stderr; --json has it in a field of its own."
  )
  var think = false

  @Flag(help: "Apply no chat template.")
  var raw = false

  @Flag(help: "Parse special tokens such as <start_of_turn> in the prompt (with --raw).")
  var special = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The most tokens to generate; -1 for as many as the context holds.",
      valueName: "tokens"
    )
  )
  var maxTokens = 256

  @OptionGroup var sampling: SamplingOptions

  @Option(
    help: ArgumentHelp(
      "End the answer, or the thought before it, before this text; may be repeated.",
      valueName: "text"
    )
  )
  var stop: [String] = []

  @Flag(help: "Print one JSON document at the end, instead of streaming.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Start a private pipeline with this model: a path, or a name on a hub as in `trestle pull`.",
      valueName: "model"
    )
  )
  var model: ModelName?

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
        "\(option): this command cannot change the pipeline that runs; give \(option) to `trestle up`, or "
          + "start a pipeline for this prompt with --model."
      )
    }
    if prompt.isEmpty {
      throw ValidationError("the prompt is empty; is a variable of the shell unset?")
    }
    if system?.isEmpty == true { throw ValidationError("--system: the text is empty.") }
    guard system == nil || !raw else {
      throw ValidationError(
        "--system is a message of a chat; give it without --raw, or put the instructions into the prompt."
      )
    }
    guard !think || !raw else {
      throw ValidationError(
        "--think: the chat template asks the model to think; give it without --raw."
      )
    }
    guard !special || raw else {
      throw ValidationError(
        "--special: give it together with --raw; a chat has its own special tokens."
      )
    }
    if stop.contains("") { throw ValidationError("--stop: the text is empty.") }
    guard stop.count <= Limits.stops else {
      throw ValidationError("--stop is given \(stop.count) times; give at most \(Limits.stops).")
    }
    if let long = stop.first(where: { $0.utf8.count > Limits.stopBytes }) {
      throw ValidationError(
        "--stop: a text has \(long.utf8.count) bytes; give at most \(Limits.stopBytes)."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      // The exit status that a shell reports for a program ended by Ctrl-C, also if the answer has
      // not begun.
      do { try submit() } catch is Interrupted { throw ExitCode(130) }
    }
  }

  private func submit() throws {
    let interrupt = try signalDescriptor()
    let text = prompt == "-" ? try readStandardInput() : prompt
    let own = try model.map { model in
      let planned = try Pipeline(
        model: model.path(interruptedBy: interrupt),
        pipeline.settings,
        in: .program,
        interruptedBy: interrupt
      )
      // A prompt of text needs the tokenizer, so its absence is reported before workers are
      // started.
      if !planned.checkpoint.hasTokenizer { _ = try planned.checkpoint.tokenizer() }
      return try PrivatePipeline(
        planned,
        logger: log.logger("trestle.coordinator", default: .warning),
        interruptedBy: interrupt
      )
    }
    defer { own?.stop() }
    let absence = Lock(Absence())
    let onHealth = { @Sendable (health: HealthReply) in
      if let news = absence.withLock({ $0.news(of: health) }) { printError(news) }
    }
    let client = try own?.connect(onHealth: onHealth) ?? coordinator.connect(onHealth: onHealth)
    // The client is closed before the pipeline, so that open requests end with an error and not
    // with a lost connection.
    defer { client.close() }
    let generate = Generate(
      request: 0,
      prompt: conversation(text).map { .messages($0) } ?? .text(text),
      appliesChatTemplate: !raw,
      parsesSpecial: special,
      // A session ends at the end of its context in any case.
      maxTokens: maxTokens < 0 ? Limits.positions : min(maxTokens, Limits.positions),
      sampling: sampling.sampling,
      stops: stop,
      ignoresEndOfTurn: false,
      thinks: think
    )
    if try show(client.generate(generate), interrupt) { throw Interrupted() }
  }

  /// Returns the messages of a chat that begins with instructions; nil if there are none.
  private func conversation(_ text: String) -> [PromptMessage]? {
    guard let system else { return nil }
    return [
      PromptMessage(role: .system, text: system), PromptMessage(role: .user, text: text),
    ]
  }

  /// Shows what comes; returns whether the user cancelled it.
  private func show(_ generation: Generation, _ interrupt: CInt) throws -> Bool {
    let waiter = try Waiter(interruptedBy: interrupt)
    var document = GenerationDocument()
    var isCancelling = false
    var hasToldQueue = false
    var thought = ThoughtOutput()
    defer { thought.end() }
    func cancel() {
      isCancelling = true
      generation.cancel()
    }
    while let event = try waiter.next(of: generation, onInterrupt: cancel) {
      document.add(event)
      switch event {
      case .accepted(let accepted) where accepted.queuePosition > 0 && !hasToldQueue:
        hasToldQueue = true
        printError("waiting: place \(accepted.queuePosition) in the queue")
      case .accepted: break
      case .delta(let delta):
        if json { continue }
        thought.show(delta.thought)
        if delta.text.isEmpty { continue }
        thought.end()
        try printOut(delta.text, terminator: "", interruptedBy: interrupt)
      case .finished:
        thought.end()
        try printOut(json ? try trestle.json(document) : "", interruptedBy: interrupt)
        if let news = document.endedThinking, !json { printError(news) }
      }
    }
    return isCancelling
  }
}

/// Reports once which workers are missing while an answer is awaited.
struct Absence {
  private var last: Set<String> = []
  private var told: Set<String> = []

  /// Returns what to report about workers that are missing for the second time in a row.
  ///
  /// One that is missing only once has just died and will soon be restarted.
  mutating func news(of health: HealthReply) -> String? {
    let missing = Set(health.workers.filter { $0.state == .lost }.map(\.name))
    defer { last = missing }
    let lasting = missing.intersection(last)
    guard !lasting.isEmpty, lasting != told else { return nil }
    told = lasting
    return "waiting for workers that are missing: " + lasting.sorted().joined(separator: ", ")
  }
}
