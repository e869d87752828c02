// The data plane: the step that runs through all stages. Its activations are the message's payloads.

/// How to draw a token; the same numbers and position draw the same token.
package struct Sampling: Sendable, Hashable {
  /// 0 is greedy.
  package var temperature: Float
  /// 0 keeps all.
  package var topK: Int
  package var topP: Float
  package var minP: Float
  /// 1 is off.
  package var repeatPenalty: Float
  package var repeatWindow: Int
  package var seed: UInt64

  package init(
    temperature: Float,
    topK: Int,
    topP: Float,
    minP: Float,
    repeatPenalty: Float,
    repeatWindow: Int,
    seed: UInt64
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repeatPenalty = repeatPenalty
    self.repeatWindow = repeatWindow
    self.seed = seed
  }
}

/// What the last stage returns for a row.
package enum RowOutput: Sendable, Hashable {
  /// Nothing: the row only leaves its keys and values.
  case none
  /// A token drawn.
  case sample(Sampling)
  /// The row's logits, in the payload of `StepDone`.
  case logits
  /// The log probability of this token coming next.
  case score(target: Int32)
}

/// One token of one session in a step.
package struct StepRow: Sendable, Hashable {
  /// Its place in the KV caches.
  package var slot: Int
  package var position: Int
  package var token: Int32
  /// What the last stage returns for the row.
  package var output: RowOutput

  package init(slot: Int, position: Int, token: Int32, output: RowOutput) {
    self.slot = slot
    self.position = position
    self.token = token
    self.output = output
  }
}

/// A slot that begins with positions that another one, or itself, holds already.
package struct Fork: Sendable, Hashable {
  package var source: Int
  /// A slot; the source itself to go back to a prefix.
  package var target: Int
  package var positionCount: Int

  package init(source: Int, target: Int, positionCount: Int) {
    self.source = source
    self.target = target
    self.positionCount = positionCount
  }
}

/// Worker → worker: keys and values of one slot in one layer, for an epoch that is being prepared.
///
/// Payloads: keys and values, each [positions, kvHeads * headDim].
/// Not answered; the receiver counts them for its Moved.
package struct KVRows: Sendable, Hashable {
  package var epoch: UInt32
  package var layer: Int
  package var slot: Int
  package var positions: Range<Int>
  /// Steps go on: what follows comes later, and this is not counted.
  package var isEarly: Bool
  /// Follows what was sent early; else it takes the place of all there was.
  package var continues: Bool

  package init(
    epoch: UInt32,
    layer: Int,
    slot: Int,
    positions: Range<Int>,
    isEarly: Bool = false,
    continues: Bool = false
  ) {
    self.epoch = epoch
    self.layer = layer
    self.slot = slot
    self.positions = positions
    self.isEarly = isEarly
    self.continues = continues
  }
}

/// Coordinator → first worker → each next worker: one pass of a micro-batch.
///
/// Payloads: the tensors that the stage's program takes, in its order; none for the first stage. Behind
/// them, where stages before have computed logits: those of the wanted rows, [wanted, vocabulary so far].
/// Answered, at the end of the pipeline, by StepDone; from where it broke, by StepFailed.
package struct Step: Sendable, Hashable {
  /// Of the placement; a step of another epoch is dropped.
  package var epoch: UInt32
  /// Counts up within an epoch.
  package var sequence: UInt64
  /// Slots to forget before running.
  package var cleared: [Int]
  /// Prefixes to take over before running, after `cleared`.
  package var forks: [Fork]
  package var rows: [StepRow]
  /// Each stage appends how long it computed.
  package var stageMicroseconds: [UInt64]
  /// And when it began, by the clock of its machine.
  package var stageBeganMicroseconds: [UInt64]

  package init(
    epoch: UInt32,
    sequence: UInt64,
    cleared: [Int],
    forks: [Fork] = [],
    rows: [StepRow],
    stageMicroseconds: [UInt64],
    stageBeganMicroseconds: [UInt64] = []
  ) {
    self.epoch = epoch
    self.sequence = sequence
    self.cleared = cleared
    self.forks = forks
    self.rows = rows
    self.stageMicroseconds = stageMicroseconds
    self.stageBeganMicroseconds = stageBeganMicroseconds
  }
}
