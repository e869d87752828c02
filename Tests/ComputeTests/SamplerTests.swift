// From logits to tokens: what is certain here, what is random in SamplerDistributionTests.swift.

import Compute
import Foundation
import TestSupport
import Testing

@Suite struct `Token sampling` {
  private func sample(
    _ logits: [Float],
    history: [Int32] = [],
    position: Int = 0,
    _ parameters: SamplingParameters
  ) -> Int32 {
    Sampler.sample(logits: logits, history: history, position: position, parameters)
  }

  private func isNear(_ left: Double, _ right: Double, within tolerance: Double = 1e-12) -> Bool {
    abs(left - right) <= tolerance
  }

  // MARK: Greedy

  @Test func `the highest logit wins, the lowest token among equals`() {
    #expect(Sampler.argmax([0.5, 2, -1, 2, 1]) == 1)
    #expect(Sampler.argmax([-3, -3, -3]) == 0)
    #expect(Sampler.argmax([-.infinity, -.greatestFiniteMagnitude]) == 1)
    #expect(Sampler.argmax([1, .infinity, .infinity]) == 1)
  }

  @Test func `what is no number never wins`() {
    #expect(Sampler.argmax([.nan, -5, .nan, -4, .nan]) == 3)
    #expect(Sampler.argmax([.nan, -.infinity]) == 1)
    #expect((0..<2).contains(Sampler.argmax([.nan, .nan])))
  }

  @Test func `temperature 0 and top-k 1 are greedy, whatever the seed`() {
    let logits: [Float] = [1, 1.01, 1.02, 1.02]
    for seed in UInt64(0)..<50 {
      #expect(sample(logits, SamplingParameters(temperature: 0, seed: seed)) == 2)
      #expect(sample(logits, SamplingParameters(topK: 1, seed: seed)) == 2)
      #expect(sample(logits, SamplingParameters(temperature: -1, seed: seed)) == 2)
    }
  }

  @Test func `broken logits still give a token of the vocabulary`() {
    let rows: [[Float]] = [
      [.nan, .nan, .nan], [.nan, 1, .nan], [.infinity, 1, .infinity],
      [-.infinity, -.infinity, -.infinity], [.infinity, .nan, -.infinity],
    ]
    let parameters = [
      SamplingParameters(), SamplingParameters(topK: 2), SamplingParameters(topP: 0.5),
      SamplingParameters(minP: 0.5), SamplingParameters(topK: 2, repeatPenalty: 1.5),
    ]
    for row in rows {
      for parameters in parameters {
        for position in 0..<20 {
          let token = sample(row, history: [0, 1, 2], position: position, parameters)
          #expect((0..<3).contains(token))
          // A number beats no number, and infinity all else.
          let best = Int(Sampler.argmax(row))
          #expect(row[best].isNaN || !row[Int(token)].isNaN, "\(row) \(parameters)")
          #expect(row[best] != .infinity || row[Int(token)] == .infinity, "\(row) \(parameters)")
        }
      }
    }
  }

  // MARK: Repeat penalty

  @Test func `the penalty divides positive logits and multiplies negative ones`() {
    let greedy = SamplingParameters(temperature: 0, repeatPenalty: 2)
    #expect(sample([3, 1.6, 0], history: [0], greedy) == 1)  // 3 / 2 < 1.6
    #expect(sample([3, 1.4, 0], history: [0], greedy) == 0)
    #expect(sample([-1, -1.9, -5], history: [0], greedy) == 1)  // -1 · 2 < -1.9
    #expect(sample([-1, -2.1, -5], history: [0], greedy) == 0)
  }

  @Test func `a token in the history twice is penalised once`() {
    let greedy = SamplingParameters(temperature: 0, repeatPenalty: 2)
    #expect(sample([3, 1, 0], history: [0, 0, 0], greedy) == 0)
  }

