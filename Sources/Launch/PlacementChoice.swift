// Which workers hold which slices of the model when a pipeline starts: as the user says, or as
// planned from measured profiles.

internal import Content
internal import Coordinator
internal import Gemma

/// The workers of a pipeline and their layers.
struct PlacementChoice {
  let workers: [WorkerPlan]
  let placement: Placement
  /// Why this placement was planned; nil if nothing was planned.
  let reason: String?

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: Of its config and weights.
  ///   - settings: With a split, that is taken.
  ///   - measures: Whether the devices are here and can be measured; else a device is taken to be as
  ///     fast as its backend thinks.
  ///   - context: The devices there are.
  /// - Throws: What is wrong with the settings, or keeps a device from being measured.
  init(
    _ checkpoint: Checkpoint,
    fingerprint: Digest,
    _ settings: PipelineSettings,
    measures: Bool,
    in context: LaunchContext
  ) throws {
    let all = try WorkerPlan.resolve(settings, among: context.devices)
    if let split = settings.split {
      workers = all
      placement = try Placement(
        split: split,
        logitsSplit: settings.logitsSplit ?? [],
        line: checkpoint.config.line,
        workerCount: all.count
      )
      reason = nil
      return
    }
    guard measures, all.count > 1 else {
      workers = all
      placement = try Placement(cost: checkpoint.decodeCost, rates: all.map { Double($0.rateHint) })
      reason = nil
      return
    }
    let planning = try LocalPlanning(
      checkpoint,
      fingerprint: { fingerprint },
      settings,
      in: context
    )
    let objective = PlanObjective.throughput(
      streams: min(settings.slots, 2 * all.count),
      request: settings.request
    )
    let best = try planning.best(objective)
    let stages = best.plan.chosen.stages
    workers = stages.map { best.workers[$0.device] }
    placement = Placement(stages: stages.map(\.slice))
    reason = best.reason
  }
}
