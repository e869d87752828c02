// The ops of a model's pieces, against those of whole stages.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Ops of a model` {
  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a"])
  func `pieces have every kind of op and type of weight that a stage of them has`(
    _ name: String
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let config = checkpoint.config
    let ops = try config.ops(weights: checkpoint)
    #expect(ops.layers.count == config.layers.count)
    #expect(ops.logits.map(\.kind) == [.logits])
    let whole = try config.lower(0..<config.layers.count, weights: checkpoint).ops
    let pieces = ops.layers.flatMap(\.self) + ops.logits
    let kinds = { (ops: [Op]) in Set(ops.map(\.kind)) }
    #expect(kinds(pieces) == kinds(whole))
    let types = { (ops: [Op]) in Set(ops.flatMap(\.weights).map(\.type)) }
    #expect(types(pieces) == types(whole))
    #expect(ops.layers[0].contains { $0.kind == .embed })
    #expect(ops.layers[1].allSatisfy { $0.kind != .logits && $0.kind != .mergeStreams })
    #expect(ops.layers[config.layers.count - 1].contains { $0.kind == .mergeStreams })
  }
}
