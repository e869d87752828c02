// Plans over the devices of this machine, from profiles that are measured now or come from the
// cache.

internal import Compute
package import Content
package import Coordinator
package import Gemma

/// Plans over the devices of this machine.
package struct LocalPlanning {
  /// A plan over some workers.
  package struct Outcome {
    package var workers: [WorkerPlan]
    package var costs: PipelineCosts
    package var plan: Plan
    /// Which placement was chosen and why.
    package var reason: String
  }

  private let settings: PipelineSettings
  private let devices: DeviceRegistry
  package let shape: ModelShape
  private let cache: ProfileCache
  private let limits: ExecutableLimits

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: Of its config and weights; asked for only where a profile is.
  ///   - settings: Which devices there are, and how they are used.
  ///   - context: What their backends are, and where profiles are kept.
  ///   - measuresAgain: Whether to measure what has been measured before.
  /// - Throws: `GemmaError` if the model lacks a weight; `LaunchError` if the requests that are planned for
  ///   do not fit into a session.
  package init(
    _ checkpoint: Checkpoint,
    fingerprint: @escaping () throws -> Digest,
    _ settings: PipelineSettings,
    in context: LaunchContext,
    measuresAgain: Bool = false
  ) throws {
    self.settings = settings
    devices = context.devices
    shape = try ModelShape(checkpoint, passesAllLayers: settings.passesAllLayers)
    cache = ProfileCache(
      checkpoint: checkpoint,
      fingerprint: fingerprint,
      shape: shape,
      cacheType: settings.cacheType,
      measuresAgain: measuresAgain,
      context: context
    )
    limits =
      CoordinatorLimits(
        contextTokens: settings.contextTokens ?? min(checkpoint.config.contextTokens, 4096),
        slots: settings.slots
      ).executable
    if let request = settings.request,
      request.promptTokens + request.answerTokens > limits.contextTokens
    {
      throw LaunchError(
        .settings,
        "requests of \(request.promptTokens) and \(request.answerTokens) tokens do not fit into the context of "
          + "\(limits.contextTokens); raise --context, or lower --prompt-tokens or --answer-tokens"
      )
    }
  }

  /// Returns the best plan over the devices.
  ///
  /// If the user did not set the threads, fewer workers with more threads each are tried as well: a
  /// pipeline must not be slower than its best device alone.
  package func best(_ objective: PlanObjective) throws -> Outcome {
    let all = try plan(WorkerPlan.resolve(settings, among: devices), objective)
    guard settings.threads == nil, all.workers.count > 1 else { return all }
    var best: Outcome?
    for count in 1..<all.workers.count {
      var fewer = settings
      let first = all.workers.prefix(count)
      fewer.devices = first.map(\.device.name)
      fewer.emulates = first.contains { $0.device.isEmulation }
      do {
        let outcome = try plan(WorkerPlan.resolve(fewer, among: devices), objective)
        if outcome.isWorthwhile(over: best) { best = outcome }
      } catch let error as CoordinatorError where error.code == .placement {
        // The first devices alone cannot hold or run the model: all together they can.
      }
    }
    guard var best, !all.isWorthwhile(over: best) else { return all }
    let threads = best.workers.map { "\($0.threads)" }.joined(separator: ",")
    best.reason +=
      " (\(threads) threads). With \(all.workers.count) workers: \(all.reason)"
    return best
  }

  /// Returns the profiles of the devices the settings name, and what these cannot run.
  package func profiles() throws -> (
    documents: [ProfileDocument], obstacles: [String: DeviceObstacles]
  ) {
    try profiles(of: WorkerPlan.resolve(settings, among: devices))
  }

  private func profiles(
    of workers: [WorkerPlan]
  ) throws -> (documents: [ProfileDocument], obstacles: [String: DeviceObstacles]) {
    var obstacles: [String: DeviceObstacles] = [:]
    for worker in workers { obstacles[worker.name] = try cache.obstacles(of: worker) }
    return (try cache.profiles(of: workers), obstacles)
  }

  /// Returns the best plan over some workers.
  private func plan(_ workers: [WorkerPlan], _ objective: PlanObjective) throws -> Outcome {
    let (documents, obstacles) = try profiles(of: workers)
    let costs = try PipelineCosts(shape: shape, documents: documents, obstacles: obstacles)
    let plan = try Planner(costs: costs, limits: limits).plan(objective)
    return Outcome(workers: workers, costs: costs, plan: plan, reason: plan.summary(costs))
  }
}

extension LocalPlanning.Outcome {
  /// Whether this plan is enough faster than one with fewer workers.
  fileprivate func isWorthwhile(over other: Self?) -> Bool {
    guard let other else { return true }
    return plan.chosen.isWorthwhile(over: other.plan.chosen)
  }
}
