// A Gemma 3 decoder layer: two sub-blocks, each normed before and behind.

internal import Compute
internal import ModelFiles

extension StageLowering {
  /// `x += rms(attention(rms(x)))`, then `x += rms(feedForward(rms(x)))`.
  mutating func gemma3Layer(_ layer: Int) throws(GemmaError) {
    var input = normed(Plane(streams), try norm(.inputNorm, layer))
    try fillCache(layer, input: input)
    if layer == config.narrowingLayer {
      narrow()
      input = keepWanted(of: input)
    }
    let attention = try attention(layer, input: input)
    let feedForwardInput = scratch("feedForwardInput")
    program.ops.append(
      .addNormed(
        AddNormed(
          input: attention,
          norm: try norm(.postAttentionNorm, layer),
          residuals: [Plane(streams)],
          scale: 1,
          output: streams,
          next: .init(norm: try norm(.preFeedForwardNorm, layer), output: feedForwardInput)
        )
      )
    )
    let feedForward = try feedForward(layer, input: feedForwardInput)
    program.ops.append(
      .addNormed(
        AddNormed(
          input: feedForward,
          norm: try norm(.postFeedForwardNorm, layer),
          residuals: [Plane(streams)],
          scale: 1,
          output: streams,
          next: nil
        )
      )
    )
  }

  /// Adds a layer's gated feed-forward.
  mutating func feedForward(_ layer: Int, input: BufferID) throws(GemmaError) -> BufferID {
    let output = scratch("feedForward")
    program.ops.append(
      .feedForward(
        FeedForward(
          input: input,
          gate: try weight(.gate, layer),
          up: try weight(.up, layer),
          down: try weight(.down, layer),
          sparsityDeviations: config.layers[layer].sparsityDeviations,
          output: output
        )
      )
    )
    return output
  }
}
