// Decides when layers should move without a request: stages drift apart when a device gets hot or
// its machine busy. It is a pure value that receives the durations of steps and returns advice with
// its reason; it moves nothing itself. It compares steps that only decode: prompts may want another cut
// (`PlanPhases`), and a load of them says nothing about drift.

package import Gemma

/// Proposes another split when the stages have drifted apart for long enough.
///
/// A move must gain something (`minGain`), must gain more than its pause costs, and the drift must
/// last (`hold`). Between two moves there is a backoff of `minInterval`, which doubles each time
/// that a move takes layers back to where they came from, fails, or does not bring what was
/// predicted.
package struct RebalanceAdvisor: Sendable {
  package struct Limits: Sendable, Hashable {
    /// How much faster the slowest stage must become: 0.1 is 10 %.
    ///
    /// Stages that differ by less do so because a split can only move whole layers.
    package var minGain = 0.1
    /// How long the predicted gain must last before a move; and how long its effect is then
    /// measured.
    package var hold: Duration = .seconds(20)
    /// The least time between two moves, and the time within which a move must earn back its pause.
    package var minInterval: Duration = .seconds(60)
    /// The time constant of the running mean: it averages out the noise of single steps, but not a
    /// drift.
    package var smoothing: Duration = .seconds(15)
    /// How often the interval may double: four times lead to sixteen minutes.
    package var maxDoublings = 4
    /// How often the stages are compared.
    package var sampling: Duration = .seconds(1)
    /// The estimated cost of the first move; later the cost of the previous move is used.
    package var pause: Duration = .milliseconds(500)

    package init() {}
  }

  /// A decision and its reason.
  package struct Decision: Sendable, Hashable {
    package enum Kind: String, Sendable {
      /// No other split is faster by enough.
      case balanced
      /// Another split is faster, but has not been for long enough yet.
      case passing
      /// Another split is faster, but the last move is too recent.
      case resting
      /// Another split is faster, but there is so little work that it would not earn back the
      /// pause.
      case dear
      /// The layers should move.
      case move
      /// The last move has brought the predicted gain.
      case kept
      /// The last move has not brought the predicted gain.
      case fellShort = "fell short"
      /// The last move was aborted.
      case failed
    }

    package var kind: Kind
    /// A sentence with the numbers that led to the decision.
    package var reason: String
    /// The slice of each stage after the move; nil if the decision is no move.
    package var stages: [ModelSlice]?
  }

  /// A move that this advisor has proposed and whose effect is not known yet.
  private struct Trial: Sendable {
    var stages: [ModelSlice]
    var gain: Double
    /// Seconds of a step in the slowest stage before the move.
    var slowest: Double
    /// Predicted seconds of a step, by stage.
    var promised: [Double]
    var placed: ContinuousClock.Instant?
  }

  /// How long another split has been faster.
  private struct Drift: Sendable {
    var since: ContinuousClock.Instant
    /// How long the slowest stage has computed since then.
    var busySeconds = 0.0
  }

  private let cost: DecodeCost
  private let limits: Limits
  private var names: [String] = []
  private var stages: [ModelSlice] = []
  private var previousStages: [ModelSlice]?
  /// The summed step times since the last comparison, by stage.
  private var sums: [Double] = []
  private var stepCount = 0
  private var looked: ContinuousClock.Instant?
  /// The running mean of a step's seconds, by stage; empty until a step was seen.
  private var smoothed: [Double] = []
  private var observationCount = 0
  private var drift: Drift?
  private var trial: Trial?
  private var moved: ContinuousClock.Instant?
  private var doublings = 0
  private var pause: Duration
  /// The last decision that was reported.
  package private(set) var last: (decision: Decision, at: ContinuousClock.Instant)?
  /// The last state that was reported of this split, and when each kind was last reported.
  private var state: Decision.Kind?
  private var told: [Decision.Kind: ContinuousClock.Instant] = [:]

  /// - Parameters:
  ///   - cost: The relative costs of the layers and of the head.
  ///   - limits: The conditions for a move.
  package init(cost: DecodeCost, limits: Limits = Limits()) {
    self.cost = cost
    self.limits = limits
    pause = limits.pause
  }

  // MARK: Observations

  /// Notes the current placement, whatever changed it, and discards earlier observations.
  package mutating func placed(
    _ stages: [ModelSlice],
    on names: [String],
    at now: ContinuousClock.Instant
  ) {
    precondition(stages.count == names.count && !stages.isEmpty, "a name for each stage")
    if names != self.names {
      // The devices are others, so nothing learnt so far applies to them.
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

  /// Notes that a move has ended successfully, and how long it paused the sessions.
  package mutating func paused(for pause: Duration) { self.pause = pause }

  /// Notes that a move which the advisor proposed was aborted.
  package mutating func failed(_ reason: String, at now: ContinuousClock.Instant) {
    doublings = min(doublings + 1, limits.maxDoublings)
    moved = now
    trial = nil
    drift = nil
    last = (Decision(kind: .failed, reason: reason), now)
  }

  /// Notes how long each stage took for a step that only decodes.
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

  // MARK: Advice

  /// Returns the decisions that are news now; a move that is due comes last.
  ///
  /// - Parameters:
  ///   - now: The current time.
  ///   - choose: Returns the best stages for these speeds (cost per second); nil if there are none.
  /// - Returns: Decisions that have not been reported recently.
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
      // After a long time without steps, earlier observations may no longer hold.
      observationCount = 0
      drift = nil
    }
    observationCount += 1
    guard observationCount > 1 else {
      smoothed = fresh
      return
    }
    let passed = gap / limits.smoothing
    // The first few observations are averaged; otherwise the first one alone would outweigh all
    // others.
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
    // Hysteresis: once another split was found faster, noise around the threshold does not restart
    // the wait.
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

  /// Compares the measured gain of a move with the predicted one, once it was measured for long
  /// enough.
  private mutating func judgeTrial(at now: ContinuousClock.Instant) -> Decision? {
    guard let trial, let placed = trial.placed, now - placed >= limits.hold else { return nil }
    self.trial = nil
    // A different mix of steps makes all stages slower or faster by the same factor. That factor is
    // taken from the stage that has kept its prediction best.
    let load = zip(smoothed, trial.promised).map { $0 / $1 }.min() ?? 1
    let gain = trial.slowest * load / (smoothed.max() ?? 1) - 1
    let reason =
      "\(times); for the same work \(percent(gain)) faster than before, "
      + "\(percent(trial.gain)) was promised"
    // A gain of at least half the prediction counts as kept, because noise explains the other half.
    guard gain < trial.gain / 2 else {
      return Decision(kind: .kept, reason: reason)
    }
    doublings = min(doublings + 1, limits.maxDoublings)
    return Decision(kind: .fellShort, reason: reason)
  }

  /// Returns whether a move would return layers to the stages that the last move took them from.
  private func takesBack(_ target: [ModelSlice]) -> Bool {
    guard let previousStages else { return false }
    let moves = zip(zip(previousStages, stages), target).map { pair, target in
      let (before, now) = pair
      return (end(now) - end(before)) * (end(target) - end(now))
    }
    return moves.reduce(0, +) < 0
  }

  /// Where a slice ends on the line of layers followed by the vocabulary, which counts as its
  /// share.
  private func end(_ slice: ModelSlice) -> Double {
    Double(slice.layers.upperBound)
      + Double(slice.vocabulary.upperBound) / Double(max(1, cost.vocabularySize))
  }

  private func waiting(for target: [ModelSlice]) -> Duration {
    let power = min(doublings + (takesBack(target) ? 1 : 0), limits.maxDoublings)
    return limits.minInterval * (1 << power)
  }

  // MARK: Reports

  /// Whether a decision is to be reported: the outcome of a move always; a state only if it differs
  /// from the last one and was not reported within the least interval of moves.
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
