// A Gemma 3n decoder layer: AltUp predicts the four streams, the active one runs through attention
// beside LAuReL and through the feed-forward, AltUp corrects the streams by what changed, and the
// layer's own input per token is added to the inactive ones.
// Source: Gemma3nTextDecoderLayer, transformers 5.23, models/gemma3n/modeling_gemma3n.py.

internal import Compute
internal import ModelFiles

extension StageLowering {
  mutating func gemma3nLayer(_ layer: Int, _ gemma3n: Gemma3nConfig) throws(GemmaError) {
    let router = Router(
      weight: try weight(.altupRouter, layer),
      norm: try norm(.altupRouterNorm, layer)
    )
    var predictions = scratch("predictions", planes: gemma3n.streamCount)
    program.ops.append(
      .altupPredict(
        AltUpPredict(
          streams: streams,
          active: gemma3n.activeStream,
          router: router,
          coefficients: try weight(.altupPrediction, layer),
          output: predictions
        )
      )
    )
    var input = normed(Plane(predictions, gemma3n.activeStream), try norm(.inputNorm, layer))
    try fillCache(layer, input: input)
    if layer == config.narrowingLayer {
      rows = .wanted
      predictions = keepWanted(of: predictions)
      input = keepWanted(of: input)
      // All that is left of the streams are their predictions.
      streams = scratch("streams", planes: gemma3n.streamCount)
    }
    let perLayer = try perLayerInputs(layer, gemma3n)
    let activated = try activate(
      layer,
      Plane(predictions, gemma3n.activeStream),
      input: input
    )

    let scaled = scratch("scaled")
    program.ops.append(
      .altupCorrect(
        AltUpCorrect(
          predictions: predictions,
          activated: activated,
          active: gemma3n.activeStream,
          router: router,
          coefficients: try weight(.altupCorrection, layer),
          outputScale: gemma3n.scalesActiveStream ? try weight(.altupOutputScale, layer) : nil,
          streams: streams,
          scaled: scaled
        )
      )
    )
    program.ops.append(
      .injectPerLayerInput(
        InjectPerLayerInput(
          input: scaled,
          perLayerInputs: perLayer.buffer,
          columns: perLayer.columns,
          gate: try weight(.perLayerGate, layer),
          projection: try weight(.perLayerProjection, layer),
          norm: try norm(.perLayerNorm, layer),
          streams: streams
        )
      )
    )
  }

  /// Runs the active stream `p` through the layer's two sub-blocks, the first from its normed input
  /// `x = rms(p)`.
  ///
  /// `u = (p + rms(attention(x)) + laurel(x)) / √2`,
  /// result `u + rms(feedForward(rms(u)))`.
  private mutating func activate(
    _ layer: Int,
    _ active: Plane,
    input: BufferID
  ) throws(GemmaError) -> BufferID {
    let laurel = scratch("laurel")
    program.ops.append(
      .laurel(
        Laurel(
          input: input,
          left: try weight(.laurelLeft, layer),
          right: try weight(.laurelRight, layer),
          norm: try norm(.laurelNorm, layer),
          output: laurel
        )
      )
    )
    let attention = try attention(layer, input: input)
    let activated = scratch("activated")
    let feedForwardInput = scratch("feedForwardInput")
    program.ops.append(
      .addNormed(
        AddNormed(
          input: attention,
          norm: try norm(.postAttentionNorm, layer),
          residuals: [active, Plane(laurel)],
          scale: Float(0.5).squareRoot(),
          output: activated,
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
          residuals: [Plane(activated)],
          scale: 1,
          output: activated,
          next: nil
        )
      )
    )
    return activated
  }

  /// Returns the buffer of per-layer inputs and this layer's columns in it, which the first layer
  /// of each row set computes for all that follow in the stage.
  private mutating func perLayerInputs(
    _ layer: Int,
    _ gemma3n: Gemma3nConfig
  ) throws(GemmaError) -> (buffer: BufferID, columns: Range<Int>) {
    let size = gemma3n.perLayerInputSize
    // The stage's layers that compute the same rows.
    let narrowing = config.narrowingLayer ?? config.layers.count
    let first = rows == .all ? stage.lowerBound : max(stage.lowerBound, narrowing)
    let end = rows == .all ? min(stage.upperBound, narrowing) : stage.upperBound
    let buffer = scratch("perLayerInputs", width: (end - first) * size)
    let columns = ((layer - first) * size)..<((layer - first + 1) * size)
    guard layer == first else { return (buffer, columns) }
    let modelColumns = (first * size)..<(end * size)
    program.ops.append(
      .perLayerInputs(
        PerLayerInputs(
          input: try embedded(),
          table: try weight(.embedTokensPerLayer),
          tableColumns: modelColumns,
          tableScale: Float(size).squareRoot(),
          projection: try weight(.perLayerModelProjection, rows: modelColumns),
          projectionScale: 1 / Float(config.hiddenSize).squareRoot(),
          norm: norm(try weight(.perLayerProjectionNorm)),
          width: size,
          outputScale: Float(0.5).squareRoot(),
          output: buffer
        )
      )
    )
    return (buffer, columns)
  }
}
