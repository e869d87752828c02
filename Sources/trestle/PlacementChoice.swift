// Which workers hold which slices of the model when a pipeline starts: as the user says, or as planned over measured
// profiles.

import Content
import Coordinator
import Gemma

/// The workers of a pipeline and their layers.
struct PlacementChoice {
  let workers: [WorkerPlan]
  let placement: Placement
  /// What was planned and why; nil where nothing was.
  let reason: String?

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: Of its config and weights.
  ///   - options: With a split, that is taken.
  ///   - measures: Whether the devices are here and can be measured; else a device is taken to be as
  ///     fast as it has threads.
  /// - Throws: What is wrong with the options, or keeps a device from being measured.
  init(
    _ checkpoint: Checkpoint,
    fingerprint: Digest,
    _ options: PipelineOptions,
    measures: Bool
  ) throws {
    let all = try WorkerPlan.resolve(options)
    if let split = options.split {
      workers = all
      placement = try Placement(
        split: split.values,
        logitsSplit: options.logitsSplit?.values ?? [],
        line: checkpoint.config.line,
        workerCount: all.count
      )
      reason = nil
      return
    }
    guard measures, all.count > 1 else {
      workers = all
      placement = try Placement(cost: checkpoint.decodeCost, rates: all.map { Double($0.threads) })
      reason = nil
      return
    }
    let planning = LocalPlanning(checkpoint, fingerprint: { fingerprint }, options)
    let objective = PlanObjective.throughput(streams: min(options.slots, 2 * all.count))
    let best = try planning.best(objective)
    let stages = best.plan.chosen.stages
    workers = stages.map { best.workers[$0.device] }
    placement = Placement(stages: stages.map(\.slice))
    reason = best.reason
  }
}

/// Plans over the devices of this machine.
struct LocalPlanning {
  /// What was planned over some workers.
  struct Outcome {
    var workers: [WorkerPlan]
    var costs: PipelineCosts
    var plan: Plan
    var reason: String
  }

  private let options: PipelineOptions
  let shape: ModelShape
  private let cache: ProfileCache
  private let contextTokens: Int

  init(
    _ checkpoint: Checkpoint,
    fingerprint: @escaping () throws -> Digest,
    _ options: PipelineOptions,
    measuresAgain: Bool = false
  ) {
    self.options = options
    shape = ModelShape(checkpoint, passesAllLayers: options.allLayers)
    cache = ProfileCache(
      checkpoint: checkpoint,
      fingerprint: fingerprint,
      shape: shape,
      cacheType: options.cache.type,
      measuresAgain: measuresAgain
    )
    contextTokens = options.context ?? min(checkpoint.config.contextTokens, 4096)
  }

  /// Returns the best plan over the devices.
  ///
  /// Where the user leaves the threads open, fewer workers with more threads each are tried as well:
  /// a pipeline must not be slower than its best device alone.
  func best(_ objective: PlanObjective) throws -> Outcome {
    let all = try plan(WorkerPlan.resolve(options), objective)
    guard options.threads == nil, all.workers.count > 1 else { return all }
    var best: Outcome?
    for count in 1..<all.workers.count {
      var fewer = options
      fewer.devices = all.workers.prefix(count).map(\.device.rawValue).joined(separator: ",")
      let outcome = try plan(WorkerPlan.resolve(fewer), objective)
      if outcome.isWorthwhile(over: best) { best = outcome }
    }
    guard var best, !all.isWorthwhile(over: best) else { return all }
    let threads = best.workers.map { "\($0.threads)" }.joined(separator: ",")
    best.reason +=
      " (\(threads) threads). With \(all.workers.count) workers: \(all.reason)"
    return best
  }

  /// Returns the profiles of the devices the options name.
  func profiles() throws -> [ProfileDocument] {
    try cache.profiles(of: WorkerPlan.resolve(options))
  }

  /// Returns the best plan over some workers.
  func plan(_ workers: [WorkerPlan], _ objective: PlanObjective) throws -> Outcome {
    let costs = try PipelineCosts(shape: shape, documents: cache.profiles(of: workers))
    let plan = try Planner(costs: costs, contextTokens: contextTokens).plan(objective)
    return Outcome(workers: workers, costs: costs, plan: plan, reason: plan.summary(costs))
  }
}

extension LocalPlanning.Outcome {
  /// Whether this gains enough over a plan with fewer workers.
  fileprivate func isWorthwhile(over other: Self?) -> Bool {
    guard let other else { return true }
    return plan.chosen.tokensPerSecond
      > other.plan.chosen.tokensPerSecond * (1 + Planner.worthwhileGain)
  }
}
