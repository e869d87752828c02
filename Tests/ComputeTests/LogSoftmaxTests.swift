// How likely tokens are, against sums written out.

import Compute
import Foundation
import TestSupport
import Testing

@Suite struct `Log softmax` {
  @Test func `it is the logarithm of a token's share of the powers`() {
    let logits: [Float] = [1, -2, 0.5, 3]
    let sum = logits.reduce(0.0) { $0 + exp(Double($1)) }
    let softmax = LogSoftmax(logits)
    for (token, logit) in logits.enumerated() {
      let want = log(exp(Double(logit)) / sum)
      #expect(abs(softmax.logProbability(ofLogit: logit) - want) < 1e-12)
      #expect(
        Sampler.logProbability(of: Int32(token), logits: logits)
          == softmax.logProbability(ofLogit: logit)
      )
    }
  }

  @Test func `large logits neither overflow nor make anything likelier than certain`() {
    for logits: [Float] in [
      [3e38, -3e38, 1], [-1000, -1001], [0], Array(repeating: 80, count: 1000),
    ] {
      let softmax = LogSoftmax(logits)
      for logit in logits {
        let value = softmax.logProbability(ofLogit: logit)
        #expect(value.isFinite && value <= 0, "\(value)")
      }
    }
    #expect(LogSoftmax([0]).logProbability(ofLogit: 0) == 0)
  }

  @Test func `the likeliest tokens fall, the lower first among equals`() {
    let logits: [Float] = [1, 4, -1, 4, 2]
    #expect(Sampler.likeliest(0, logits) == [])
    #expect(Sampler.likeliest(1, logits) == [1])
    #expect(Sampler.likeliest(3, logits) == [1, 3, 4])
    #expect(Sampler.likeliest(9, logits) == [1, 3, 4, 0, 2])
  }
}
