// What rows ask for, drawn from small logits whose answers can be worked out by hand.

import Foundation
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `A token drawer` {
  private let size = 6
  /// Whatever was drawn before, a penalty shows by which token comes next: 4 leads, then 2, then 0.
  private let line: [Float] = [1, -2, 2, 0.5, 3, -1]

  private func drawer() -> TokenDrawer { TokenDrawer(vocabularySize: size, slots: 3) }

  /// Greedy, with a penalty that takes every token seen in the window out of the running.
  private func penalised(window: Int = 64) -> RowOutput {
    var sampling = Sampling.greedy
    sampling.repeatPenalty = 1e6
    sampling.repeatWindow = window
    return .sample(sampling)
  }

  private func tokens(_ drawer: inout TokenDrawer, _ rows: [StepRow]) -> [Int32] {
    let wanted = rows.count { $0.output != .none }
    let logits = Array(repeatElement(line, count: wanted).joined())
    return drawer.draw(rows, logits: logits).results.map(\.token)
  }

  // MARK: What rows ask for

  @Test func `each row gets what it asked for, in order`() {
    var drawer = drawer()
    let rows = [
      StepRow(slot: 0, position: 0, token: 5, output: .none),
      StepRow(slot: 1, position: 0, token: 5, output: .sample(.greedy)),
      StepRow(slot: 2, position: 0, token: 5, output: .logits),
      StepRow(slot: 2, position: 1, token: 5, output: .score(target: 3)),
      StepRow(slot: 0, position: 1, token: 5, output: .logits),
    ]
    let lines = (0..<4).map { row in line.map { $0 + Float(row) } }
    let (results, logits) = drawer.draw(rows, logits: Array(lines.joined()))
    #expect(results.map(\.slot) == [1, 2, 2, 0])
    #expect(results.map(\.position) == [0, 0, 1, 1])
    #expect(results.map(\.token) == [4, 0, 3, 0])
    #expect(logits == lines[1] + lines[3])
    let sum = line.reduce(0.0) { $0 + exp(Double($1)) }
    #expect(abs(results[2].logProbability - (0.5 - log(sum))) < 1e-12)
    #expect([0, 1, 3].allSatisfy { results[$0].logProbability == 0 })
  }

  @Test func `rows that only leave keys and values have no result`() {
    var drawer = drawer()
    let (results, logits) = drawer.draw(chunk(slot: 0, [1, 2, 3]), logits: [])
    #expect(results.isEmpty && logits.isEmpty)
  }

  // MARK: Log probabilities

  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a", "demo-model"])
  func `log probabilities are those of the model, whatever the sampling makes of them`(
    _ name: String
  ) throws {
    let golden = try Goldens.load(name)
    let item = try #require(golden.cases.first)
    let (rowCount, size) = (item.shape[0], item.shape[1])
    let logits = try golden.logits(item)
    var drawer = TokenDrawer(vocabularySize: size, slots: 1)
    let sampling = Sampling(
      temperature: 0.3,
      topK: 7,
      topP: 0.9,
      minP: 0,
      repeatPenalty: 2,
      repeatWindow: 64,
      seed: 3,
      returnsLogProbabilities: true,
      likeliest: 5
    )
    let rows = (0..<rowCount).map {
      StepRow(slot: 0, position: $0, token: Int32(item.ids[$0]), output: .sample(sampling))
    }
    let results = drawer.draw(rows, logits: logits).results
    try #require(results.count == rowCount)
    for (row, result) in results.enumerated() {
      let line = logits[(row * size)..<((row + 1) * size)].map { Double($0) }
      let sum = log(line.reduce(0.0) { $0 + exp($1 - 20) }) + 20
      let ordered = line.indices.sorted { (line[$0], $1) > (line[$1], $0) }
      #expect(abs(result.logProbability - (line[Int(result.token)] - sum)) < 1e-9)
      #expect(result.likeliest.map { Int($0.token) } == Array(ordered.prefix(5)))
      for score in result.likeliest {
        #expect(abs(score.logProbability - (line[Int(score.token)] - sum)) < 1e-9)
      }
    }
  }

  @Test func `nothing of it is told that was not asked for, and no more than there is`() {
    var drawer = drawer()
    var sampling = Sampling.greedy
    let rows = { chunk(slot: 0, [5], output: .sample($0)) }
    let plain = drawer.draw(rows(sampling), logits: line).results
    #expect(plain.map(\.logProbability) == [0] && plain.allSatisfy(\.likeliest.isEmpty))
    sampling.returnsLogProbabilities = true
    let drawn = drawer.draw(rows(sampling), logits: line).results
    #expect(drawn[0].logProbability < 0 && drawn[0].likeliest.isEmpty)
    sampling.likeliest = 20
    let all = drawer.draw(rows(sampling), logits: line).results
    #expect(all[0].likeliest.map(\.token) == [4, 2, 0, 3, 5, 1])
    #expect(all[0].token == drawn[0].token && all[0].logProbability == drawn[0].logProbability)
  }

  // MARK: Histories

  @Test func `the penalty sees the slot's own tokens, as far back as its window`() {
    var drawer = drawer()
    #expect(tokens(&drawer, chunk(slot: 0, [4, 2, 5])) == [])
    let next = { [StepRow(slot: $0, position: 3, token: 5, output: $1)] }
    #expect(tokens(&drawer, next(0, penalised())) == [0])
    #expect(tokens(&drawer, next(0, penalised(window: 3))) == [4])
    #expect(tokens(&drawer, next(1, penalised())) == [4])
  }

  @Test func `a row at a position that was there takes the place of what followed`() {
    var drawer = drawer()
    _ = tokens(&drawer, chunk(slot: 0, [4, 2, 5]))
    // Replayed from its second position: the 2 is no longer there.
    let rows = [StepRow(slot: 0, position: 1, token: 5, output: penalised())]
    #expect(tokens(&drawer, rows) == [2])
  }

  @Test func `a slot is cleared, begins with a prefix, or goes on from elsewhere`() {
    let row = { (slot: Int, position: Int) in
      [StepRow(slot: slot, position: position, token: 5, output: penalised())]
    }
    var drawer = drawer()
    _ = tokens(&drawer, chunk(slot: 0, [4, 2, 0]))
    drawer.take(Fork(source: 0, target: 1, positionCount: 2))
    #expect(tokens(&drawer, row(1, 2)) == [0])
    #expect(tokens(&drawer, row(0, 3)) == [3])
    drawer.take(Fork(source: 0, target: 0, positionCount: 1))
    #expect(tokens(&drawer, row(0, 1)) == [2])
    drawer.resume(SlotState(slot: 2, positionCount: 1, tokens: [2]))
    #expect(tokens(&drawer, row(2, 1)) == [4])
    drawer.clear(slot: 1)
    #expect(tokens(&drawer, row(1, 0)) == [4])
  }
}
