// Everything that the coordinator measures of the pipeline, in one value, which status, health,
// bench and top read.

internal import Wire

/// Measurements of one stage in this epoch.
struct StageMeter: Sendable {
  private(set) var total: Duration = .zero
  private(set) var lastStep: Duration = .zero
  private(set) var drift: StepDrift
  /// The mean time of a step that only decodes; 0 before the first.
  private(set) var decodeSeconds = 0.0
  private var busySeconds = RecentSum()
  private var waitSeconds = RecentSum()

  init(began: ContinuousClock.Instant) { drift = StepDrift(began: began) }

  mutating func add(_ slice: StageSlice, _ stepClass: StepClass, at now: ContinuousClock.Instant) {
    total += slice.duration
    lastStep = slice.duration
    if !stepClass.isPrefill {
      // A running mean over about the last twenty steps.
      let seconds = slice.duration / .seconds(1)
      decodeSeconds += decodeSeconds == 0 ? seconds : (seconds - decodeSeconds) / 20
    }
    busySeconds.add(slice.duration / .seconds(1), at: now)
    waitSeconds.add(slice.wait / .seconds(1), at: now)
    drift.add(slice.duration, stepClass, at: now)
  }

  /// Returns the share of the last seconds in which the stage computed, 0 to 1.
  func busyShare(at now: ContinuousClock.Instant) -> Double {
    min(1, busySeconds.perSecond(at: now))
  }

  /// Returns how many micro-batches waited at the stage, or on their way to it, on average.
  ///
  /// By Little's law, L = λW, the number waiting is the arrival rate times the waiting time. That
  /// is the sum of all waiting times, divided by the period in which they fell.
  func queueDepth(at now: ContinuousClock.Instant) -> Double { waitSeconds.perSecond(at: now) }
}

/// Measures how long the pipeline has had work in flight.
struct ActivityClock: Sendable {
  private var since: ContinuousClock.Instant?
  private var seconds = RecentSum()

  /// Sets whether a micro-batch is in flight from now on.
  mutating func set(isActive: Bool, at now: ContinuousClock.Instant) {
    // The time is added at every event, so that a long step does not enter the window all at once.
    if let since { seconds.add((now - since) / .seconds(1), at: now) }
    since = isActive ? now : nil
  }

  /// Returns the share of the last seconds with work in flight, 0 to 1.
  func share(at now: ContinuousClock.Instant) -> Double { min(1, seconds.perSecond(at: now)) }
}

/// All measurements of the pipeline.
struct Metrics: Sendable {
  /// The stages' meters, in the order of the plan.
  private(set) var stages: [StageMeter]
  /// Latencies from a request's arrival to its first token.
  private(set) var firstToken = Latencies()
  /// Latencies from one token of a session to its next; a recovery in between counts.
  private(set) var interToken = Latencies()
  /// From the arrival of a generation to its end.
  private(set) var requestCounts = LatencyCounts()
  /// From the arrival of a generation until its prompt is read.
  private(set) var queueCounts = LatencyCounts()
  /// Tokens that were generated or evaluated.
  var tokensServed = RecentSum()
  var activity = ActivityClock()
  /// The time of one row of a prompt through all stages; nil before the first chunk of this epoch.
  private var promptRowSeconds: Double?

  /// The smallest chunk of a prompt, in rows: in smaller chunks a row costs more than twice as
  /// much.
  static let leastPromptRows = 16
  /// The rows of a prompt's chunk beside decoding streams, before any chunk has been measured.
  private static let firstPromptRows = 32

  init(stageCount: Int, at now: ContinuousClock.Instant) {
    stages = Array(repeating: StageMeter(began: now), count: stageCount)
  }

  /// Discards the measurements of the stages, because their layers may have changed.
  mutating func beginEpoch(stageCount: Int, at now: ContinuousClock.Instant) {
    stages = Array(repeating: StageMeter(began: now), count: stageCount)
    promptRowSeconds = nil
  }

  /// Returns how many rows of a prompt pass through all stages within a time, from 16 to `most`.
  func promptRows(within time: Duration, atMost most: Int) -> Int {
    guard let promptRowSeconds else { return min(Self.firstPromptRows, most) }
    let count = (time / .seconds(1)) / max(promptRowSeconds, 1e-9)
    return min(most, max(Self.leastPromptRows, Int(min(count, 1e6))))
  }

  /// Counts a new token of a session; `timing` does not include that token yet.
  mutating func generated(_ timing: SessionTiming, at now: ContinuousClock.Instant) {
    tokensServed.add(1, at: now)
    if let last = timing.lastToken {
      interToken.add(now - last, at: now)
    } else {
      firstToken.add(now - timing.arrived, at: now)
    }
  }

  /// Counts a generation that has come to its end.
  mutating func ended(_ timing: SessionTiming, at now: ContinuousClock.Instant) {
    requestCounts.add(now - timing.arrived)
    if let started = timing.started { queueCounts.add(started - timing.arrived) }
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

  /// Returns the meter of a stage; nil if there is none in this epoch.
  func meter(of stage: Int?) -> StageMeter? {
    guard let stage, stages.indices.contains(stage) else { return nil }
    return stages[stage]
  }

  /// Returns the share of the last seconds in which a stage idled while the pipeline had work, 0 to
  /// 1.
  func bubbleShare(of meter: StageMeter, at now: ContinuousClock.Instant) -> Double {
    max(0, activity.share(at: now) - meter.busyShare(at: now))
  }
}
