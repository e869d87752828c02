// What is measured of the placement that runs, and what follows from it: how deep the pipeline is filled,
// how large the chunks of prompts are, and whether its layers should move.

internal import Gemma
internal import Wire

/// The accounts of an epoch, all of the same stages.
///
/// Invariant: there is a meter for each stage of the placement that was begun last, the depth is tuned for
/// as many stages, and the advisor has been told of them. Nobody can begin one without the others.
struct Measurements: Sendable {
  private(set) var metrics: Metrics
  private var depthTuner: DepthTuner
  /// Says when layers should move by themselves; nil if they never do.
  private var advisor: RebalanceAdvisor?

  init(stageCount: Int, advisor: RebalanceAdvisor?, at now: ContinuousClock.Instant) {
    metrics = Metrics(stageCount: stageCount, at: now)
    depthTuner = DepthTuner(stageCount: stageCount)
    self.advisor = advisor
  }

  /// Begins the accounts of a placement: what was measured of another says nothing about it.
  mutating func begin(_ plan: [PlannedWorker], at now: ContinuousClock.Instant) {
    metrics.beginEpoch(stageCount: plan.count, at: now)
    depthTuner = DepthTuner(stageCount: plan.count)
    advisor?.placed(plan.map(\.slice), on: plan.map(\.name), at: now)
  }

  /// Returns what has been learnt about the next micro-batches.
  ///
  /// - Parameters:
  ///   - streams: How many sessions hold a slot.
  ///   - limits: How long a chunk may keep them waiting, and how large it may be.
  /// - Returns: How many micro-batches may be under way, and the rows of a chunk.
  func pace(streams: Int, _ limits: CoordinatorLimits) -> Pace {
    Pace(
      decodeDepth: depthTuner.depth(streams: streams),
      promptRows: metrics.promptRows(within: limits.promptPause, atMost: limits.maxRows)
    )
  }

  // MARK: What happens

  /// Takes the way of a micro-batch that has come back.
  ///
  /// - Parameters:
  ///   - trace: When it was where.
  ///   - streams: How many sessions hold a slot, if all of them decode; nil if a prompt is being read
  ///     beside them, which has its share of the time.
  ///   - now: When it came back.
  mutating func finished(_ trace: StepTrace, streams: Int?, at now: ContinuousClock.Instant) {
    metrics.finished(trace, at: now)
    let isDecoding = trace.decodeRows > 0 && trace.prefillRows == 0
    depthTuner.finished(rows: trace.decodeRows, streams: isDecoding ? streams : nil, at: now)
    if isDecoding { advisor?.add(trace.slices.map(\.duration)) }
  }

  /// Counts a new token of a session whose timing does not know of it yet.
  mutating func generated(_ timing: SessionTiming, at now: ContinuousClock.Instant) {
    metrics.generated(timing, at: now)
  }

  /// Counts a generation that has come to its end.
  mutating func ended(_ timing: SessionTiming, at now: ContinuousClock.Instant) {
    metrics.ended(timing, at: now)
  }

  /// Counts tokens that have been evaluated.
  mutating func evaluated(_ count: Int, at now: ContinuousClock.Instant) {
    metrics.tokensServed.add(Double(count), at: now)
  }

  /// Says whether a micro-batch is under way from now on.
  mutating func setActive(_ isActive: Bool, at now: ContinuousClock.Instant) {
    metrics.activity.set(isActive: isActive, at: now)
  }

  // MARK: Advice

  /// Whether layers may move by themselves.
  var advises: Bool { advisor != nil }

  /// The last decision that was news, and when; nil before the first.
  var lastAdvice: (decision: RebalanceAdvisor.Decision, at: ContinuousClock.Instant)? {
    advisor?.last
  }

  /// Returns what there is to say about the split, a move that is due last; see `RebalanceAdvisor`.
  mutating func advise(
    at now: ContinuousClock.Instant,
    choose: (_ speeds: [Double]) -> [ModelSlice]?
  ) -> [RebalanceAdvisor.Decision] {
    advisor?.advise(at: now, choose: choose) ?? []
  }

  /// Notes how long the sessions stood still for a move.
  mutating func moved(pause: Duration) { advisor?.paused(for: pause) }

  /// Notes that a move of the advisor's own was given up.
  mutating func moveFailed(_ reason: String, at now: ContinuousClock.Instant) {
    advisor?.failed(reason, at: now)
  }

  /// - Throws: `BrokenInvariant` if the accounts are not those of so many stages.
  func checkInvariants(stageCount: Int) throws(BrokenInvariant) {
    try require(
      metrics.stages.count == stageCount,
      "\(stageCount) stages run, \(metrics.stages.count) are measured"
    )
  }
}
