// Stages of the golden checkpoints on the reference backend, and steps for them.

import Compute
import Foundation
import Gemma
import TestSupport
import Wire
import Worker

/// A checkpoint to make stages of.
struct StageMaker {
  let checkpoint: Checkpoint
  var epoch: UInt32 = 1
  var limits = ExecutableLimits(maxRows: 16, slots: 3, contextTokens: 64)

  init(_ name: String) throws {
    checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
  }

  var config: ModelConfig { checkpoint.config }
  var layerCount: Int { config.layers.count }
  var vocabularySize: Int { config.vocabularySize }

  func stage(_ layers: Range<Int>, sharing other: Stage? = nil) throws -> Stage {
    try stage(config.line.slice(layers: layers), sharing: other)
  }

  func stage(_ slice: ModelSlice, sharing other: Stage? = nil) throws -> Stage {
    let program = try config.lower(slice, weights: checkpoint)
    let runner = try ReferenceBackend().prepare(
      program,
      weights: checkpoint,
      limits: limits,
      sharing: other?.runner
    ) { _ in }
    return Stage(
      epoch: epoch,
      runner: runner,
      vocabularySize: vocabularySize
    )
  }

  /// The last layer alone: fast, and all of a last stage.
  func lastStage() throws -> Stage { try stage((layerCount - 1)..<layerCount) }

  func step(
    _ rows: [StepRow],
    sequence: UInt64 = 1,
    cleared: [Int] = [],
    epoch: UInt32? = nil
  ) -> Step {
    Step(
      epoch: epoch ?? self.epoch,
      sequence: sequence,
      cleared: cleared,
      rows: rows,
      stageMicroseconds: []
    )
  }

  /// What a stage before would hand on: each row's streams follow from its token alone.
  func handOff(_ rows: [StepRow]) -> [[Float]] {
    let width = config.hiddenSize
    let planes = config.streamCount
    let streams = (0..<planes).flatMap { plane in
      rows.flatMap { row in
        var random = SeededRandom(UInt64(plane) << 32 | UInt64(UInt32(bitPattern: row.token)))
        return random.floats(width)
      }
    }
    return [streams]
  }
}

extension Stage {
  /// Runs a step of a last stage and returns what goes to the coordinator; nil for a hand-off.
  func finish(_ step: Step, _ payloads: [[Float]]) throws -> (StepDone, [[Float]])? {
    guard case .done(let done, let logits) = try run(step, payloads: payloads) else { return nil }
    return (done, logits)
  }

  /// Runs a step of a stage before the last and returns what is handed on; nil for a result.
  func handOn(_ step: Step, _ payloads: [[Float]]) throws -> (Step, [[Float]])? {
    guard case .handOff(let next, let activations) = try run(step, payloads: payloads) else {
      return nil
    }
    return (next, activations)
  }
}

/// Returns the rows of a chunk; each asks for the same output.
func chunk(
  slot: Int,
  _ tokens: [Int32],
  from position: Int = 0,
  output: RowOutput = .none
) -> [StepRow] {
  tokens.enumerated().map { offset, token in
    StepRow(slot: slot, position: position + offset, token: token, output: output)
  }
}

extension Sampling {
  static let greedy = Sampling(
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repeatPenalty: 1,
    repeatWindow: 64,
    seed: 0
  )
}
