// When layers should move by themselves: stages drift apart when a device gets hot or its machine busy.
// A value that is told how long steps take and says, with the reason, what it would do; it moves nothing.

package import Gemma

/// Proposes another split when the stages have drifted apart for long enough.
///
/// What it weighs: a move must gain something (`minGain`), more than its pause costs, and what is seen
/// must last (`hold`). The next one waits for `minInterval`, doubled each time that a move takes layers
/// back to where they came from, fails, or does not bring what it promised.
package struct RebalanceAdvisor: Sendable {
  package struct Limits: Sendable, Hashable {
    /// What the slowest stage must gain: 0.1 is 10 %.
    ///
    /// Below it stages differ by the layer more or less that no split avoids.
    package var minGain = 0.1
    /// How long it must promise to; and how long a move is watched for what it brings.
    package var hold: Duration = .seconds(20)
    /// From one move to the next, and the time in which a move must earn its pause.
    package var minInterval: Duration = .seconds(60)
    /// How long an observation counts: noise of single steps is forgotten, a drift is not.
    package var smoothing: Duration = .seconds(15)
    /// How often the interval may double: to sixteen minutes.
    package var maxDoublings = 4
    /// How often the stages are looked at.
    package var sampling: Duration = .seconds(1)
    /// What the first move is thought to cost; later ones, what the last one did.
    package var pause: Duration = .milliseconds(500)

    package init() {}
  }

  /// What to do, and why.
  package struct Decision: Sendable, Hashable {
    package enum Kind: String, Sendable {
      /// No other split is enough faster.
      case balanced
      /// One is, but not for long enough yet.
      case passing
      /// One is, but the last move was not long ago.
      case resting
      /// One is, but with so little to do it does not earn the pause.
      case dear
      /// The layers should move.
      case move
      /// The last move has brought what it promised.
      case kept
      /// The last move has not.
      case fellShort = "fell short"
      /// The last move was given up.
      case failed
    }

    package var kind: Kind
    /// In a sentence, with the numbers that led to it.
    package var reason: String
    /// What each stage holds after a move.
    package var stages: [ModelSlice]?
  }

  /// A move of its own whose outcome is not known yet.
  private struct Trial: Sendable {
    var stages: [ModelSlice]
    var gain: Double
    /// Seconds of a step in the slowest stage before.
    var slowest: Double
    /// Seconds of a step by stage, as promised.
    var promised: [Double]
    var placed: ContinuousClock.Instant?
  }

  /// How long another split has been faster.
  private struct Drift: Sendable {
    var since: ContinuousClock.Instant
    /// How long the slowest stage computed meanwhile.
    var busySeconds = 0.0
  }

  private let cost: DecodeCost
  private let limits: Limits
  private var names: [String] = []
  private var stages: [ModelSlice] = []
  private var previousStages: [ModelSlice]?
  /// Of the steps since the last look, by stage.
  private var sums: [Double] = []
  private var stepCount = 0
  private var looked: ContinuousClock.Instant?
  /// Seconds of a step, by stage; empty until something was seen.
  private var smoothed: [Double] = []
  private var observationCount = 0
  private var drift: Drift?
  private var trial: Trial?
  private var moved: ContinuousClock.Instant?
  private var doublings = 0
  private var pause: Duration
  /// The last decision that was news.
  package private(set) var last: (decision: Decision, at: ContinuousClock.Instant)?
  /// What was told of the split last, and when each such thing was.
  private var state: Decision.Kind?
  private var told: [Decision.Kind: ContinuousClock.Instant] = [:]

  /// - Parameters:
  ///   - cost: What each layer and the head cost in proportion to one another.
  ///   - limits: What a move must be worth.
  package init(cost: DecodeCost, limits: Limits = Limits()) {
    self.cost = cost
    self.limits = limits
    pause = limits.pause
  }

  // MARK: What happens

  /// Notes who holds which layers from now on, for whatever reason; what was seen before does not count.
  package mutating func placed(
    _ stages: [ModelSlice],
    on names: [String],
    at now: ContinuousClock.Instant
  ) {
    precondition(stages.count == names.count && !stages.isEmpty, "a name for each stage")
    if names != self.names {
      // Other devices: nothing that was learnt is of them.
      moved = self.names.isEmpty ? nil : now
      previousStages = nil
      doublings = 0
    } else if stages != self.stages {
      if takesBack(stages) {
        doublings = min(doublings + 1, limits.maxDoublings)
      } else if let moved, now - moved >= waiting(for: stages) * 2 {
        doublings = 0
      }
      previousStages = self.stages
      moved = now
    }
    self.names = names
    self.stages = stages
    if trial?.stages == stages { trial?.placed = now } else { trial = nil }
    forget(at: now)
  }

  /// Notes that a move has ended well, and how long the sessions stood still.
  package mutating func paused(for pause: Duration) { self.pause = pause }

  /// Notes that a move of its own was given up.
  package mutating func failed(_ reason: String, at now: ContinuousClock.Instant) {
    doublings = min(doublings + 1, limits.maxDoublings)
    moved = now
    trial = nil
    drift = nil
    last = (Decision(kind: .failed, reason: reason), now)
  }

  /// Takes how long each stage took for a step that only decodes.
  package mutating func add(_ durations: [Duration]) {
    guard durations.count == stages.count, durations.allSatisfy({ $0 > .zero }) else { return }
    if sums.isEmpty { sums = Array(repeating: 0, count: stages.count) }
    for (stage, duration) in durations.enumerated() { sums[stage] += duration / .seconds(1) }
    stepCount += 1
  }

  private mutating func forget(at now: ContinuousClock.Instant) {
    sums = []
    stepCount = 0
    looked = now
    smoothed = []
    observationCount = 0
    drift = nil
  }

  // MARK: What to do

  /// Returns what there is to say now, a move that is due last.
  ///
  /// - Parameters:
  ///   - now: The time.
  ///   - choose: Returns the stages that suit these speeds (cost a second) best; nil if there are none.
  /// - Returns: Decisions that have not been told lately.
  package mutating func advise(
    at now: ContinuousClock.Instant,
    choose: (_ speeds: [Double]) -> [ModelSlice]?
  ) -> [Decision] {
    guard let looked, now - looked >= limits.sampling, stepCount > 0 else { return [] }
    let gap = now - looked
    let busySeconds = sums.max() ?? 0
    smooth(sums.map { $0 / Double(stepCount) }, gap)
    sums = []
    stepCount = 0
    self.looked = now
    var decisions: [Decision] = []
    if let outcome = judgeTrial(at: now) { decisions.append(outcome) }
    decisions.append(decide(busySeconds, at: now, choose))
    return decisions.filter { isNews($0, at: now) }
  }

  private mutating func smooth(_ fresh: [Double], _ gap: Duration) {
    if gap > limits.smoothing {
      // Nothing was seen for long: what was true then need not be now.
      observationCount = 0
      drift = nil
    }
    observationCount += 1
    guard observationCount > 1 else {
      smoothed = fresh
      return
    }
    let passed = gap / limits.smoothing
    // The first few are averaged: one alone would count for as long as all others together.
    let weight = max(passed / (1 + passed), 1 / Double(observationCount))
    smoothed = zip(smoothed, fresh).map { $0 + weight * ($1 - $0) }
  }

  private mutating func decide(
    _ busySeconds: Double,
    at now: ContinuousClock.Instant,
    _ choose: ([Double]) -> [ModelSlice]?
  ) -> Decision {
    let speeds = zip(stages, smoothed).map { cost.bytes(of: $0) / $1 }
    let slowest = smoothed.max() ?? 0
    let best = choose(speeds) ?? stages
    let promised = zip(best, speeds).map { cost.bytes(of: $0) / $1 }
    let gain = slowest / (promised.max() ?? slowest) - 1
    let other = "\(text(best)) would be \(percent(gain)) faster"
    // Once promised, noise around the threshold does not start the wait again.
    guard best != stages, gain >= (drift == nil ? limits.minGain : limits.minGain / 2) else {
      drift = nil
      let rest = best == stages ? "no split is faster" : other
      return Decision(kind: .balanced, reason: "\(times); \(rest)")
    }
    var drift = self.drift ?? Drift(since: now)
    drift.busySeconds += busySeconds
    self.drift = drift
    let lasting = now - drift.since
    let finding = "\(times) since \(lasting.components.seconds) s; \(other)"
    guard gain >= limits.minGain, lasting >= limits.hold else {
      let wanted = "it must be \(percent(limits.minGain)) for \(limits.hold)"
      return Decision(kind: .passing, reason: "\(finding); \(wanted)")
    }
    let wait = waiting(for: best) - (now - (moved ?? now - waiting(for: best)))
    guard wait <= .zero else {
      let rest =
        "the last move was not long ago, the next may be in \(wait.components.seconds + 1) s"
      return Decision(kind: .resting, reason: "\(finding); \(rest)")
    }
    let share = drift.busySeconds / max(lasting / .seconds(1), 1e-3)
    let saved = limits.minInterval * (min(1, share) * gain / (1 + gain))
    guard saved > pause else {
      let rest =
        "it would save \(milliseconds(saved)) in \(limits.minInterval) and cost "
        + "\(milliseconds(pause))"
      return Decision(kind: .dear, reason: "\(finding); \(rest)")
    }
    trial = Trial(
      stages: best,
      gain: gain,
      slowest: slowest,
      promised: promised
    )
    return Decision(kind: .move, reason: finding, stages: best)
  }

  /// Compares what a move has brought with its promise, once it has been watched for long enough.
  private mutating func judgeTrial(at now: ContinuousClock.Instant) -> Decision? {
    guard let trial, let placed = trial.placed, now - placed >= limits.hold else { return nil }
    self.trial = nil
    // Other steps than before make every stage slower or faster alike: by as much as the stage that has
    // kept its promise best.
    let load = zip(smoothed, trial.promised).map { $0 / $1 }.min() ?? 1
    let gain = trial.slowest * load / (smoothed.max() ?? 1) - 1
    let reason =
      "\(times); for the same work \(percent(gain)) faster than before, "
      + "\(percent(trial.gain)) was promised"
    // Half of it is what noise explains.
    guard gain < trial.gain / 2 else {
      return Decision(kind: .kept, reason: reason)
    }
    doublings = min(doublings + 1, limits.maxDoublings)
    return Decision(kind: .fellShort, reason: reason)
  }

  /// Returns whether a move would give layers to the stages that the last move took them from.
  private func takesBack(_ target: [ModelSlice]) -> Bool {
    guard let previousStages else { return false }
    let moves = zip(zip(previousStages, stages), target).map { pair, target in
      let (before, now) = pair
      return (end(now) - end(before)) * (end(target) - end(now))
    }
    return moves.reduce(0, +) < 0
  }

  /// Where a slice ends on the line: layers, and behind them the share of the vocabulary.
  private func end(_ slice: ModelSlice) -> Double {
    Double(slice.layers.upperBound)
      + Double(slice.vocabulary.upperBound) / Double(max(1, cost.vocabularySize))
  }

  private func waiting(for target: [ModelSlice]) -> Duration {
    let power = min(doublings + (takesBack(target) ? 1 : 0), limits.maxDoublings)
    return limits.minInterval * (1 << power)
  }

  // MARK: What to say

  /// Whether a decision is to be told: what a move comes to always, a state when it is another one and
  /// has not been told within the least interval of moves.
  private mutating func isNews(_ decision: Decision, at now: ContinuousClock.Instant) -> Bool {
    switch decision.kind {
    case .kept, .fellShort, .failed: break
    case .move: state = .move
    case .balanced, .passing, .resting, .dear:
      if decision.kind == state { return false }
      if let told = told[decision.kind], now - told < limits.minInterval { return false }
      state = decision.kind
      told[decision.kind] = now
    }
    last = (decision, now)
    return true
  }

  private var times: String {
    let each = zip(names, smoothed).map { "\($0) \(decimal($1 * 1000, 2)) ms" }
    return "a step takes \(each.joined(separator: ", "))"
  }

  private func text(_ stages: [ModelSlice]) -> String {
    stages.map { cost.line.text($0) }.joined(separator: ", ")
  }

  private func percent(_ part: Double) -> String { "\(decimal(part * 100, 1)) %" }

  private func milliseconds(_ duration: Duration) -> String {
    "\(decimal(duration / .milliseconds(1), 1)) ms"
  }
}
