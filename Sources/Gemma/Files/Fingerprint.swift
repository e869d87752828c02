// A short number that tells two models apart, for processes that must hold the same one.

import Compute

/// FNV-1a, 64 bits (draft-eastlake-fnv-35, section 2): not against forgery, only against mixing up.
package struct Fingerprint: Sendable {
  package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  // Bytes read at the start, the middle and the end of each tensor. Finetunes and other
  // quantisations differ in nearly every byte; 700 tensors take 130 kB.
  private static let sampleByteCount = 64

  /// Returns the fingerprint of a model: config, tensor directory and samples of every tensor.
  ///
  /// Where the files lie, and in which order, does not matter.
  static func of(_ config: ModelConfig, _ weights: [Checkpoint.Weight]) throws(GemmaError) -> UInt64
  {
    var fingerprint = Fingerprint()
    fingerprint.combine(config)
    for weight in weights {
      let tensor = weight.tensor
      fingerprint.combine(weight.name.canonical)
      fingerprint.combine(weight.type.rawValue)
      fingerprint.combine(tensor.byteCount)
      let sample = min(sampleByteCount, tensor.byteCount)
      for start in [0, (tensor.byteCount - sample) / 2, tensor.byteCount - sample] {
        fingerprint.combine(try tensor.file.read(offset: tensor.offset + start, count: sample))
      }
    }
    return fingerprint.value
  }

  package init() {}

  package mutating func combine(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
  }

  mutating func combine(_ text: String) {
    combine(text.utf8.count)
    combine(text.utf8)
  }

  mutating func combine(_ number: Int) {
    combine((0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
  }

  mutating func combine(_ number: Float?) {
    combine(number.map { Int($0.bitPattern) } ?? -1)
  }

  // EOS tokens are left out: they end a turn, they do not change what a stage computes.
  private mutating func combine(_ config: ModelConfig) {
    combine(config.architecture.rawValue)
    for size in [
      config.vocabularySize, config.hiddenSize, config.headCount, config.kvHeadCount,
      config.headDim, config.contextTokens, config.normsValues ? 1 : 0, config.layers.count,
    ] { combine(size) }
    for number in [
      config.normEpsilon, config.normGainOffset, config.attentionScale, config.finalSoftcap,
    ] { combine(number) }
    for layer in config.layers {
      combine(layer.attention.window ?? 0)
      combine(layer.rope.theta)
      combine(layer.rope.positionScale)
      combine(layer.kvSource)
      combine(layer.feedForwardSize)
      combine(layer.sparsityDeviations)
    }
    guard let gemma3n = config.gemma3n else { return }
    for size in [
      gemma3n.streamCount, gemma3n.activeStream, gemma3n.scalesActiveStream ? 1 : 0,
      gemma3n.laurelRank, gemma3n.perLayerInputSize, gemma3n.perLayerVocabularySize,
    ] { combine(size) }
  }
}
