// Samples a token from logits. The random number is a function of (seed, position) alone, so a
// sequence that is recomputed, moved to another worker or run beside others gets the same tokens.

internal import Glibc

/// How tokens are sampled.
///
/// The defaults exclude no token, at temperature 1.
package struct SamplingParameters: Sendable, Hashable {
  /// 0 is greedy.
  package var temperature: Float
  /// Keeps the `topK` most probable tokens; 0 keeps all.
  package var topK: Int
  /// Keeps the smallest set of tokens whose probabilities reach `topP`.
  package var topP: Float
  /// Drops tokens less probable than `minP` times the most probable one.
  package var minP: Float
  /// Divides positive logits of recent tokens, multiplies negative ones; 1 is off.
  package var repeatPenalty: Float
  /// How many recent tokens the penalty applies to.
  package var repeatWindow: Int
  /// Taken off a token's logit for each time that it stands in the answer, which begins at
  /// `answerPosition` of the session.
  package var frequencyPenalty: Float
  /// Taken off a token's logit once if it stands in the answer.
  package var presencePenalty: Float
  package var answerPosition: Int
  package var seed: UInt64

  package init(
    temperature: Float = 1,
    topK: Int = 0,
    topP: Float = 1,
    minP: Float = 0,
    repeatPenalty: Float = 1,
    repeatWindow: Int = 64,
    frequencyPenalty: Float = 0,
    presencePenalty: Float = 0,
    answerPosition: Int = 0,
    seed: UInt64 = 0
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repeatPenalty = repeatPenalty
    self.repeatWindow = repeatWindow
    self.frequencyPenalty = frequencyPenalty
    self.presencePenalty = presencePenalty
    self.answerPosition = answerPosition
    self.seed = seed
  }
}

/// Samples tokens from logits.
package enum Sampler {
  /// Returns the next token.
  ///
  /// The order is llama.cpp's: penalties, top-k, top-p, min-p, temperature. Among equal logits
  /// the lower token comes first, so the result does not depend on how a sort breaks ties.
  ///
  /// - Parameters:
  ///   - logits: One row, `[vocabulary]`. A token whose logit is minus infinity is never drawn while
  ///     another's is not.
  ///   - history: The session's tokens so far, the prompt included.
  ///   - position: The position of the last token of `history`.
  ///   - parameters: How to sample.
  /// - Returns: A token of the vocabulary.
  package static func sample(
    logits: [Float],
    history: [Int32],
    position: Int,
    _ parameters: SamplingParameters
  ) -> Int32 {
    var logits = logits
    if parameters.repeatPenalty != 1, parameters.repeatWindow > 0 {
      for token in Set(history.suffix(parameters.repeatWindow)) where Int(token) < logits.count {
        let logit = logits[Int(token)]
        logits[Int(token)] =
          logit > 0 ? logit / parameters.repeatPenalty : logit * parameters.repeatPenalty
      }
    }
    if parameters.frequencyPenalty != 0 || parameters.presencePenalty != 0 {
      var counts: [Int32: Int] = [:]
      for token in history.dropFirst(parameters.answerPosition) { counts[token, default: 0] += 1 }
      for (token, count) in counts where Int(token) < logits.count {
        logits[Int(token)] -=
          parameters.frequencyPenalty * Float(count) + parameters.presencePenalty
      }
    }
    guard parameters.temperature > 0, parameters.topK != 1 else { return argmax(logits) }
    for index in logits.indices where logits[index].isNaN { logits[index] = -.infinity }
    var candidates = candidates(logits, topK: parameters.topK)
    keep(&candidates, topP: parameters.topP, minP: parameters.minP)
    let weights = probabilities(candidates, temperature: parameters.temperature)
    var remaining = uniform(seed: parameters.seed, position: position)
    for (candidate, weight) in zip(candidates, weights) {
      remaining -= weight
      if remaining < 0 { return candidate.token }
    }
    return candidates.last?.token ?? argmax(logits)
  }

  /// Returns the token with the highest logit, the lowest such token among equals; NaN never wins.
  package static func argmax(_ logits: [Float]) -> Int32 {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] || logits[best].isNaN {
      best = index
    }
    return Int32(best)
  }

  /// Returns the natural logarithm of `target`'s probability under softmax(logits), in f64.
  package static func logProbability(of target: Int32, logits: [Float]) -> Double {
    LogSoftmax(logits).logProbability(ofLogit: logits[Int(target)])
  }

  /// Returns the tokens with the highest logits, by falling logit, the lower token first among equals.
  ///
  /// - Parameters:
  ///   - count: How many; all if there are no more.
  ///   - logits: One row, `[vocabulary]`.
  /// - Returns: The tokens.
  package static func likeliest(_ count: Int, _ logits: [Float]) -> [Int32] {
    count > 0 ? candidates(logits, topK: count).map(\.token) : []
  }

  /// A number in [0, 1) that depends on seed and position only.
  ///
  /// SplitMix64's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
  /// 2014) over the seed advanced by `position` steps: a counter-based generator.
  package static func uniform(seed: UInt64, position: Int) -> Double {
    var state = seed &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(truncatingIfNeeded: position) &+ 1)
    state = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB
    state ^= state >> 31
    return Double(state >> 11) * 0x1p-53
  }
}

