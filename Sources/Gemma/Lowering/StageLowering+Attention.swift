// The attention of a layer: its keys and values and their cache, its queries, and the attention
// over a cache.

internal import Compute
internal import ModelFiles

extension StageLowering {
  /// Returns the cache of a layer that owns keys and values.
  mutating func cache(of source: Int) -> CacheID {
    if let known = caches[source] { return known }
    let id = program.add(
      Cache(
        layer: source,
        kvHeadCount: config.layers[source].kvHeadCount,
        headDim: config.layers[source].headDim,
        window: config.layers[source].attention.window
      )
    )
    caches[source] = id
    return id
  }

  /// Adds buffers for a layer's keys and values that are handed to the next stage or come from the
  /// previous one.
  mutating func addSharedRows(_ source: Int) -> (keys: BufferID, values: BufferID) {
    let width = config.layers[source].kvWidth
    let shared = (
      keys: program.add(Buffer(name: "keys.\(source)", width: width, rows: .all)),
      values: program.add(Buffer(name: "values.\(source)", width: width, rows: .all))
    )
    sharedRows[source] = shared
    return shared
  }

  /// Adds the ops that put a layer's keys and values into its cache, for all rows that are still
  /// computed; does nothing if the layer owns none.
  mutating func fillCache(_ layer: Int, input: BufferID) throws(GemmaError) {
    let record = config.layers[layer]
    guard record.kvSource == layer else { return }
    // Rows that are handed on need buffers of their own; the others share one pair.
    let leaves = config.sourcesCrossing(stage.upperBound).contains(layer)
    let rows =
      leaves
      ? addSharedRows(layer)
      : (
        keys: scratch("keys", width: record.kvWidth),
        values: scratch("values", width: record.kvWidth)
      )
    program.ops.append(
      .projectKV(
        ProjectKV(
          input: input,
          headDim: record.headDim,
          rope: rope(layer),
          keyWeight: try weight(.key, layer),
          valueWeight: record.valuesAreKeys ? nil : try weight(.value, layer),
          keyNorm: try norm(.keyNorm, layer),
          valueNorm: config.normsValues ? norm(nil) : nil,
          keys: rows.keys,
          values: rows.values
        )
      )
    )
    program.ops.append(
      .appendKV(AppendKV(keys: rows.keys, values: rows.values, cache: cache(of: layer)))
    )
  }

  private func rope(_ layer: Int) -> Rope {
    let rope = config.layers[layer].rope
    return Rope(
      theta: rope.theta,
      positionScale: rope.positionScale,
      rotatedPairs: rope.rotatedPairs
    )
  }

  /// Adds a layer's attention over filled caches, from its normed input to the output projection.
  mutating func attention(_ layer: Int, input: BufferID) throws(GemmaError) -> BufferID {
    let record = config.layers[layer]
    let queries = scratch("queries", width: record.queryWidth)
    program.ops.append(
      .projectQueries(
        ProjectQueries(
          input: input,
          headDim: record.headDim,
          rope: rope(layer),
          weight: try weight(.query, layer),
          norm: try norm(.queryNorm, layer),
          queries: queries
        )
      )
    )
    let attended = scratch("attended", width: record.queryWidth)
    program.ops.append(
      .attend(
        Attend(
          queries: queries,
          cache: cache(of: record.kvSource),
          headCount: record.headCount,
          scale: record.attentionScale,
          output: attended
        )
      )
    )
    let output = scratch("attention")
    program.ops.append(
      .matmul(Matmul(input: attended, weight: try weight(.output, layer), output: output))
    )
    return output
  }
}
