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

  @Test func `a suppressed token is never drawn, but for a mask that allows it`() {
    var drawer = TokenDrawer(vocabularySize: size, slots: 1, suppressed: [4, 2])
    let greedy = StepRow(slot: 0, position: 0, token: 5, output: .sample(.greedy))
    #expect(tokens(&drawer, [greedy]) == [0])
    var biased = Sampling.greedy
    biased.biases = [TokenBias(token: 4, value: 100)]
    #expect(
      tokens(&drawer, [StepRow(slot: 0, position: 1, token: 5, output: .sample(biased))]) == [0]
    )
    var masked = greedy
    masked.mask = TokenMask(allowing: [1, 4])
    #expect(tokens(&drawer, [masked]) == [4])
    // Its likelihood is the model's own all the same.
    var telling = Sampling.greedy
    telling.returnsLogProbabilities = true
    telling.likeliest = 1
    let row = StepRow(slot: 0, position: 2, token: 5, output: .sample(telling))
    #expect(drawer.draw([row], logits: line).results[0].likeliest.map(\.token) == [4])
    #expect(
      drawer.draw(
        [StepRow(slot: 0, position: 3, token: 5, output: .score(target: 4))],
        logits: line
      ).results[0].token == 4
    )
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

  // MARK: Biases and masks

  /// Draws once with the logits `line`, after the tokens of a history.
  private func draw(
    _ sampling: Sampling = .greedy,
    mask: AllowedTokens? = nil
  ) -> RowResult? {
    var drawer = drawer()
    let mask = mask.map { TokenMask(allowed: $0) }
    let row = StepRow(slot: 0, position: 0, token: 5, output: .sample(sampling), mask: mask)
    return drawer.draw([row], logits: line).results.first
  }

  private func biased(_ biases: [Int32: Float]) -> Sampling {
    var sampling = Sampling.greedy
    sampling.biases = biases.map { TokenBias(token: $0, value: $1) }
    return sampling
  }

  @Test func `a bias is added to its token's logit`() {
    #expect(draw(biased([2: 0.99]))?.token == 4)
    #expect(draw(biased([2: 1.01]))?.token == 2)
    #expect(draw(biased([4: -1.5, 0: 0.9]))?.token == 2)
    #expect(draw(biased([4: -3e38, 2: -3e38, 1: 3e38]))?.token == 1)
    // Before the penalty, which then turns what has become positive down.
    var penalised = biased([5: 10])
    penalised.repeatPenalty = 4
    #expect(draw(penalised)?.token == 4)
    penalised.repeatPenalty = 2
    #expect(draw(penalised)?.token == 5)
  }

  @Test func `only what the mask allows is drawn, as a list or as bits`() {
    for mask in [AllowedTokens.tokens([0, 3, 1]), .bits([0b001011])] {
      #expect(draw(mask: mask)?.token == 0)
      #expect(draw(biased([1: 10]), mask: mask)?.token == 1)
    }
    #expect(draw(mask: .tokens([5]))?.token == 5)
    #expect(draw(mask: .bits([1 << 5]))?.token == 5)
  }

  @Test func `allowed tokens come as often as their share of what is allowed`() throws {
    let allowed: [Int32] = [0, 2, 3]
    let weights = allowed.map { exp(Double(line[Int($0)])) }
    for topK in [0, 2, 5, 6] {
      var counts: [Int32: Int] = [:]
      let count = 4000
      for seed in 0..<count {
        var sampling = Sampling.greedy
        sampling.temperature = 1
        sampling.topK = topK
        sampling.seed = UInt64(seed)
        counts[try #require(draw(sampling, mask: .tokens(allowed))).token, default: 0] += 1
      }
      // Of two, the third is cut off.
      let kept = topK == 2 ? [0, 1] : [0, 1, 2]
      let sum = kept.reduce(0) { $0 + weights[$1] }
      #expect(Set(counts.keys) == Set(kept.map { allowed[$0] }))
      for index in kept {
        let share = Double(counts[allowed[index]] ?? 0) / Double(count)
        // Four standard deviations of a share of at most a half, over 4000 draws.
        #expect(abs(share - weights[index] / sum) < 4 * 0.5 / Double(count).squareRoot())
      }
    }
  }

  @Test func `log probabilities know nothing of biases and masks`() throws {
    let sum = log(line.reduce(0.0) { $0 + exp(Double($1)) })
    var sampling = biased([4: -50, 1: 3])
    sampling.returnsLogProbabilities = true
    sampling.likeliest = 2
    let result = try #require(draw(sampling, mask: .tokens([1, 5])))
    #expect(result.token == 1 && abs(result.logProbability - (-2 - sum)) < 1e-12)
    #expect(result.likeliest.map(\.token) == [4, 2])
    #expect(abs(result.likeliest[0].logProbability - (3 - sum)) < 1e-12)
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
