// Where results are first no finite numbers: the op, and what made them so.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing
import VulkanBackend

@Suite(.needsVulkan) struct `Numbers that are none, on Vulkan` {
  private let checkpoint: Checkpoint
  private let batch = Batch(
    rows: (0..<6).map { Row(slot: 1, position: $0, token: Int32(7 * $0 + 3), isWanted: $0 == 5) }
  )

  init() throws {
    checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
  }

  private func compile(
    _ weights: any WeightSource,
    _ cacheType: CacheType = .f32
  ) throws -> ProgramRunner {
    try Vulkan(index: TestDevice.index, cacheType: cacheType).prepare(
      checkpoint.config.lower(0..<checkpoint.config.layers.count, weights: checkpoint),
      weights: weights,
      limits: ExecutableLimits(maxRows: 8, slots: 2, contextTokens: 32)
    ) { _ in }
  }

  @Test(arguments: [
    ("layers.2.mlp.down_proj", Int?(2), "feedForward"),
    ("layers.0.self_attn.q_proj", 0, "projectQueries"),
    ("norm", nil, "mergeStreams"),
  ])
  func `one NaN in a weight is found, with the weight and its layer`(
    _ name: String,
    _ layer: Int?,
    _ op: String
  ) throws {
    let weights = ChangedWeights(checkpoint, name) { $0[$0.count / 2] = .nanOfBFloat16 }
    let runner = try compile(weights)
    #expect(try !runner.run(batch, inputs: []).allSatisfy(areFinite))
    let first = try #require(runner.firstNonFinite(batch, inputs: []))
    #expect(first.cause == .weight(name))
    #expect(runner.program.layer(of: runner.program.ops[first.op]) == layer)
    #expect(runner.program.ops[first.op].name == op)
  }

  @Test(arguments: [CacheType.f16, .q8_0])
  func `values beyond a cache's type are its overflow, and none of f32`(
    _ cacheType: CacheType
  ) throws {
    // Values of layer 4 that are 2^30 times larger.
    let large = ChangedWeights(checkpoint, "layers.4.self_attn.v_proj") {
      $0 = $0.map { $0.scaled(byPowerOfTwo: 30) }
    }
    let rounded = try compile(large, cacheType)
    #expect(try !rounded.run(batch, inputs: []).allSatisfy(areFinite))
    let first = try #require(rounded.firstNonFinite(batch, inputs: []))
    #expect(first.cause == .overflow(cacheType))
    #expect(rounded.program.layer(of: rounded.program.ops[first.op]) == 4)
    let single = try compile(large, .f32)
    #expect(try single.run(batch, inputs: []).allSatisfy(areFinite))
    #expect(single.firstNonFinite(batch, inputs: []) == nil)
  }

  @Test func `looking for them leaves slots as they were`() throws {
    let next = Batch(rows: [Row(slot: 1, position: 6, token: 5, isWanted: true)])
    let runners = try (0..<2).map { _ in try compile(checkpoint, .f16) }
    for runner in runners { _ = try runner.run(batch, inputs: []) }
    #expect(runners[0].firstNonFinite(batch, inputs: []) == nil)
    let logits = try runners.map { try $0.run(next, inputs: [])[0].map(\.bitPattern) }
    #expect(logits[0] == logits[1])
  }
}
