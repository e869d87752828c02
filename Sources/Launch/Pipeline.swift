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
  /// Of config and weights.
  package let fingerprint: Digest
  package let workers: [WorkerPlan]
  package let placement: Placement
  package let limits: CoordinatorLimits
  let context: LaunchContext
  private let settings: PipelineSettings
  /// Why the layers are placed as they are; nil where there was nothing to plan.
  private let placementReason: String?

  /// Opens the model and resolves the settings against it.
  ///
  /// - Parameters:
  ///   - path: The model.
  ///   - settings: How to divide it.
  ///   - context: The devices there are, and who is told what happens.
  ///   - workersAreHere: Whether the devices are this machine's, so that they can be measured.
  ///   - interrupt: A descriptor that ends the reading of a large model when it is readable.
  ///   - interruption: How it ends then.
  /// - Throws: What is wrong with the model or the settings, or `interruption`.
  package init(
    model path: String,
    _ settings: PipelineSettings,
    in context: LaunchContext,
    workersAreHere: Bool = true,
    interruptedBy interrupt: CInt,
    _ interruption: any Error = Interrupted()
  ) throws {
    checkpoint = try Checkpoint.open(path)
    fingerprint = try ModelContent.fingerprint(
      of: checkpoint,
      in: context,
      interruptedBy: [interrupt],
      interruption
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
    placement = choice.placement
    placementReason = choice.reason
    let most = checkpoint.config.contextTokens
    if let tokens = settings.contextTokens, tokens > most {
      throw LaunchError(
        .settings,
        "--context \(tokens): the model was made for at most \(most) tokens"
      )
    }
    var limits = CoordinatorLimits(
      contextTokens: settings.contextTokens ?? min(most, 4096),
      slots: settings.slots
    )
    limits.prefixSharing = settings.prefixSharing
    self.limits = limits
  }

  /// The coordinator's first state; with `advice`, layers move by themselves.
  package func machine(advice: RebalanceAdvisor.Limits? = nil) throws -> CoordinatorMachine {
    let plan = zip(workers, placement.stages).map { worker, slice in
      PlannedWorker(name: worker.name, device: worker.device.name, slice: slice)
    }
    return CoordinatorMachine(
      model: try ServedModel(checkpoint, fingerprint: fingerprint),
      plan: plan,
      limits: limits,
      now: .now,
      advice: advice
    )
  }

  /// What workers without a model file pull theirs from.
  package func weightsDesk() throws -> WeightsDesk {
    try WeightsDesk(checkpoint, fingerprint: fingerprint, store: context.digests)
  }

  /// Makes the file that `--trace` names; nil if it names none.
  package func openTrace(_ logger: Logger) throws -> TraceFile? {
    try settings.tracePath.map { path in
      try TraceFile(path: path) { logger.warning("trace ended", metadata: ["reason": "\($0)"]) }
    }
  }

  /// Returns the commands that start the workers as children of this process.
  ///
  /// - Parameters:
  ///   - connection: The options that say where the coordinator is and how it is reached.
  ///   - logLevel: What they log.
  /// - Returns: A command a worker, in pipeline order.
  func workerCommands(connection: [String], logLevel: Logger.Level) -> [WorkerCommand] {
    workers.map { worker in
      var arguments = [
        "trestle", "work", "--model", checkpoint.path, "--device",
        worker.device.name, "--name", worker.name, "--threads", "\(worker.threads)",
        "--lifeline", "--log-level", logLevel.rawValue,
      ]
      arguments += connection
      if let type = settings.cacheType { arguments += ["--kv-cache", type.rawValue] }
      if settings.passesAllLayers { arguments.append("--all-layers") }
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
