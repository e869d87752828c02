// Detects that a stage has become slower: it compares recent steps with those of the epoch's first
// minute.
//
// Only steps of one class are compared: about as many rows, about as far into their sessions, with
// or without a prompt. If a whole class slows down, the cause is the machine: heat, another
// program, or a failing device.

/// Steps that should take about the same time.
struct StepClass: Sendable, Hashable {
  let rowCount: Int
  let isPrefill: Bool
  // Logarithms to base two: within one class, rows and positions differ by less than a factor of
  // two.
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

/// How long the steps of one stage took in the epoch's first minute, and how long they take now.
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

  /// How long after an epoch's begin its steps serve as the baseline.
  static let learning = Duration.seconds(60)
  /// A slowdown below a factor of two can be explained by the range of rows and positions in a
  /// class.
  static let limit = 2.0
  /// How many steps each of the two means needs to be reliable.
  static let leastSteps = 20
  // Rows to 8192 and positions to a million make 14 × 20 × 2 classes; few of them occur.
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
    // A class that did not occur in the first minute has no baseline.
    guard before[stepClass] != nil else { return }
    let empty = SlidingWindow(slice: .seconds(10), count: 3, empty: Mean())
    recent[stepClass, default: empty].change(at: now) { $0.add(step) }
  }

  /// Returns the class that has slowed down most; nil if none exceeds the limit.
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
