// When layers should move: on a drift that lasts, not on noise, and not to and fro.

import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Rebalance advice` {
  private static let began = ContinuousClock.now

  private func advisor() -> RebalanceAdvisor {
    RebalanceAdvisor(
      cost: DecodeCost(layers: Array(repeating: 1, count: 20), head: 0),
      stages: [0..<10, 10..<20],
      names: ["cpu-0", "cpu-1"]
    )
  }

  /// Shows an advisor the same devices, second by second; returns the first proposal and its second.
  private func watch(
    _ advisor: inout RebalanceAdvisor,
    seconds: Range<Int>,
    _ times: (Int) -> [Double]
  ) -> (proposal: RebalanceAdvisor.Proposal, second: Int)? {
    for second in seconds {
      let now = Self.began + .seconds(second)
      if let proposal = advisor.observe(times(second), at: now) { return (proposal, second) }
    }
    return nil
  }

  @Test func `a stage that stays slow gives layers away, with the reason`() throws {
    var advisor = advisor()
    #expect(watch(&advisor, seconds: 0..<60) { _ in [1000, 1000] } == nil)
    let found = watch(&advisor, seconds: 60..<200) { _ in [1000, 2000] }
    let (proposal, second) = try #require(found)
    // Twenty seconds it must last, and a while until it shows.
    #expect((80..<100).contains(second), "\(second)")
    #expect(proposal.split[0] > 10 && proposal.split.reduce(0, +) == 20)
    #expect(proposal.gain > 0.1)
    #expect(proposal.reason.contains("cpu-1"), "\(proposal.reason)")
    #expect(proposal.reason.contains("% faster"), "\(proposal.reason)")
  }

  @Test func `after the drift has settled, the split is the best for the speeds seen`() throws {
    var advisor = advisor()
    let found = watch(&advisor, seconds: 0..<100) { _ in [1000, 2000] }
    // Speeds of 1 to 1/2: 14 layers in 1400, 6 in 1200; 13 and 7 are no slower, but less even.
    #expect(try #require(found).proposal.split == [14, 6])
  }

  @Test(.seeded(default: 73)) func `noise moves nothing`() {
    var random = SeededRandom(testSeed(default: 73))
    for _ in 0..<20 {
      var advisor = advisor()
      let found = watch(&advisor, seconds: 0..<600) { _ in
        (0..<2).map { _ in Double.random(in: 700...1300, using: &random) }
      }
      #expect(found == nil, "\(String(describing: found))")
    }
  }

  @Test func `a passing load moves nothing, nor do steps that did not end`() {
    var advisor = advisor()
    let found = watch(&advisor, seconds: 0..<600) { second in
      second % 60 < 3 ? [1000, 2000] : [1000, 1000]
    }
    #expect(found == nil)
    #expect(watch(&advisor, seconds: 600..<700) { _ in [0, .nan] } == nil)
  }

  @Test func `a load that comes and goes makes moves ever rarer`() {
    var advisor = advisor()
    var stages = [0..<10, 10..<20]
    var moves: [Int] = []
    for second in 0..<20_000 {
      // Each five minutes the other device is slow.
      let slow = (second / 300) % 2
      let times = stages.enumerated().map { stage, layers in
        Double(layers.count) * (stage == slow ? 300 : 100)
      }
      let now = Self.began + .seconds(second)
      guard let proposal = advisor.observe(times, at: now) else { continue }
      moves.append(second)
      stages = [0..<proposal.split[0], proposal.split[0]..<20]
      advisor.moved(to: stages, at: now)
    }
    #expect(moves.count >= 2)
    let gaps = zip(moves, moves.dropFirst()).map { $1 - $0 }
    #expect(gaps.allSatisfy { $0 >= 60 })
    // 66 changes of the load; undoing the last move is put off for longer each time.
    #expect(moves.count < 30, "\(moves)")
  }

  @Test func `between two moves there is a pause, however much the second would gain`() throws {
    var advisor = advisor()
    let first = try #require(watch(&advisor, seconds: 0..<100) { _ in [1000, 2000] })
    advisor.moved(to: [0..<13, 13..<20], at: Self.began + .seconds(first.second))
    let second = try #require(
      watch(&advisor, seconds: first.second + 1..<400) { _ in [9000, 1000] }
    )
    #expect(second.second - first.second >= 60)
    #expect(second.proposal.split[0] < 13)
  }
}
