// When layers should move: on a drift that lasts and pays, not on noise, and not to and fro.

import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Rebalance advice` {
  private static let began = ContinuousClock.now
  private static let cost = DecodeCost(
    layers: Array(repeating: 1, count: 20),
    head: 0,
    vocabularySize: 1
  )

  /// An advisor, and the pipeline it looks at.
  private struct Watch {
    var advisor: RebalanceAdvisor
    var stages = [0..<10, 10..<20].map { cost.line.slice(layers: $0) }
    var decisions: [(second: Int, decision: RebalanceAdvisor.Decision)] = []
    let names = ["cpu-0", "cpu-1"]

    init() {
      advisor = RebalanceAdvisor(cost: cost)
      advisor.placed(stages, on: names, at: began)
    }

    func kinds(since second: Int = 0) -> [RebalanceAdvisor.Decision.Kind] {
      decisions.filter { $0.second >= second }.map(\.decision.kind)
    }

    var moves: [Int] { decisions.filter { $0.decision.kind == .move }.map(\.second) }

    /// Shows the advisor so many steps a second, of so many milliseconds; does what it says if it may.
    mutating func run(
      _ seconds: Range<Int>,
      steps: Int = 10,
      obeys: Bool = true,
      _ times: (_ second: Int, _ stages: [ModelSlice]) -> [Double]
    ) {
      for second in seconds {
        let now = began + .seconds(second)
        for _ in 0..<steps {
          advisor.add(times(second, stages).map { .microseconds(Int($0 * 1000)) })
        }
        let new = advisor.advise(at: now) { try? Placement(cost: cost, rates: $0).stages }
        decisions += new.map { (second, $0) }
        guard obeys, let next = new.last?.stages else { continue }
        stages = next
        advisor.placed(next, on: names, at: now)
        advisor.paused(for: .milliseconds(20))
      }
    }
  }

  /// Times of devices of which one is slower, by what a layer takes.
  private static func times(_ stages: [ModelSlice], _ perLayer: [Double]) -> [Double] {
    zip(stages, perLayer).map { Double($0.layers.count) * $1 }
  }

  @Test func `a stage that stays slow gives layers away, with the reason`() throws {
    var watch = Watch()
    watch.run(1..<60) { _, stages in Self.times(stages, [1, 1]) }
    #expect(watch.kinds() == [.balanced])
    watch.run(60..<130) { _, stages in Self.times(stages, [1, 2]) }
    // Twenty seconds it must last, and a while until it shows.
    let second = try #require(watch.moves.first)
    #expect((80..<100).contains(second), "\(second)")
    let move = try #require(watch.decisions.first { $0.decision.kind == .move }).decision
    #expect(move.reason.contains("cpu-1") && move.reason.contains("% faster"), "\(move.reason)")
    // Speeds of 1 to 1/2: 14 layers in 14, 6 in 12; 13 and 7 are no faster, and less even.
    let layers = watch.stages.map(\.layers)
    #expect(layers == [0..<13, 13..<20] || layers == [0..<14, 14..<20])
    #expect(watch.kinds() == [.balanced, .passing, .move, .balanced, .kept])
  }

  @Test func `what was said is not said again every second`() {
    var watch = Watch()
    watch.run(1..<60, obeys: false) { _, stages in Self.times(stages, [1, 1]) }
    watch.run(60..<75, obeys: false) { _, stages in Self.times(stages, [1, 2]) }
    #expect(watch.kinds() == [.balanced, .passing])
    #expect(watch.decisions.last?.decision.reason.contains("it must be 10.0 % for 20") == true)
  }

  @Test(.seeded(default: 73)) func `noise moves nothing`() {
    var random = SeededRandom(testSeed(default: 73))
    for _ in 0..<20 {
      var watch = Watch()
      watch.run(1..<600) { _, stages in
        Self.times(stages, [1, 1]).map { $0 * Double.random(in: 0.7...1.3, using: &random) }
      }
      #expect(watch.moves.isEmpty, "\(watch.decisions)")
      #expect(watch.decisions.count < 20, "a flood: \(watch.kinds())")
    }
  }

  @Test func `a passing load moves nothing, nor do steps that did not end`() {
    var watch = Watch()
    watch.run(1..<600) { second, stages in Self.times(stages, second % 60 < 3 ? [1, 2] : [1, 1]) }
    #expect(watch.moves.isEmpty)
    watch.run(600..<700) { _, _ in [0, 5] }
    #expect(watch.moves.isEmpty)
  }

  @Test func `a little work, or one burst now and then, does not earn a pause`() {
    var watch = Watch()
    // One step a second: 20 ms of work.
    watch.run(1..<200, steps: 1) { _, stages in Self.times(stages, [1, 2]) }
    #expect(watch.kinds() == [.passing, .dear])
    #expect(watch.decisions.last?.decision.reason.contains("and cost 500.0 ms") == true)
    // Two looks an hour apart say nothing of what was between.
    var rare = Watch()
    for hour in 0..<4 {
      rare.run((hour * 3600 + 1)..<(hour * 3600 + 5)) { _, stages in Self.times(stages, [1, 2]) }
    }
    #expect(rare.moves.isEmpty)
  }

  @Test func `a load that comes and goes makes moves ever rarer`() {
    var watch = Watch()
    // Each five minutes the other device is slow.
    watch.run(1..<20_000) { second, stages in
      Self.times(stages, (second / 300) % 2 == 0 ? [3, 1] : [1, 3])
    }
    #expect(watch.moves.count >= 2)
    let gaps = zip(watch.moves, watch.moves.dropFirst()).map { $1 - $0 }
    #expect(gaps.allSatisfy { $0 >= 60 })
    // 66 changes of the load; undoing the last move is put off for longer each time.
    #expect(watch.moves.count < 30, "\(watch.moves)")
  }

  @Test func `between two moves there is a pause, however much the second would gain`() throws {
    var watch = Watch()
    watch.run(1..<60) { _, stages in Self.times(stages, [1, 2]) }
    let first = try #require(watch.moves.first)
    watch.run(60..<400) { _, stages in Self.times(stages, [9, 1]) }
    let second = try #require(watch.moves.dropFirst().first)
    #expect(second - first >= 60)
    #expect(watch.kinds().contains(.resting))
    #expect(watch.stages[0].layers.count < 10)
  }

  @Test func `a move that brings nothing is not repeated at once, and then ever later`() throws {
    var watch = Watch()
    // A layer less saves a twentieth: something else takes the stage's time.
    watch.run(1..<4000) { _, stages in
      [Double(stages[0].layers.count), 20 + Double(stages[1].layers.count) / 2]
    }
    let moves = watch.moves
    let outcomes = watch.kinds().filter { $0 == .kept || $0 == .fellShort }
    #expect(moves.count >= 3 && moves.count < 9, "\(moves)")
    #expect(outcomes.first == .fellShort)
    #expect(moves[1] - moves[0] >= 120, "\(moves)")
    #expect(moves[2] - moves[1] >= 240, "\(moves)")
  }

  @Test func `a move that was given up counts as one that brought nothing`() throws {
    var watch = Watch()
    watch.run(1..<60, obeys: false) { _, stages in Self.times(stages, [1, 2]) }
    let first = try #require(watch.moves.first)
    let now = Self.began + .seconds(60)
    watch.advisor.failed("a worker was lost", at: now)
    watch.advisor.placed(watch.stages, on: watch.names, at: now)
    watch.run(60..<400, obeys: false) { _, stages in Self.times(stages, [1, 2]) }
    let second = try #require(watch.moves.first { $0 >= 60 })
    #expect(first < 60 && second >= 180, "\(second)")
  }
}
