// Optional features around attention and feed-forward: AltUp's prediction and correction of the
// streams, the LAuReL branch, and per-layer inputs, which are added to the inactive streams or to the only
// one.
// Sources: Gemma3nTextDecoderLayer and Gemma4TextDecoderLayer, transformers 5.24, in models/gemma3n and gemma4.

internal import Compute
internal import ModelFiles

// MARK: - AltUp

extension StageLowering {
  /// Adds the prediction of the streams after the layer, and returns its output.
  mutating func predict(_ layer: Int, _ altUp: AltUpConfig) throws(GemmaError) -> BufferID {
    let router = try router(layer)
    let predictions = scratch("predictions", planes: altUp.streamCount)
    program.ops.append(
      .altupPredict(
        AltUpPredict(
          streams: streams,
          active: altUp.activeStream,
          router: router,
          coefficients: try weight(.altupPrediction, layer),
          output: predictions
        )
      )
    )
    return predictions
  }

  /// Adds the correction of the streams by the active stream's result; returns the corrected active
  /// stream, scaled.
  mutating func correct(
    _ layer: Int,
    _ altUp: AltUpConfig,
    predictions: BufferID,
    activated: BufferID
  ) throws(GemmaError) -> BufferID {
    let scaled = scratch("scaled")
    program.ops.append(
      .altupCorrect(
        AltUpCorrect(
          predictions: predictions,
          activated: activated,
          active: altUp.activeStream,
          router: try router(layer),
          coefficients: try weight(.altupCorrection, layer),
          outputScale: altUp.scalesActiveStream ? try weight(.altupOutputScale, layer) : nil,
          streams: streams,
          scaled: scaled
        )
      )
    )
    return scaled
  }

  private func router(_ layer: Int) throws(GemmaError) -> Router {
    Router(
      weight: try weight(.altupRouter, layer),
      norm: try norm(.altupRouterNorm, layer)
    )
  }
}

// MARK: - LAuReL

extension StageLowering {
  /// Adds the low-rank branch beside attention, from the same normed input.
  mutating func laurel(_ layer: Int, input: BufferID) throws(GemmaError) -> BufferID {
    let output = scratch("laurel")
    program.ops.append(
      .laurel(
        Laurel(
          input: input,
          left: try weight(.laurelLeft, layer),
          right: try weight(.laurelRight, layer),
          norm: try norm(.laurelNorm, layer),
          output: output
        )
      )
    )
    return output
  }
}

// MARK: - Per-layer inputs

extension StageLowering {
  /// The per-layer input of one layer.
  struct LayerInput {
    /// The inputs of several layers, side by side.
    var buffer: BufferID
    var columns: Range<Int>
  }

  /// Returns where a layer's own input is; nil if the model has none.
  ///
  /// The first layer of each row set computes the inputs for all layers of the stage with these
  /// rows.
  mutating func perLayerInputs(_ layer: Int) throws(GemmaError) -> LayerInput? {
    guard let size = config.perLayerInput?.size else { return nil }
    // The range of the stage's layers that compute the same rows.
    let narrowing = config.narrowingLayer ?? config.layers.count
    let first = rows == .all ? stage.lowerBound : max(stage.lowerBound, narrowing)
    let end = rows == .all ? min(stage.upperBound, narrowing) : stage.upperBound
    let buffer = scratch("perLayerInputs", width: (end - first) * size)
    let columns = ((layer - first) * size)..<((layer - first + 1) * size)
    guard layer == first else { return LayerInput(buffer: buffer, columns: columns) }
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
    return LayerInput(buffer: buffer, columns: columns)
  }

  /// Adds the op that adds a layer's own input, gated by the active stream, to the other streams, or to the
  /// only one.
  mutating func inject(
    _ own: LayerInput,
    _ layer: Int,
    input: BufferID
  ) throws(GemmaError) {
    program.ops.append(
      .injectPerLayerInput(
        InjectPerLayerInput(
          input: input,
          perLayerInputs: own.buffer,
          columns: own.columns,
          gate: try weight(.perLayerGate, layer),
          projection: try weight(.perLayerProjection, layer),
          norm: try norm(.perLayerNorm, layer),
          outputScale: try outputScale(layer),
          streams: streams
        )
      )
    )
  }
}
