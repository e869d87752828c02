// How often each token is drawn, over many positions: the counts against the probabilities that the
// definition gives.

import Compute
import Foundation
import Testing

@Suite struct `Token distribution` {
  private static let draws = 8000

  /// Counts the tokens drawn at consecutive positions.
  private func counts(
    _ logits: [Float],
    history: [Int32] = [],
    _ parameters: SamplingParameters
  ) -> [Int] {
    var counts = Array(repeating: 0, count: logits.count)
    for position in 0..<Self.draws {
      let token = Sampler.sample(
        logits: logits,
        history: history,
        position: position,
        parameters
      )
      counts[Int(token)] += 1
    }
    return counts
  }

  /// Expects the draws to be spread as the weights say; those of weight 0 must never come.
  ///
  /// Pearson's statistic of k - 1 ≤ 7 degrees of freedom stays below 24.3 in 999 of 1000 runs; the
  /// seeds are fixed, so a test that passes always passes.
  private func expect(
    _ logits: [Float],
    history: [Int32] = [],
    _ parameters: SamplingParameters,
    drawnAs weights: [Double],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let got = counts(logits, history: history, parameters)
    let total = weights.reduce(0, +)
    var statistic = 0.0
    for (count, weight) in zip(got, weights) {
      let expected = weight / total * Double(Self.draws)
      if expected == 0 {
        #expect(count == 0, "\(got)", sourceLocation: sourceLocation)
      } else {
        statistic += (Double(count) - expected) * (Double(count) - expected) / expected
      }
    }
    #expect(statistic < 24.3, "\(got) for \(weights)", sourceLocation: sourceLocation)
  }

  private let logits: [Float] = [0.5, 2, -1, 1.5, 0, 1]
  /// Probabilities of a half, a quarter, …, in no order of size.
  private let halves: [Double] = [0.125, 0.5, 0.0625, 0.25, 0.0625]
  private var halfLogits: [Float] { halves.map { Float(log($0)) } }

  @Test(arguments: [Float(0.4), 1, 1.8, 10])
  func `temperature divides the logits`(_ temperature: Float) {
    let parameters = SamplingParameters(temperature: temperature, seed: 41)
    let weights = logits.map { exp(Double($0) / Double(temperature)) }
    expect(logits, parameters, drawnAs: weights)
  }

  @Test(arguments: [2, 3, 5])
  func `top-k keeps the k most probable tokens`(_ count: Int) {
    let order = logits.indices.sorted { logits[$0] > logits[$1] }
    var weights = Array(repeating: 0.0, count: logits.count)
    for index in order.prefix(count) { weights[index] = exp(Double(logits[index])) }
    expect(logits, SamplingParameters(topK: count, seed: 42), drawnAs: weights)
  }

  @Test func `top-k of the whole vocabulary or more, or of none, keeps all`() {
    for count in [0, 6, 7, 1000] {
      let weights = logits.map { exp(Double($0)) }
      expect(logits, SamplingParameters(topK: count, seed: 43), drawnAs: weights)
    }
  }

  @Test func `top-k among equal logits keeps the lower tokens`() {
    let weights: [Double] = [1, 1, 0, exp(1), 0]
    expect([1, 1, 1, 2, 1], SamplingParameters(topK: 3, seed: 44), drawnAs: weights)
  }

  @Test func `top-p keeps the fewest tokens that reach it`() {
    let kept: [(topP: Float, weights: [Double])] = [
      (0.3, [0, 1, 0, 0, 0]),
      (0.6, [0, 0.5, 0, 0.25, 0]),
      (0.8, [0.125, 0.5, 0, 0.25, 0]),
      // Of two equal tokens at the end, the lower one.
      (0.9, [0.125, 0.5, 0.0625, 0.25, 0]),
      (1, halves),
    ]
    for (topP, weights) in kept {
      expect(halfLogits, SamplingParameters(topP: topP, seed: 45), drawnAs: weights)
    }
  }

  @Test func `min-p drops what is less probable than its share of the best`() {
    let kept: [(minP: Float, weights: [Double])] = [
      (0.1, halves),
      (0.2, [0.125, 0.5, 0, 0.25, 0]),
      (0.4, [0, 0.5, 0, 0.25, 0]),
      (0.9, [0, 1, 0, 0, 0]),
      (1, [0, 1, 0, 0, 0]),
    ]
    for (minP, weights) in kept {
      expect(halfLogits, SamplingParameters(minP: minP, seed: 46), drawnAs: weights)
    }
  }

  @Test func `top-p 0 and min-p above 1 still keep the best token`() {
    expect(halfLogits, SamplingParameters(topP: 0, seed: 47), drawnAs: [0, 1, 0, 0, 0])
    expect(halfLogits, SamplingParameters(minP: 5, seed: 47), drawnAs: [0, 1, 0, 0, 0])
  }

  @Test func `tokens are chosen before the temperature flattens them`() {
    let parameters = SamplingParameters(temperature: 4, topP: 0.6, seed: 48)
    let weights: [Double] = [0, pow(0.5, 0.25), 0, pow(0.25, 0.25), 0]
    expect(halfLogits, parameters, drawnAs: weights)
    let minimal = SamplingParameters(temperature: 4, minP: 0.4, seed: 49)
    expect(halfLogits, minimal, drawnAs: weights)
  }

  @Test func `top-p counts only what top-k has left`() {
    // Of 0.5, 0.25 and 0.125 the first two hold 6/7 = 0.857; of all tokens they hold 0.75.
    let parameters = SamplingParameters(topK: 3, topP: 0.84, seed: 50)
    expect(halfLogits, parameters, drawnAs: [0, 0.5, 0, 0.25, 0])
  }

  @Test func `the repeat penalty comes first`() {
    // Halved, token 1 falls to 1 and so behind token 3; top-k 1 of them is token 3.
    let history: [Int32] = [1, 2]
    let penalised: [Double] = [0.5, 1, -2, 1.5, 0, 1]
    let parameters = SamplingParameters(repeatPenalty: 2, seed: 51)
    expect(logits, history: history, parameters, drawnAs: penalised.map { exp($0) })
    let few = SamplingParameters(topK: 2, repeatPenalty: 2, seed: 52)
    // Tokens 1 and 5 tie at 1: the lower one stays.
    expect(logits, history: history, few, drawnAs: [0, exp(1), 0, exp(1.5), 0, 0])
  }

  @Test func `consecutive seeds at one position are as good as consecutive positions`() {
    var counts = Array(repeating: 0, count: 8)
    for seed in UInt64(0)..<8000 {
      let bucket = Int(Sampler.uniform(seed: seed, position: 17) * 8)
      counts[bucket] += 1
    }
    let statistic = counts.reduce(0.0) {
      $0 + (Double($1) - 1000) * (Double($1) - 1000) / 1000
    }
    #expect(statistic < 24.3, "\(counts)")
  }
}
