// `trestle coordinate`: the coordinator alone, for workers that are started elsewhere.

import ArgumentParser
import Coordinator
import Launch
import Logging
import Platform
import Wire

struct CoordinateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "coordinate",
    abstract: "Run a coordinator alone; its workers are started with `trestle work`.",
    discussion: """
      Waits for one worker for each of --devices, gives each its layers, and prints `ready` on \
      stdout when prompts are accepted. Workers that have no model file pull the weights of their \
      layers from the coordinator.
      """
  )

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @OptionGroup var pipeline: PipelineOptions
  @OptionGroup var autoRebalance: AutoRebalanceOptions
  @OptionGroup var endpoint: EndpointOptions
  @OptionGroup var security: SecurityOptions
  @OptionGroup var log: LogOptions

  func run() throws {
    try reportingFailures {
      let manager = ServiceManager.fromEnvironment()
      let stop = try signalDescriptor()
      let endpoint = try endpoint.resolve()
      let logger = log.logger("trestle.coordinator", default: .info)
      let security = try security.coordinator(at: endpoint, logger: logger)
      manager.tell(status: "opening the model")
      let planned = try Pipeline(
        model: model.path(interruptedBy: stop),
        pipeline.settings,
        in: .program,
        workersAreHere: false,
        interruptedBy: stop,
        throwing: ExitCode.success
      )
      let progress = ProgressLine(label: "loading")
      let ready = ReadyLine(logger: logger)
      let machine = try planned.machine(advice: autoRebalance.advice)
      let coordinator = try CoordinatorLoop(
        machine: machine,
        endpoint: endpoint,
        security: security.security,
        supervisor: nil,
        weights: planned.weightsDesk(),
        logger: logger,
        trace: planned.openTrace(logger),
        onProgress: { progress.show($0) },
        onReady: {
          progress.clear()
          ready.show()
          manager.tellReady()
        }
      )
      logger.info(
        "waiting for workers",
        metadata: [
          "endpoint": "\(endpoint)", "missing": "\(machine.missingWorkers.joined(separator: ","))",
        ]
      )
      try coordinator.run(untilReadable: stop, for: manager)
    }
  }
}