extension Sampler {
  struct Candidate {
    var token: Int32
    var logit: Float
  }

  /// Returns tokens by falling logit, at most `topK` of them (0: all), and none whose logit is minus
  /// infinity: a sum that falls short of one by its rounding must not end at such a token.
  private static func candidates(_ logits: [Float], topK: Int) -> [Candidate] {
    let before = { (left: Candidate, right: Candidate) in
      left.logit > right.logit || (left.logit == right.logit && left.token < right.token)
    }
    // Only logits at or above the k-th highest need to be ordered.
    let cutoff = topK > 0 && topK < logits.count ? kthHighest(logits, topK) : -.infinity
    var all: [Candidate] = []
    all.reserveCapacity(topK > 0 ? min(topK, logits.count) : logits.count)
    for (token, logit) in logits.enumerated() where logit >= cutoff && logit > -.infinity {
      all.append(Candidate(token: Int32(token), logit: logit))
    }
    all.sort(by: before)
    if topK > 0, topK < all.count { all.removeLast(all.count - topK) }
    return all
  }

  /// Returns the `count`-th highest value, with a heap of `count` values.
  private static func kthHighest(_ values: [Float], _ count: Int) -> Float {
    var heap = Array(values.prefix(count))  // a min-heap
    func sink(_ start: Int) {
      var parent = start
      while true {
        var least = parent
        for child in [2 * parent + 1, 2 * parent + 2]
        where child < heap.count && heap[child] < heap[least] { least = child }
        if least == parent { return }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    for index in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(index) }
    for value in values.dropFirst(count) where value > heap[0] {
      heap[0] = value
      sink(0)
    }
    return heap[0]
  }

  private static func probabilities(
    _ candidates: [Candidate],
    temperature: Float
  ) -> [Double] {
    let highest = Double(candidates.first?.logit ?? 0)
    let powers = candidates.map { candidate in
      let logit = Double(candidate.logit)
      // Compared first, because the difference of two infinities is NaN.
      return logit == highest ? 1 : Glibc.exp((logit - highest) / Double(temperature))
    }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }

  private static func keep(_ candidates: inout [Candidate], topP: Float, minP: Float) {
    guard topP < 1 || minP > 0, !candidates.isEmpty else { return }
    let weights = probabilities(candidates, temperature: 1)
    var kept = candidates.count
    if topP < 1 {
      var sum = 0.0
      kept = 0
      while kept < weights.count, kept == 0 || sum < Double(topP) {
        sum += weights[kept]
        kept += 1
      }
    }
    if minP > 0 {
      let least = weights[0] * Double(minP)
      kept = min(kept, max(1, weights.prefix { $0 >= least }.count))
    }
    candidates.removeLast(candidates.count - kept)
  }
}
