// A decoder layer: attention and feed-forward, each with a norm before and after it, and the
// optional features of the model: AltUp's streams, the LAuReL branch, per-layer inputs. The
// features are independent of each other.
// Sources: Gemma3DecoderLayer, Gemma3nTextDecoderLayer and Gemma4TextDecoderLayer, transformers 5.24, in
// models/gemma3, gemma3n and gemma4.

internal import Compute
internal import ModelFiles

extension StageLowering {
  /// Adds a layer.
  ///
  /// `p` is the residual stream, or with AltUp the prediction of its active stream. The two
  /// sub-blocks give
  /// `u = p + rms(attention(rms(p)))`, with LAuReL `(p + … + laurel(rms(p))) / √2`,
  /// and `u + rms(feedForward(rms(u)))`. With AltUp, all streams are then corrected by the
  /// difference between this result and the prediction. Where layers have an output scale, their last op
  /// multiplies by it.
  mutating func decoderLayer(_ layer: Int) throws(GemmaError) {
    var residual = Plane(streams)
    if let altUp = config.altUp {
      residual = Plane(try predict(layer, altUp), altUp.activeStream)
    }
    var input = normed(residual, try norm(.inputNorm, layer))
    try fillCache(layer, input: input)
    if layer == config.narrowingLayer {
      rows = .wanted
      residual.buffer = keepWanted(of: residual.buffer)
      input = keepWanted(of: input)
      // Of AltUp's streams only the predictions are read from here on.
      streams =
        config.altUp == nil
        ? residual.buffer : scratch("streams", planes: config.streamCount)
    }
    let perLayer = try perLayerInputs(layer)
    var output = try subBlocks(layer, residual, input: input)
    if let altUp = config.altUp {
      output = try correct(layer, altUp, predictions: residual.buffer, activated: output)
    }
    if let perLayer { try inject(perLayer, layer, input: output) }
  }

  /// Adds attention, the LAuReL branch and the feed-forward; returns the stream after them.
  private mutating func subBlocks(
    _ layer: Int,
    _ residual: Plane,
    input: BufferID
  ) throws(GemmaError) -> BufferID {
    var residuals = [residual]
    if config.laurel != nil { residuals.append(Plane(try laurel(layer, input: input))) }
    let attention = try attention(layer, input: input)
    // AltUp needs the prediction later, for the difference. A single stream is updated in place.
    let output = config.altUp == nil ? streams : scratch("activated")
    let feedForwardInput = scratch("feedForwardInput")
    program.ops.append(
      .addNormed(
        AddNormed(
          input: attention,
          norm: try norm(.postAttentionNorm, layer),
          residuals: residuals,
          scale: config.laurel == nil ? 1 : Float(0.5).squareRoot(),
          output: output,
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
          residuals: [Plane(output)],
          scale: 1,
          outputScale: config.perLayerInput == nil ? try outputScale(layer) : nil,
          output: output,
          next: nil
        )
      )
    )
    return output
  }

  /// Returns the number by which the layer's result is multiplied, if it has one.
  func outputScale(_ layer: Int) throws(GemmaError) -> WeightRef? {
    config.scalesLayers ? try weight(.outputScale, layer) : nil
  }

  /// Adds the gated feed-forward.
  private mutating func feedForward(_ layer: Int, input: BufferID) throws(GemmaError) -> BufferID {
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
