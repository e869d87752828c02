// What the coordinator measures of the pipeline, in one value: status, health, bench and top read it.

internal import Wire

/// How a stage has computed in this epoch.
struct StageMeter: Sendable {
  private(set) var total: Duration = .zero
  private(set) var lastStep: Duration = .zero
  private(set) var drift: StepDrift
  /// The mean of a step that only decodes; 0 before the first.
  private(set) var decodeSeconds = 0.0
  private var busySeconds = RecentSum()
  private var waitSeconds = RecentSum()

  init(began: ContinuousClock.Instant) { drift = StepDrift(began: began) }

  mutating func add(_ slice: StageSlice, _ stepClass: StepClass, at now: ContinuousClock.Instant) {
    total += slice.duration
    lastStep = slice.duration
    if !stepClass.isPrefill {
      // Over about the last twenty steps.
      let seconds = slice.duration / .seconds(1)
      decodeSeconds += decodeSeconds == 0 ? seconds : (seconds - decodeSeconds) / 20
    }
    busySeconds.add(slice.duration / .seconds(1), at: now)
    waitSeconds.add(slice.wait / .seconds(1), at: now)
    drift.add(slice.duration, stepClass, at: now)
  }

  /// Returns the share of the last seconds that the stage computed, 0 to 1.
  func busyShare(at now: ContinuousClock.Instant) -> Double {
    min(1, busySeconds.perSecond(at: now))
  }

  /// Returns how many micro-batches waited at the stage, or on their way to it, on average.
  ///
  /// Little's law, L = λW: how many wait is how often one comes times how long it waits, so the sum
  /// of the waits over the time they fell in.
  func queueDepth(at now: ContinuousClock.Instant) -> Double { waitSeconds.perSecond(at: now) }
}

/// How long the pipeline had anything to do.
struct ActivityClock: Sendable {
  private var since: ContinuousClock.Instant?
  private var seconds = RecentSum()

  /// Says whether a micro-batch is under way from now on.
  mutating func set(isActive: Bool, at now: ContinuousClock.Instant) {
    // Counted at every event, so that a long step does not come into the window at once.
    if let since { seconds.add((now - since) / .seconds(1), at: now) }
    since = isActive ? now : nil
  }

  /// Returns the share of the last seconds with work under way, 0 to 1.
  func share(at now: ContinuousClock.Instant) -> Double { min(1, seconds.perSecond(at: now)) }
}

/// What is measured of the pipeline.
struct Metrics: Sendable {
  /// In the order of the plan.
  private(set) var stages: [StageMeter]
  /// From a request's arrival to its first token.
  private var firstToken = RecentLatencies()
  /// From one token of a session to its next; a recovery between them counts.
  private var interToken = RecentLatencies()
  /// Tokens generated or evaluated.
  var tokensServed = RecentSum()
  var activity = ActivityClock()
  /// Of a prompt's row, through all stages; nil before the first chunk of this epoch.
  private var promptRowSeconds: Double?

  /// Rows that no chunk of a prompt is made smaller than: below, a row costs more than twice as much.
  static let leastPromptRows = 16
  /// The rows of a chunk beside streams that decode, before any has been measured.
  private static let firstPromptRows = 32

  init(stageCount: Int, at now: ContinuousClock.Instant) {
    stages = Array(repeating: StageMeter(began: now), count: stageCount)
  }

  /// Forgets what was measured of the stages: their layers may be others now.
  mutating func beginEpoch(stageCount: Int, at now: ContinuousClock.Instant) {
    stages = Array(repeating: StageMeter(began: now), count: stageCount)
    promptRowSeconds = nil
  }

  /// Returns how many rows of a prompt pass through all stages within a time, 16 to `most`.
  func promptRows(within time: Duration, atMost most: Int) -> Int {
    guard let promptRowSeconds else { return min(Self.firstPromptRows, most) }
    let count = (time / .seconds(1)) / max(promptRowSeconds, 1e-9)
    return min(most, max(Self.leastPromptRows, Int(min(count, 1e6))))
  }

  /// Counts a new token of a session whose timing does not know of it yet.
  mutating func generated(_ timing: SessionTiming, at now: ContinuousClock.Instant) {
    tokensServed.add(1, at: now)
    if let last = timing.lastToken {
      interToken.add(now - last, at: now)
    } else {
      firstToken.add(now - timing.arrived, at: now)
    }
  }

  mutating func finished(_ step: StepTrace, at now: ContinuousClock.Instant) {
    for slice in step.slices where stages.indices.contains(slice.stage) {
      stages[slice.stage].add(slice, step.stepClass, at: now)
    }
    if step.prefillRows >= Self.leastPromptRows {
      let rows = Double(step.prefillRows + step.decodeRows)
      let seconds = step.slices.reduce(0) { $0 + $1.duration / .seconds(1) } / rows
      promptRowSeconds = promptRowSeconds.map { $0 + (seconds - $0) / 5 } ?? seconds
    }
  }

  func firstTokenLatency(at now: ContinuousClock.Instant) -> LatencySummary {
    firstToken.summary(at: now)
  }

  func interTokenLatency(at now: ContinuousClock.Instant) -> LatencySummary {
    interToken.summary(at: now)
  }

  /// Returns how a stage has computed; nil for a place that had none in this epoch.
  func meter(of stage: Int?) -> StageMeter? {
    guard let stage, stages.indices.contains(stage) else { return nil }
    return stages[stage]
  }

  /// Returns the share of the last seconds that a stage idled while the pipeline had work, 0 to 1.
  func bubbleShare(of meter: StageMeter, at now: ContinuousClock.Instant) -> Double {
    max(0, activity.share(at: now) - meter.busyShare(at: now))
  }
}
