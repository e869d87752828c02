// When layers should move: stages drift apart when a device gets hot or its machine busy. A value that
// is told how long steps take, and at some time says what it would do and why; it moves nothing.

package import Gemma

/// Proposes another split when the stages have drifted apart for long enough.
///
/// What it weighs: a move costs a pause, so it must gain something (`minGain`), and what is seen must
/// last (`hold`) and not be undone a moment later (`minInterval`, doubled each time that a move takes
/// layers back to where they came from).
package struct RebalanceAdvisor: Sendable {
  package struct Limits: Sendable, Hashable {
    /// What the slowest stage must gain: 0.1 is 10 %.
    package var minGain = 0.1
    /// How long it must promise to.
    package var hold: Duration = .seconds(20)
    /// From one move to the next.
    package var minInterval: Duration = .seconds(60)
    /// How long an observation counts: noise of single steps is forgotten, a drift is not.
    package var smoothing: Duration = .seconds(15)
    /// How often the interval may double: to sixteen minutes.
    package var maxDoublings = 4

    package init() {}
  }

  /// A move that would be worth it.
  package struct Proposal: Sendable, Hashable {
    /// Layers a stage.
    package var split: [Int]
    /// How much faster the slowest stage would be: 0.25 is 25 %.
    package var gain: Double
    /// In a sentence, with the numbers that led to it.
    package var reason: String
  }

  private let cost: DecodeCost
  private let names: [String]
  private let limits: Limits
  private var stages: [Range<Int>]
  private var previousStages: [Range<Int>]?
  /// By stage, in microseconds; empty until something was seen.
  private var smoothed: [Double] = []
  private var observed: ContinuousClock.Instant?
  private var observationCount = 0
  private var promisedSince: ContinuousClock.Instant?
  private var moved: ContinuousClock.Instant?
  private var doublings = 0

  /// - Parameters:
  ///   - cost: What each layer and the head cost in proportion to one another.
  ///   - stages: The placement that runs.
  ///   - names: Of the stages' workers, for the reason.
  ///   - limits: What a move must be worth.
  package init(
    cost: DecodeCost,
    stages: [Range<Int>],
    names: [String],
    limits: Limits = Limits()
  ) {
    precondition(stages.count == names.count && !stages.isEmpty, "a name for each stage")
    precondition(stages.last?.upperBound == cost.layers.count, "stages of other layers")
    self.cost = cost
    self.stages = stages
    self.names = names
    self.limits = limits
  }

  /// Takes how long steps took since the last call.
  ///
  /// - Parameters:
  ///   - stepMicroseconds: By stage, the mean over the same steps, so that rows and prompts weigh alike
  ///     in all; anything but positive numbers (no step ended) is passed over.
  ///   - now: The time.
  /// - Returns: A move that is due.
  package mutating func observe(
    _ stepMicroseconds: [Double],
    at now: ContinuousClock.Instant
  ) -> Proposal? {
    precondition(stepMicroseconds.count == stages.count, "a time for each stage")
    guard stepMicroseconds.allSatisfy({ $0 > 0 && $0.isFinite }) else { return nil }
    smooth(stepMicroseconds, at: now)
    guard let best = bestSplit() else { return nil }
    // Once promised, noise around the threshold does not start the wait again.
    guard best.gain >= (promisedSince == nil ? limits.minGain : limits.minGain / 2) else {
      promisedSince = nil
      return nil
    }
    let since = promisedSince ?? now
    promisedSince = since
    guard best.gain >= limits.minGain, now - since >= limits.hold else { return nil }
    guard now - (moved ?? now - waiting(for: best.stages)) >= waiting(for: best.stages) else {
      return nil
    }
    return Proposal(
      split: best.stages.map(\.count),
      gain: best.gain,
      reason: reason(best.stages, gain: best.gain, lasting: now - since)
    )
  }

  /// Notes that the layers have moved, for whatever reason; what was seen before does not count.
  package mutating func moved(to stages: [Range<Int>], at now: ContinuousClock.Instant) {
    precondition(stages.count == self.stages.count, "another number of stages")
    guard stages != self.stages else { return }
    if takesBack(stages) {
      doublings = min(doublings + 1, limits.maxDoublings)
    } else if let last = moved, now - last >= waiting(for: stages) * 2 {
      doublings = 0
    }
    previousStages = self.stages
    self.stages = stages
    moved = now
    smoothed = []
    observed = nil
    observationCount = 0
    promisedSince = nil
  }

  /// Returns whether a move would give layers to the stages that the last move took them from.
  private func takesBack(_ target: [Range<Int>]) -> Bool {
    guard let previousStages else { return false }
    let moves = zip(zip(previousStages, stages), target).map { pair, target in
      let (before, now) = pair
      return (now.upperBound - before.upperBound) * (target.upperBound - now.upperBound)
    }
    return moves.reduce(0, +) < 0
  }

  private func waiting(for target: [Range<Int>]) -> Duration {
    let power = min(doublings + (takesBack(target) ? 1 : 0), limits.maxDoublings)
    return limits.minInterval * (1 << power)
  }

  private mutating func smooth(_ fresh: [Double], at now: ContinuousClock.Instant) {
    observationCount += 1
    guard let last = observed else {
      smoothed = fresh
      observed = now
      return
    }
    let passed = max(.zero, now - last) / limits.smoothing
    // The first few are averaged: one alone would count for as long as all others together.
    let weight = max(passed / (1 + passed), 1 / Double(observationCount))
    smoothed = zip(smoothed, fresh).map { $0 + weight * ($1 - $0) }
    observed = now
  }

  /// What a stage's layers cost, the head with the last.
  private func share(_ layers: Range<Int>) -> Double {
    cost.layers[layers].reduce(layers.upperBound == cost.layers.count ? cost.head : 0, +)
  }

  /// Returns the split that suits the speeds seen, and what it gains; nil if none is better.
  private func bestSplit() -> (stages: [Range<Int>], gain: Double)? {
    let speeds = zip(stages, smoothed).map { share($0) / $1 }
    guard speeds.allSatisfy({ $0 > 0 }),
      let best = try? Placement(cost: cost, rates: speeds).stages, best != stages
    else { return nil }
    let slowest = zip(best, speeds).map { share($0) / $1 }.max() ?? 0
    return (best, (smoothed.max() ?? 0) / slowest - 1)
  }

  private func reason(_ target: [Range<Int>], gain: Double, lasting: Duration) -> String {
    let slowest = smoothed.max() ?? 0
    let index = smoothed.firstIndex(of: slowest) ?? 0
    let others = smoothed.indices.filter { $0 != index }.map {
      "\(names[$0]) \(decimal(smoothed[$0] / 1000, 2)) ms"
    }
    let split = target.map { "\($0.count)" }.joined(separator: ",")
    return "a step takes \(names[index]) \(decimal(slowest / 1000, 2)) ms and "
      + "\(others.joined(separator: ", ")) since \(lasting.components.seconds) s; "
      + "\(split) would be \(decimal(gain * 100, 1)) % faster"
  }
}
