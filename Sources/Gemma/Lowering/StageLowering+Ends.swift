// Both ends of a stage: its inputs or the embedding before its first layer, and its outputs after
// the last.

internal import Compute
internal import ModelFiles

extension StageLowering {
  /// Adds what comes before the stage's first layer: the inputs of the hand-off, or the embedding.
  mutating func begin() throws(GemmaError) {
    if stage.lowerBound == 0 {
      try embedStreams()
    } else {
      program.inputs.append(streams)
    }
    for source in config.sourcesCrossing(stage.lowerBound) {
      let shared = addSharedRows(source)
      program.inputs += [shared.keys, shared.values]
      guard stage.contains(where: { config.layers[$0].kvSource == source }) else { continue }
      program.ops.append(
        .appendKV(AppendKV(keys: shared.keys, values: shared.values, cache: cache(of: source)))
      )
    }
  }

  /// Adds what comes after the stage's last layer: the outputs of the hand-off, and the stage's
  /// logits.
  mutating func end() throws(GemmaError) {
    guard stage.upperBound == config.layers.count else {
      program.outputs.append(streams)
      for source in config.sourcesCrossing(stage.upperBound) {
        guard let shared = sharedRows[source] else {
          preconditionFailure("layer \(source) has no rows to hand on from \(stage)")
        }
        program.outputs += [shared.keys, shared.values]
      }
      return
    }
    let merged = stage.isEmpty ? streams : try merge()
    if !config.line.isLast(slice) { program.outputs.append(merged) }
    guard !slice.vocabulary.isEmpty else { return }
    let logits = scratch("logits", width: slice.vocabulary.count)
    program.ops.append(
      .logits(
        Logits(
          input: merged,
          weight: try weight(config.head, rows: slice.vocabulary),
          softcap: config.finalSoftcap,
          output: logits
        )
      )
    )
    program.outputs.append(logits)
  }

  /// Adds the op that merges the streams after the last layer into one and norms it.
  private mutating func merge() throws(GemmaError) -> BufferID {
    var projections: [WeightRef] = []
    for index in 0..<(config.streamCount - 1) {
      projections.append(try weight(.altupUnembedProjection(index)))
    }
    let merged = scratch("merged")
    program.ops.append(
      .mergeStreams(
        MergeStreams(
          streams: streams,
          projections: projections,
          norm: norm(try weight(.norm)),
          output: merged
        )
      )
    )
    return merged
  }

  /// Drops the rows whose output is not wanted from the streams.
  mutating func narrow() {
    rows = .wanted
    streams = keepWanted(of: streams)
  }

  /// Adds the op that keeps a buffer's wanted rows, and returns its output.
  mutating func keepWanted(of input: BufferID) -> BufferID {
    let buffer = program[input]
    let output = scratch(buffer.name, planes: buffer.planes, width: buffer.width)
    program.ops.append(.keepWanted(KeepWanted(input: input, output: output)))
    return output
  }

  /// Adds the scaled embedding of the current rows' tokens.
  mutating func embedded() throws(GemmaError) -> BufferID {
    let output = scratch("embedding")
    program.ops.append(
      .embed(
        Embed(
          table: try weight(.embedTokens),
          scale: Float(config.hiddenSize).squareRoot(),
          output: output
        )
      )
    )
    return output
  }

  private mutating func embedStreams() throws(GemmaError) {
    let embedding = try embedded()
    var projections: [WeightRef] = []
    for index in 0..<(config.streamCount - 1) {
      projections.append(try weight(.altupProjection(index)))
    }
    program.ops.append(
      .expandStreams(
        ExpandStreams(input: embedding, projections: projections, output: streams)
      )
    )
  }
}
