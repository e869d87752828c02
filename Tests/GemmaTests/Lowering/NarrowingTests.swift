// Where rows end whose output nobody wants: in the last layer that owns keys and values, once it
// has theirs, wherever the layers are cut.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Rows nobody wants` {
  private static let models = Goldens.random

  private func rowsWritten(by op: Op, in program: Program) -> Set<RowSet> {
    Set(op.operands.writes.map { program[$0].rows })
  }

  @Test(arguments: models)
  func `end in the last layer that owns keys and values, as soon as it has theirs`(
    _ name: String
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let config = checkpoint.config
    let narrowing = config.firstSharedLayer - 1
    // Stages that begin before that layer and at it, and end at it and behind.
    for stage in [
      0..<config.layers.count, 0..<(narrowing + 1), narrowing..<(narrowing + 1),
      narrowing..<config.layers.count,
    ] {
      let program = try config.lower(stage, weights: checkpoint)
      let filled = try #require(
        program.ops.lastIndex { op in
          if case .appendKV(let op) = op { program[op.cache].layer == narrowing } else { false }
        }
      )
      for op in program.ops[(filled + 1)...] {
        #expect(rowsWritten(by: op, in: program) == [.wanted], "\(stage): \(program.describe(op))")
      }
      for op in program.ops[..<filled] {
        #expect(rowsWritten(by: op, in: program) != [.wanted], "\(stage): \(program.describe(op))")
      }
    }
  }

  @Test(arguments: models)
  func `pass the layers before that one whole`(_ name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let config = checkpoint.config
    let stage = 0..<(config.firstSharedLayer - 1)
    let program = try config.lower(stage, weights: checkpoint)
    #expect(program.ops.allSatisfy { !rowsWritten(by: $0, in: program).contains(.wanted) })
  }

  @Test(arguments: models)
  func `pass every layer whole where nothing is skipped`(_ name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    var config = checkpoint.config
    config.passesAllLayers = true
    let program = try config.lower(0..<config.layers.count, weights: checkpoint)
    let feedForwards = program.ops.filter { if case .feedForward = $0 { true } else { false } }
    #expect(feedForwards.count == config.layers.count)
    for op in feedForwards { #expect(rowsWritten(by: op, in: program) == [.all]) }
    #expect(program.outputs.map { program[$0].rows } == [.wanted])
  }
}
