// A pipeline without processes: the stages of a split, run one after the other in the test's own
// thread. What leaves one is what enters the next, as on the wire.

package import Compute
package import Gemma

/// The stages of a model over one kind of backend.
package final class InProcessPipeline {
  package let config: ModelConfig
  package let stages: [ProgramRunner]

  /// Makes stages of so many layers each; the last has all logits.
  package convenience init(
    _ checkpoint: Checkpoint,
    backend: any Backend,
    split: [Int],
    limits: ExecutableLimits = ExecutableLimits(maxRows: 128, slots: 4, contextTokens: 256),
    passesAllLayers: Bool = false,
    sharing previous: InProcessPipeline? = nil
  ) throws {
    var first = 0
    let slices = split.map { count in
      defer { first += count }
      return checkpoint.config.line.slice(layers: first..<(first + count))
    }
    try self.init(
      checkpoint,
      backend: backend,
      slices: slices,
      limits: limits,
      passesAllLayers: passesAllLayers,
      sharing: previous
    )
  }

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - backend: What compiles every stage.
  ///   - slices: What each stage has.
  ///   - limits: What each stage has room for.
  ///   - passesAllLayers: Whether rows that nobody wants go through all layers too.
  ///   - previous: A pipeline whose stages are shared, each by the stage in its place.
  /// - Throws: What lowering or compiling throws.
  package init(
    _ checkpoint: Checkpoint,
    backend: any Backend,
    slices: [ModelSlice],
    limits: ExecutableLimits = ExecutableLimits(maxRows: 128, slots: 4, contextTokens: 256),
    passesAllLayers: Bool = false,
    sharing previous: InProcessPipeline? = nil
  ) throws {
    var config = checkpoint.config
    config.passesAllLayers = passesAllLayers
    self.config = config
    stages = try slices.enumerated().map { index, slice in
      let program = try config.lower(slice, weights: checkpoint)
      let old = previous.flatMap { index < $0.stages.count ? $0.stages[index] : nil }
      return try backend.prepare(program, weights: checkpoint, limits: limits, sharing: old) { _ in
      }
    }
  }

  /// Runs one step through all stages and returns what leaves each: the hand-off's tensors, and behind
  /// them its logits of the wanted rows.
  package func trace(_ batch: Batch) throws -> [[[Float]]] {
    var activations: [[Float]] = []
    return try stages.map { stage in
      // Logits go round the stages behind.
      let inputs = Array(activations.prefix(stage.program.inputs.count))
      activations = try stage.run(batch, inputs: inputs)
      return activations
    }
  }

  /// Runs one step and returns the logits of its wanted rows, put together from all stages.
  package func logits(_ batch: Batch) throws -> [Float] {
    let parts = zip(stages, try trace(batch)).compactMap { stage, outputs in
      let width = stage.program.vocabulary.count
      return width > 0 ? outputs.last.map { (width: width, values: $0) } : nil
    }
    return batch.wantedRows.indices.flatMap { row in
      parts.flatMap { $0.values[(row * $0.width)..<((row + 1) * $0.width)] }
    }
  }

  /// Returns the logits of all tokens from a position on, run in chunks.
  package func logits(
    tokens: [Int32],
    from first: Int = 0,
    chunk: Int = .max,
    slot: Int = 0
  ) throws -> [Float] {
    var logits: [Float] = []
    var position = first
    while position < tokens.count {
      let end = min(tokens.count, position + min(chunk, tokens.count))
      let rows = (position..<end).map {
        Row(slot: slot, position: $0, token: tokens[$0], isWanted: true)
      }
      logits += try self.logits(Batch(rows: rows))
      position = end
    }
    return logits
  }

  /// Returns the tokens that follow a prompt when the likeliest is always taken.
  package func greedy(prompt: [Int32], count: Int, slot: Int = 0) throws -> [Int32] {
    var tokens = prompt
    var computed = 0
    while tokens.count < prompt.count + count {
      let rows = (computed..<tokens.count).map {
        Row(slot: slot, position: $0, token: tokens[$0], isWanted: $0 == tokens.count - 1)
      }
      computed = tokens.count
      tokens.append(Sampler.argmax(try logits(Batch(rows: rows))))
    }
    return Array(tokens[prompt.count...])
  }

  package func clear(slot: Int) {
    for stage in stages { stage.clear(slot: slot) }
  }
}
