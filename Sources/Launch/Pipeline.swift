// Puts a pipeline together: opens the model, plans the workers, starts the coordinator with them.

internal import Compute
package import Content
package import Coordinator
package import Gemma
package import Logging
package import Wire

/// A pipeline that is planned but not started.
package struct Pipeline: Sendable {
  package let checkpoint: Checkpoint
  /// The digest of config and weights.
  package let fingerprint: Digest
  package let workers: [WorkerPlan]
  package let placement: Placement
  package let limits: CoordinatorLimits
  let context: LaunchContext
  private let settings: PipelineSettings
  /// Why the layers are placed as they are; nil if nothing had to be planned.
  private let placementReason: String?

  /// Opens the model and resolves the settings against it.
  ///
  /// - Parameters:
  ///   - path: The model.
  ///   - settings: How to divide it.
  ///   - context: The known devices, and where to report progress.
  ///   - workersAreHere: Whether the devices are this machine's, so that they can be measured.
  ///   - interrupt: A descriptor that ends the reading of a large model when it is readable.
  ///   - interruption: The error to throw then.
  /// - Throws: What is wrong with the model or the settings, or `interruption`.
  package init(
    model path: String,
    _ settings: PipelineSettings,
    in context: LaunchContext,
    workersAreHere: Bool = true,
    interruptedBy interrupt: CInt,
    throwing interruption: any Error = Interrupted()
  ) throws {
    checkpoint = try Checkpoint.open(path)
    fingerprint = try ModelContent.fingerprint(
      of: checkpoint,
      in: context,
      interruptedBy: [interrupt],
      throwing: interruption
    )
    self.settings = settings
    self.context = context
    let choice = try PlacementChoice(
      checkpoint,
      fingerprint: fingerprint,
      settings,
      measures: workersAreHere,
      in: context
    )
    workers = choice.workers
    for worker in workers where workersAreHere && worker.isEmulated {
      context.reporter.note(
        "\(worker.name) runs on an emulation; its speed says nothing of a device",
        cause: nil
      )
    }
    placement = choice.placement
    placementReason = choice.reason
    let most = checkpoint.config.contextTokens
    if let tokens = settings.contextTokens, tokens > most {
      throw LaunchError(
        .settings,
        "--context \(tokens): this model supports at most \(most) tokens; name no more than that"
      )
    }
    var limits = CoordinatorLimits(
      contextTokens: settings.contextTokens ?? min(most, 4096),
      slots: settings.slots
    )
    limits.prefixSharing = settings.prefixSharing
    limits.observesInputs = settings.observesInputs
    self.limits = limits
  }

  /// Returns the coordinator's first state; with `advice`, it rebalances layers automatically.
  package func machine(advice: RebalanceAdvisor.Limits? = nil) throws -> CoordinatorMachine {
    let plan = zip(workers, placement.stages).map { worker, slice in
      PlannedWorker(name: worker.name, device: worker.device.name, slice: slice)
    }
    return CoordinatorMachine(
      model: try ServedModel(checkpoint, fingerprint: fingerprint),
      plan: plan,
      isPlanBinding: settings.split != nil,
      limits: limits,
      now: .now,
      advice: advice
    )
  }

  /// Returns the desk from which workers without a model file pull their weights.
  package func weightsDesk() throws -> WeightsDesk {
    try WeightsDesk(checkpoint, fingerprint: fingerprint, store: context.digests)
  }

  /// Creates the file that `--trace` names; returns nil if the option is absent.
  package func openTrace(_ logger: Logger) throws -> TraceFile? {
    try settings.tracePath.map { path in
      try TraceFile(path: path) { logger.warning("trace ended", metadata: ["reason": "\($0)"]) }
    }
  }

  /// Returns the commands that start the workers as children of this process.
  ///
  /// - Parameters:
  ///   - connection: The options that tell a worker how to reach the coordinator.
  ///   - logLevel: The workers' log level.
  /// - Returns: One command for each worker, in pipeline order.
  func workerCommands(connection: [String], logLevel: Logger.Level) -> [WorkerCommand] {
    workers.map { worker in
      var arguments = [
        "trestle", "work", "--model", checkpoint.path, "--device",
        worker.device.name, "--name", worker.name, "--threads", "\(worker.threads)",
        "--lifeline", "--log-level", logLevel.rawValue,
      ]
      arguments += connection
      if worker.device.isEmulation { arguments.append("--emulate") }
      if let type = settings.cacheType { arguments += ["--kv-cache", type.rawValue] }
      if settings.passesAllLayers { arguments.append("--all-layers") }
      if settings.observesInputs { arguments.append("--observe-inputs") }
      if let cpus = worker.cpus {
        arguments += ["--pin", cpus.map(String.init).joined(separator: ",")]
      }
      return WorkerCommand(name: worker.name, arguments: arguments)
    }
  }

  /// Claims the endpoint, starts the workers, and returns the coordinator that serves them.
  package func start(
    at endpoint: Endpoint,
    security: CoordinatorSecurity = .localOnly,
    advice: RebalanceAdvisor.Limits? = nil,
    logger: Logger,
    onProgress: @escaping (Double) -> Void,
    onReady: @escaping () -> Void
  ) throws -> CoordinatorLoop {
    if !checkpoint.hasTokenizer {
      logger.notice(
        "model without a tokenizer: prompts must be tokens",
        metadata: ["model": "\(checkpoint.path)"]
      )
    }
    if let placementReason {
      logger.info("placement planned", metadata: ["reason": "\(placementReason)"])
    }
    let supervisor = try Supervisor(
      workerCommands(
        connection: security.workerOptions(endpoint),
        logLevel: logger.logLevel
      ),
      logger: logger
    )
    return try CoordinatorLoop(
      machine: machine(advice: advice),
      endpoint: endpoint,
      security: security.security,
      supervisor: supervisor,
      weights: weightsDesk(),
      logger: logger,
      trace: openTrace(logger),
      onProgress: onProgress,
      onReady: onReady
    )
  }
}
