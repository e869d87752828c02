// How many micro-batches are found to be best, on pipelines that cost what a formula says.

import Coordinator
import Testing

@Suite struct `Micro-batches under way` {
  /// Lets streams decode for a time, each row of a step costing what `cycle` says, and returns the depths
  /// that ran, with the share of the rows that ran at each.
  private func run(
    _ tuner: inout DepthTuner,
    streams: Int,
    seconds: Double,
    from start: ContinuousClock.Instant,
    cycle: (Int) -> Double
  ) -> [Int: Double] {
    var now = start
    var rows: [Int: Int] = [:]
    while now - start < .seconds(seconds) {
      let depth = tuner.depth(streams: streams)
      let batch = max(1, streams / depth)
      now += .seconds(cycle(depth) / Double(streams) * Double(batch))
      rows[depth, default: 0] += batch
      tuner.finished(rows: batch, streams: streams, at: now)
    }
    let total = Double(rows.values.reduce(0, +))
    return rows.mapValues { Double($0) / total }
  }

  /// The time in which each of the streams gets a token, over even stages that slow one another down
  /// when they work at the same time.
  private func cycle(
    fixed: Double,
    perRow: Double,
    slowdown: Double = 1,
    streams: Int = 8,
    stages: Int = 2
  ) -> (Int) -> Double {
    { depth in
      let rows = (Double(streams) / Double(depth)).rounded(.up)
      let step = (fixed + perRow * rows) * (depth > 1 ? slowdown : 1)
      return Double(max(depth, stages)) * step
    }
  }

  @Test func `only what can differ is tried`() {
    #expect(DepthTuner.candidates(stageCount: 2, streams: 8) == [2, 1, 3, 4])
    #expect(DepthTuner.candidates(stageCount: 2, streams: 1) == [1])
    #expect(DepthTuner.candidates(stageCount: 3, streams: 2) == [2, 1])
    #expect(DepthTuner.candidates(stageCount: 1, streams: 8) == [1, 2])
    let tuner = DepthTuner(stageCount: 3)
    #expect(tuner.depth(streams: 8) == 3)
    #expect(tuner.depth(streams: 2) == 2)
    #expect(tuner.depth(streams: 0) == 1)
  }

  @Test(arguments: [
    // Rows cost what they compute: every stage shall have one.
    (fixed: 0.001, perRow: 0.010, slowdown: 1.1, best: 2),
    // Rows share what is read, stages the memory it is read from.
    (fixed: 0.020, perRow: 0.0001, slowdown: 1.4, best: 1),
  ])
  func `the fastest depth runs, but for the trials`(
    fixed: Double,
    perRow: Double,
    slowdown: Double,
    best: Int
  ) {
    var tuner = DepthTuner(stageCount: 2)
    let cost = cycle(fixed: fixed, perRow: perRow, slowdown: slowdown)
    let shares = run(&tuner, streams: 8, seconds: 300, from: .now, cycle: cost)
    #expect(shares[best, default: 0] > 0.95, "\(shares)")
    #expect(tuner.depth(streams: 8) == best)
    // Each other one had its try.
    #expect(Set(shares.keys) == [1, 2, 3, 4])
  }

  @Test func `what has become slower is left after a while`() {
    var tuner = DepthTuner(stageCount: 2)
    let start = ContinuousClock.now
    _ = run(
      &tuner,
      streams: 8,
      seconds: 30,
      from: start,
      cycle: cycle(fixed: 0.001, perRow: 0.01)
    )
    #expect(tuner.depth(streams: 8) == 2)
    _ = run(
      &tuner,
      streams: 8,
      seconds: 100,
      from: start + .seconds(30),
      cycle: cycle(fixed: 0.02, perRow: 0.0001, slowdown: 1.4)
    )
    #expect(tuner.depth(streams: 8) == 1)
  }

  @Test func `steps of prompts, and of other streams, are no measurement`() {
    var tuner = DepthTuner(stageCount: 2)
    var now = ContinuousClock.now
    for step in 0..<1000 {
      now += .milliseconds(50)
      tuner.finished(rows: 4, streams: step % 5 == 4 ? nil : 8, at: now)
    }
    #expect(tuner.depth(streams: 8) == 2)
    for step in 0..<1000 {
      now += .milliseconds(50)
      tuner.finished(rows: 4, streams: 4 + step / 4 % 2, at: now)
    }
    #expect(tuner.depth(streams: 4) == 2 && tuner.depth(streams: 5) == 2)
  }
}
