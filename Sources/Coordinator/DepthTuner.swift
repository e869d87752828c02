// Finds by trial how many micro-batches should be in flight while streams decode.
//
// More micro-batches keep more stages busy and hide the transfer between them; fewer micro-batches
// have more rows each, and the rows of one step share the weights that are read. Which is better
// depends on the model, the devices, how even the stages are and what memory they share. So the few
// plausible numbers are tried, each for a tenth of a second, and the fastest is kept until the next
// trial.

/// Tunes the number of micro-batches in flight, for each count of decoding streams.
package struct DepthTuner: Sendable {
  /// The measured speed of a depth.
  private struct Measured: Sendable {
    var secondsPerRow: Double
    var at: ContinuousClock.Instant
  }

  /// The steps of one depth that are being measured.
  private struct Window: Sendable {
    let load: Int
    let depth: Int
    var steps = 0
    var rows = 0
    /// When the steps of the previous depth had left the pipeline.
    var began: ContinuousClock.Instant?
  }

  /// The least duration of a measurement, and its least number of steps per micro-batch in flight.
  package static let leastTime = Duration.milliseconds(100)
  package static let stepsPerBatch = 2
  /// How long until a depth that was slower is tried again.
  ///
  /// Growing contexts and other programs on the machine change which depth is best; a round of
  /// trials takes about a hundredth of this time.
  package static let retryAfter = Duration.seconds(60)

  private let stageCount: Int
  /// By load, then by depth.
  private var measured: [Int: [Int: Measured]] = [:]
  /// The depth in use for each load, whether the best one or a trial.
  private var current: [Int: Int] = [:]
  private var window: Window?

  package init(stageCount: Int) { self.stageCount = stageCount }

  /// Returns the depths worth a trial: one step at a time, as many as there are stages, one more to
  /// hide the transfer between them, and twice as many.
  package static func candidates(stageCount: Int, streams: Int) -> [Int] {
    var depths: [Int] = []
    for depth in [stageCount, 1, stageCount + 1, 2 * stageCount] {
      let possible = max(1, min(depth, streams))
      if !depths.contains(possible) { depths.append(possible) }
    }
    return depths
  }

  /// Returns how many micro-batches should be in flight while `streams` streams decode.
  package func depth(streams: Int) -> Int {
    max(1, min(streams, current[Self.load(streams)] ?? stageCount))
  }

  /// Notes a step that has come back.
  ///
  /// - Parameters:
  ///   - rows: How many rows of decoding streams it had.
  ///   - streams: How many streams decode; nil if the step did not only decode.
  ///   - now: When it came back.
  package mutating func finished(
    rows: Int,
    streams: Int?,
    at now: ContinuousClock.Instant
  ) {
    guard let streams, streams > 1 else {
      window = nil
      return
    }
    let (load, depth) = (Self.load(streams), depth(streams: streams))
    var window = self.window ?? Window(load: load, depth: depth)
    if window.load != load || window.depth != depth { window = Window(load: load, depth: depth) }
    window.steps += 1
    guard let began = window.began else {
      // All steps that may be left of another depth have come back.
      if window.steps >= max(depth, stageCount) {
        (window.began, window.steps) = (now, 0)
      }
      self.window = window
      return
    }
    window.rows += rows
    self.window = window
    guard window.steps >= max(4, Self.stepsPerBatch * depth), now - began >= Self.leastTime
    else { return }
    take(window, (now - began) / .seconds(1) / Double(max(1, window.rows)), streams, at: now)
    self.window = nil
  }

  private mutating func take(
    _ window: Window,
    _ secondsPerRow: Double,
    _ streams: Int,
    at now: ContinuousClock.Instant
  ) {
    var known = measured[window.load] ?? [:]
    let before = known[window.depth].flatMap { isOld($0, now) ? nil : $0.secondsPerRow }
    // The earlier measurement counts half, so that one hiccup of the machine does not decide.
    let mean = ((before ?? secondsPerRow) + secondsPerRow) / 2
    known[window.depth] = Measured(secondsPerRow: mean, at: now)
    measured[window.load] = known
    let candidates = Self.candidates(stageCount: stageCount, streams: streams)
    let next =
      candidates.first { known[$0].map { isOld($0, now) } ?? true }
      ?? candidates.min {
        known[$0]?.secondsPerRow ?? .infinity < known[$1]?.secondsPerRow ?? .infinity
      }
    current[window.load] = next
  }

  private func isOld(_ measured: Measured, _ now: ContinuousClock.Instant) -> Bool {
    now - measured.at > Self.retryAfter
  }

  /// Groups counts of streams into loads: each up to 8 is its own, then they grow in steps of a
  /// half.
  private static func load(_ streams: Int) -> Int {
    guard streams > 8 else { return streams }
    let shift = Int.bitWidth - streams.leadingZeroBitCount - 2
    return (streams >> shift) << shift
  }
}
