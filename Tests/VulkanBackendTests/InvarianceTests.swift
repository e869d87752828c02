// What always holds, on whole models: a result does not depend on where the layers are cut, on what else is
// in the batch, or on how a session was cut into steps. Bit for bit.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing
import VulkanBackend

@Suite(.needsVulkan) struct `Invariance of whole models on Vulkan` {
  private let backend: Vulkan

  init() throws { backend = try Vulkan(index: TestDevice.index) }

  private func model(_ name: String) throws -> (checkpoint: Checkpoint, tokens: [Int32]) {
    let cases = try Goldens.load(name).cases
    let longest = cases.map(\.ids).max { $0.count < $1.count } ?? []
    return (try Checkpoint.open(Goldens.checkpoint(name).path), longest.map(Int32.init))
  }

  private func pipeline(
    _ checkpoint: Checkpoint,
    _ split: [Int]? = nil,
    maxRows: Int = 128,
    sharing previous: InProcessPipeline? = nil
  ) throws -> InProcessPipeline {
    try InProcessPipeline(
      checkpoint,
      backend: backend,
      split: split ?? [checkpoint.config.layers.count],
      limits: ExecutableLimits(maxRows: maxRows, slots: 4, contextTokens: 160),
      passesAllLayers: false,
      sharing: previous
    )
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test(arguments: Goldens.random)
  func `a session gives the same logits in any chunks, and cut anywhere`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let layers = checkpoint.config.layers.count
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    for chunk in [1, 3, 7, 32] {
      let logits = try pipeline(checkpoint).logits(tokens: tokens, chunk: chunk)
      #expect(bits(logits) == whole, "chunks of \(chunk)")
    }
    for cut in Set([1, layers / 2, layers - 1]) {
      let logits = try pipeline(checkpoint, [cut, layers - cut]).logits(tokens: tokens, chunk: 37)
      #expect(bits(logits) == whole, "cut before layer \(cut)")
    }
  }

  @Test(.seeded(default: 23), arguments: ["gemma3n-random-a", "gemma4-random-a"])
  func `layers move between stages in the middle of a session`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let layers = checkpoint.config.layers.count
    let vocabulary = checkpoint.config.vocabularySize
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    var random = SeededRandom(testSeed(default: 23))
    var current: InProcessPipeline?
    var position = 0
    while position < tokens.count {
      let cut = Int.random(in: 1..<layers, using: &random)
      let next = try pipeline(checkpoint, [cut, layers - cut], maxRows: 8)
      if let current { _ = try next.takeOver(slot: 1, count: position, from: current) }
      let end = min(tokens.count, position + Int.random(in: 10...40, using: &random))
      let got = try next.logits(tokens: Array(tokens[..<end]), from: position, chunk: 8, slot: 1)
      #expect(
        bits(got) == Array(whole[(position * vocabulary)..<(end * vocabulary)]),
        "cut \(cut), positions \(position)..<\(end)"
      )
      (current, position) = (next, end)
    }
  }
}
