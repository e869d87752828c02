// `trestle up`: the coordinator and its workers, in the foreground.

import ArgumentParser
import Coordinator
import Launch
import Logging
import Platform
import Wire

struct UpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up",
    abstract: "Start a coordinator and one worker process per device, until Ctrl-C.",
    discussion: """
      Prints `ready` on stdout when prompts are accepted, and tells it to systemd as a service of \
      Type=notify. The workers end with this process, however it ends.

      Without --model, the model in this directory is taken, or one that `trestle pull` has fetched, if there \
      is only one.
      """
  )

  @Option(
    help: ArgumentHelp(
      "\(ModelName.help) Default: the only model in this directory, or the only one that has been fetched.",
      valueName: "model"
    )
  )
  var model: ModelName?

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var request: RequestOptions
  @OptionGroup var autoRebalance: AutoRebalanceOptions
  @OptionGroup var endpoint: EndpointOptions
  @OptionGroup var security: SecurityOptions
  @OptionGroup var log: LogOptions

  @Option(
    help: ArgumentHelp(
      "Serve OpenAI-compatible programs over HTTP, too, for example at 127.0.0.1:8080. `trestle serve` has more options.",
      valueName: "host:port"
    )
  )
  var http: String?

  @Option(
    help: ArgumentHelp("With --http: a file of API keys, one a line.", valueName: "path")
  )
  var apiKeyFile: String?

  @Option(
    help: ArgumentHelp(
      "With --http: a file with a Jinja chat template, in place of the model's own.",
      valueName: "path"
    )
  )
  var chatTemplate: String?

  func validate() throws {
    for (name, value) in [("api-key-file", apiKeyFile), ("chat-template", chatTemplate)] {
      guard value == nil || http != nil else {
        throw ValidationError("--\(name) is for the front door; give it together with --http.")
      }
    }
    guard request.size != nil else { return }
    guard pipeline.split == nil else {
      throw ValidationError(
        "--prompt-tokens and --answer-tokens say what to plan for, but --split leaves nothing to plan; leave out either."
      )
    }
    guard !autoRebalance.autoRebalance else {
      throw ValidationError(
        "--auto-rebalance goes by the times of answers alone and would undo a placement for --prompt-tokens and --answer-tokens; leave out either."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let manager = ServiceManager.fromEnvironment()
      // What is wrong with them is told before a model is read.
      if let httpArguments { _ = try HTTPServerOptions.parse(httpArguments).options() }
      let stop = try signalDescriptor()
      let endpoint = try endpoint.resolve()
      let logger = log.logger("trestle.coordinator", default: .info)
      let security = try security.coordinator(at: endpoint, logger: logger)
      var settings = pipeline.settings
      settings.request = request.size
      manager.tell(status: "opening the model")
      let model = try (model ?? ModelsAtHand().only()).path(interruptedBy: stop)
      let planned = try Pipeline(
        model: model,
        settings,
        in: .program,
        interruptedBy: stop,
        throwing: ExitCode.success
      )
      let progress = ProgressLine(label: "loading")
      let ready = ReadyLine(logger: logger)
      let showReady: @Sendable () -> Void = {
        ready.show()
        manager.tellReady()
      }
      let door = frontDoor(model, at: endpoint, logger: logger, onListening: showReady)
      defer { door?.stop() }
      let coordinator = try planned.start(
        at: endpoint,
        security: security,
        advice: autoRebalance.advice,
        logger: logger,
        onProgress: { progress.show($0) },
        onReady: {
          progress.clear()
          if let door { door.start() } else { showReady() }
        }
      )
      try coordinator.run(untilReadable: stop, for: manager)
      if door?.hasFailed == true {
        throw CommandError("--http \(http ?? ""): the front door could not begin, as it says above")
      }
    }
  }

  private func frontDoor(
    _ model: String,
    at endpoint: Endpoint,
    logger: Logger,
    onListening: @escaping @Sendable () -> Void
  ) -> FrontDoorProcess? {
    httpArguments.map { arguments in
      FrontDoorProcess(
        ["--model", model, "--endpoint", "\(endpoint)"] + arguments,
        logger: logger,
        onListening: onListening
      )
    }
  }

  /// The options of the front door; nil without one.
  private var httpArguments: [String]? {
    http.map { http in
      ["--http", http] + (apiKeyFile.map { ["--api-key-file", $0] } ?? [])
        + (chatTemplate.map { ["--chat-template", $0] } ?? [])
    }
  }
}
