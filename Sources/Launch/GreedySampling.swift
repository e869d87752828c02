// The sampling used in measurements, whose tokens must not be random.

package import Wire

extension Sampling {
  /// Always takes the most likely token.
  package static let greedy = Sampling(
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repeatPenalty: 1,
    repeatWindow: 0,
    seed: 0
  )
}
