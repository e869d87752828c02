// Puts a pipeline together: opens the model, plans the workers, starts the coordinator with them.

import CLinux
import Compute
import Content
import Coordinator
import Foundation
import Gemma
import Logging
import ModelFiles
import Wire

/// A pipeline that is planned but not started.
struct Pipeline {
  let checkpoint: Checkpoint
  /// Of config and weights.
  let fingerprint: Digest
  let workers: [WorkerPlan]
  let placement: Placement
  let limits: CoordinatorLimits
  /// How CPU workers keep keys and values; nil for their default.
  let cacheType: CacheType?
  private let passesAllLayers: Bool
  /// Why the layers are placed as they are; nil where there was nothing to plan.
  private let placementReason: String?
  private let tracePath: String?

  /// Opens the model and resolves the options against it.
  ///
  /// - Parameters:
  ///   - path: The model.
  ///   - options: How to divide it.
  ///   - workersAreHere: Whether the devices are this machine's, so that they can be measured.
  ///   - interrupt: A descriptor that ends the reading of a large model when it is readable.
  ///   - interruption: How it ends then.
  /// - Throws: What is wrong with the model or the options, or `interruption`.
  init(
    model path: String,
    _ options: PipelineOptions,
    workersAreHere: Bool = true,
    interruptedBy interrupt: CInt,
    _ interruption: any Error = Interrupted()
  ) throws {
    checkpoint = try Checkpoint.open(path)
    fingerprint = try ModelContent.fingerprint(
      of: checkpoint,
      interruptedBy: [interrupt],
      interruption
    )
    cacheType = options.cache.type
    passesAllLayers = options.allLayers
    tracePath = options.trace
    let choice = try PlacementChoice(
      checkpoint,
      fingerprint: fingerprint,
      options,
      measures: workersAreHere
    )
    workers = choice.workers
    placement = choice.placement
    placementReason = choice.reason
    let most = checkpoint.config.contextTokens
    if let context = options.context, context > most {
      throw CommandError("--context \(context): the model was made for at most \(most) tokens")
    }
    var limits = CoordinatorLimits(
      contextTokens: options.context ?? min(most, 4096),
      slots: options.slots
    )
    limits.prefixSharing = options.prefixSharing
    self.limits = limits
  }

  /// The coordinator's first state; with `advice`, layers move by themselves.
  func machine(advice: RebalanceAdvisor.Limits? = nil) throws -> CoordinatorMachine {
    let plan = zip(workers, placement.stages).map { worker, slice in
      PlannedWorker(name: worker.name, device: worker.device.rawValue, slice: slice)
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
  func weightsDesk() throws -> WeightsDesk {
    try WeightsDesk(checkpoint, fingerprint: fingerprint, store: ModelContent.store)
  }

  /// Makes the file that `--trace` names; nil if it names none.
  func openTrace(_ logger: Logger) throws -> TraceFile? {
    try tracePath.map { path in
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
        worker.device.rawValue, "--name", worker.name, "--threads", "\(worker.threads)",
        "--lifeline", "--log-level", logLevel.rawValue,
      ]
      arguments += connection
      if let type = cacheType { arguments += ["--kv-cache", type.rawValue] }
      if passesAllLayers { arguments.append("--all-layers") }
      if let cpus = worker.cpus {
        arguments += ["--pin", cpus.map(String.init).joined(separator: ",")]
      }
      return WorkerCommand(name: worker.name, arguments: arguments)
    }
  }

  /// Claims the endpoint, starts the workers, and returns the coordinator that serves them.
  func start(
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

extension ServedModel {
  /// Gathers what the coordinator needs of a checkpoint.
  ///
  /// A model without tokenizer is served all the same: requests may bring tokens. A broken tokenizer
  /// is an error.
  init(_ checkpoint: Checkpoint, fingerprint: Digest) throws {
    let tokenizer = checkpoint.hasTokenizer ? try checkpoint.tokenizer() : nil
    let template = Result { () throws(GemmaError) in try checkpoint.chatTemplate(for: tokenizer) }
    // An answer ends where the config or the tokenizer says: files often name the end of the text in
    // the one and that of a turn in the other.
    var config = checkpoint.config
    for token in tokenizer?.eosTokens ?? [] where !config.eosTokens.contains(token) {
      config.eosTokens.append(token)
    }
    self.init(
      name: checkpoint.name,
      fingerprint: fingerprint,
      config: config,
      cost: checkpoint.decodeCost,
      tokenizer: tokenizer,
      template: template
    )
  }
}