  @Test func `only the window is looked at`() {
    var greedy = SamplingParameters(temperature: 0, repeatPenalty: 2, repeatWindow: 3)
    #expect(sample([3, 2, 1.8], history: [1, 0, 2, 2], greedy) == 1)
    #expect(sample([3, 2, 1.8], history: [0, 2, 2, 2], greedy) == 0)
    greedy.repeatWindow = 0
    #expect(sample([3, 2, 1.8], history: [0, 0], greedy) == 0)
  }

  @Test func `a history token beyond the logits does not matter`() {
    let greedy = SamplingParameters(temperature: 0, repeatPenalty: 2)
    #expect(sample([1, 2], history: [99, 2], greedy) == 1)
  }

  // MARK: Frequency and presence

  @Test func `penalties of the answer count its tokens, not the prompt's`() {
    var greedy = SamplingParameters(temperature: 0)
    greedy.frequencyPenalty = 0.5
    // 3 - 2 * 0.5 < 2.1; without its two occurrences, 3 > 2.1.
    #expect(sample([3, 2.1, 0], history: [0, 0], greedy) == 1)
    greedy.answerPosition = 1
    #expect(sample([3, 2.1, 0], history: [0, 0], greedy) == 0)
    greedy.answerPosition = 2
    #expect(sample([3, 2.9, 0], history: [0, 0], greedy) == 0)
    greedy.answerPosition = 99
    #expect(sample([3, 2.9, 0], history: [0, 0], greedy) == 0)
  }

  @Test func `presence is taken off once, and may be negative`() {
    var greedy = SamplingParameters(temperature: 0)
    greedy.presencePenalty = 0.5
    #expect(sample([3, 2.4, 0], history: [0, 0, 0], greedy) == 0)
    #expect(sample([3, 2.6, 0], history: [0, 0, 0], greedy) == 1)
    greedy.presencePenalty = -0.5
    #expect(sample([3, 2.6, 0], history: [1], greedy) == 1)
  }

  // MARK: Determinism

  @Test(.seeded(default: 31)) func `the same seed and position draw the same token`() {
    var random = SeededRandom(testSeed(default: 31))
    let logits = random.floats(50)
    for position in 0..<100 {
      let parameters = SamplingParameters(topK: 20, topP: 0.9, minP: 0.01, seed: 5)
      let first = sample(logits, position: position, parameters)
      // Without a penalty, what came before does not matter.
      #expect(sample(logits, history: [3, 9, 27], position: position, parameters) == first)
    }
  }

  @Test func `another seed or another position draws other numbers`() {
    var seen: Set<Double> = []
    for seed in [UInt64(0), 1, 2, 0x9E37_79B9_7F4A_7C15, .max] {
      for position in 0..<200 {
        let value = Sampler.uniform(seed: seed, position: position)
        #expect((0..<1).contains(value))
        seen.insert(value)
      }
    }
    // The fourth seed is the third generator's step: its numbers are those of seed 0, one on.
    #expect(seen.count == 4 * 200 + 1)
  }

  @Test func `the numbers drawn are those of SplitMix64`() {
    // The generator's published first outputs for seed 1234567, shifted to 53 bits.
    let outputs: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
    ]
    for (position, output) in outputs.enumerated() {
      let want = Double(output >> 11) / 9_007_199_254_740_992
      #expect(Sampler.uniform(seed: 1_234_567, position: position) == want)
    }
  }

  // MARK: Log probability

  @Test func `log probability is the logarithm of the softmax`() {
    let logits: [Float] = [1, 2, 3, -1]
    let sum = logits.reduce(0.0) { $0 + exp(Double($1)) }
    for (token, logit) in logits.enumerated() {
      let want = log(exp(Double(logit)) / sum)
      #expect(isNear(Sampler.logProbability(of: Int32(token), logits: logits), want))
    }
  }

  @Test func `log probability of large logits neither overflows nor vanishes`() {
    #expect(isNear(Sampler.logProbability(of: 0, logits: [1e4, 1e4]), log(0.5)))
    #expect(isNear(Sampler.logProbability(of: 1, logits: [3e38, 3e38]), log(0.5)))
    #expect(isNear(Sampler.logProbability(of: 1, logits: [0, -2000]), -2000))
  }
}
