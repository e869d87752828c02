// Whether a stage has become slower: its steps of late against those of the epoch's first minute.
//
// Steps are compared only with their like: as many rows, as far into their sessions, prompt or not.
// What slows a whole class is the machine: heat, another program, a device that fails.

/// Steps that should take about the same time.
struct StepClass: Sendable, Hashable {
  let rowCount: Int
  let isPrefill: Bool
  // Powers of two: within one, rows and positions differ by less than a factor of two.
  private let rowsLog: Int
  private let positionLog: Int

  init(rowCount: Int, lastPosition: Int, isPrefill: Bool) {
    rowsLog = Self.logarithm(rowCount)
    positionLog = Self.logarithm(lastPosition + 1)
    self.rowCount = 1 << rowsLog
    self.isPrefill = isPrefill
  }

  private static func logarithm(_ value: Int) -> Int {
    Int.bitWidth - 1 - max(1, value).leadingZeroBitCount
  }
}

/// How long the steps of one stage take, then and now.
struct StepDrift: Sendable {
  /// A class of steps that has become slower.
  struct Finding: Sendable, Hashable {
    var stepClass: StepClass
    var before: Duration
    var now: Duration
    var factor: Double { now / before }
  }

  private struct Mean: Sendable {
    var count = 0
    var sum = Duration.zero
    var value: Duration { sum / max(1, count) }

    mutating func add(_ step: Duration) {
      count += 1
      sum += step
    }
  }

  /// How long an epoch's steps are taken as the measure.
  static let learning = Duration.seconds(60)
  /// Below twice the time is what classes of a factor of two in rows and positions explain.
  static let limit = 2.0
  /// Steps that a mean needs, then and now, to say anything.
  static let leastSteps = 20
  // Rows to 8192 and positions to a million make 14 × 20 × 2 classes; few are ever met.
  private static let mostClasses = 128

  private let began: ContinuousClock.Instant
  private var before: [StepClass: Mean] = [:]
  private var recent: [StepClass: SlidingWindow<Mean>] = [:]

  init(began: ContinuousClock.Instant) { self.began = began }

  mutating func add(_ step: Duration, _ stepClass: StepClass, at now: ContinuousClock.Instant) {
    guard now - began > Self.learning else {
      if before[stepClass] != nil || before.count < Self.mostClasses {
        before[stepClass, default: Mean()].add(step)
      }
      return
    }
    // What the first minute did not see cannot be compared.
    guard before[stepClass] != nil else { return }
    let empty = SlidingWindow(slice: .seconds(10), count: 3, empty: Mean())
    recent[stepClass, default: empty].change(at: now) { $0.add(step) }
  }

  /// Returns the class that has become slower most, if one has by more than the limit.
  func finding(at now: ContinuousClock.Instant) -> Finding? {
    let findings = recent.compactMap { stepClass, window -> Finding? in
      var mean = Mean()
      for slice in window.values(at: now) {
        mean.count += slice.count
        mean.sum += slice.sum
      }
      guard let before = before[stepClass], before.count >= Self.leastSteps,
        mean.count >= Self.leastSteps, before.value > .zero
      else { return nil }
      return Finding(stepClass: stepClass, before: before.value, now: mean.value)
    }
    return findings.filter { $0.factor > Self.limit }.max { $0.factor < $1.factor }
  }
}
