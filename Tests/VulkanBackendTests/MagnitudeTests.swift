// Whole models whose activations are as large as those of real ones, which the goldens' are not. An f16 in
// between would overflow.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing
import VulkanBackend

@Suite(.needsVulkan) struct `Large activations on Vulkan` {
  /// The weights of a checkpoint with larger norms behind attention and feed-forward, so that what layers
  /// add to the residual is larger.
  private struct LargeWeights: WeightSource {
    let checkpoint: Checkpoint

    func bytes(of weight: WeightRef) throws -> WeightBytes {
      let names = ["post_attention_layernorm", "post_feedforward_layernorm"]
      guard names.contains(where: weight.name.hasSuffix) else {
        return try checkpoint.bytes(of: weight)
      }
      return try ChangedWeights(checkpoint, weight.name) { bits in
        bits = bits.map { $0.scaled(byPowerOfTwo: 20) }
      }.bytes(of: weight)
    }
  }

  private static let tokens: [Int32] = [2, 7, 11, 5, 30, 8, 21, 3]

  private func outputs(
    _ program: Program,
    _ checkpoint: Checkpoint,
    on backend: any Backend
  ) throws -> [Float] {
    let runner = try backend.prepare(
      program,
      weights: LargeWeights(checkpoint: checkpoint),
      limits: ExecutableLimits(maxRows: 8, slots: 1, contextTokens: 16)
    ) { _ in }
    let rows = Self.tokens.enumerated().map { position, token in
      Row(slot: 0, position: position, token: token, isWanted: true)
    }
    return try runner.run(Batch(rows: rows), inputs: [])[0]
  }

  // Not Gemma 3n: its activations stay below, and with such norms it is chaotic, in f32 on the CPU as well.
  @Test(arguments: ["gemma3-random-b", "gemma4-random-b"])
  func `logits are the reference's although hidden states exceed f16`(_ name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let layers = checkpoint.config.layers.count
    let half = try checkpoint.config.lower(0..<(layers / 2), weights: checkpoint)
    let hidden = try outputs(half, checkpoint, on: ReferenceBackend())
    #expect(hidden.contains { abs($0) > 10 * 65504 }, "\(hidden.map(abs).max() ?? 0)")
    let whole = try checkpoint.config.lower(0..<layers, weights: checkpoint)
    let want = try outputs(whole, checkpoint, on: ReferenceBackend())
    let got = try outputs(whole, checkpoint, on: Vulkan(index: TestDevice.index))
    let largest = want.map(abs).max() ?? 0
    let difference = zip(got, want).map { abs($0 - $1) }.max() ?? .infinity
    #expect(largest > 1 && difference < 1e-3 * largest, "\(difference) of \(largest)")
  }
}
