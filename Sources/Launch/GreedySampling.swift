// The sampling of measurements, whose tokens must not depend on chance.

package import Wire

extension Sampling {
  /// Always the likeliest token.
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
