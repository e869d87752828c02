// Cases of AltUp's ops, per-layer inputs, and the end of rows nobody wants.

internal import Compute

extension CaseMaker {
  func expandStreams() -> [ConformanceCase] {
    [(TensorType.f32, 4), (.bf16, 4), (.q4_0, 3), (.q8_0, 2), (.f32, 1)].map { type, streams in
      let width = type.isQuantised ? 96 : 50
      var builder = CaseBuilder(self, "expandStreams \(type) × \(streams)")
      let input = builder.input("input", width: width)
      let output = builder.output("streams", planes: streams, width: width)
      let projections = (1..<streams).map { builder.weight("projection\($0)", width, width, type) }
      builder.program.ops = [
        .expandStreams(ExpandStreams(input: input, projections: projections, output: output))
      ]
      return builder.finish(
        lengths: [5, 2],
        tolerance: Tolerance.float,
        inputs: .exactInt8
      )
    }
  }

  func mergeStreams() -> [ConformanceCase] {
    [(TensorType.f32, 4), (.f16, 4), (.q5_1, 3), (.q8_0, 2), (.f32, 1)].map { type, streams in
      let width = type.isQuantised ? 96 : 50
      var builder = CaseBuilder(self, "mergeStreams \(type) × \(streams)")
      let input = builder.input("streams", planes: streams, width: width, rows: .wanted)
      let output = builder.output("merged", width: width, rows: .wanted)
      let projections = (1..<streams).map { builder.weight("projection\($0)", width, width, type) }
      builder.program.ops = [
        .mergeStreams(
          MergeStreams(
            streams: input,
            projections: projections,
            norm: builder.norm("gain", width, offset: 1),
            output: output
          )
        )
      ]
      return builder.finish(
        lengths: [5, 2],
        tolerance: Tolerance.float,
        inputs: .exactInt8
      )
    }
  }

  func perLayerInputs() -> [ConformanceCase] {
    let pairs =
      TensorType.allCases.flatMap { table in [(table, TensorType.f32), (table, .q8_0)] }
      + TensorType.allCases.filter { $0 != .f32 && $0 != .q8_0 }.map { (.q6_K, $0) }
    return pairs.map { perLayerInputs(table: $0, projection: $1) }
  }

  private func perLayerInputs(table: TensorType, projection: TensorType) -> ConformanceCase {
    // Layers of one block each, of four only the middle two; floats have layers of 5.
    let width = table.isQuantised ? table.blockLength : 5
    let columns = max(64, projection.blockLength)
    var builder = CaseBuilder(self, "perLayerInputs table \(table) projection \(projection)")
    let input = builder.input("embedding", width: columns)
    let output = builder.output("perLayer", width: 2 * width)
    builder.program.ops = [
      .perLayerInputs(
        PerLayerInputs(
          input: input,
          // Of 40 tokens the table knows 30.
          table: builder.weight("table", 30, 4 * width, table),
          tableColumns: width..<(3 * width),
          tableScale: 16,
          projection: builder.weight("projection", 2 * width, columns, projection),
          projectionScale: 0.125,
          norm: builder.norm("gain", width),
          width: width,
          outputScale: 0.7071,
          output: output
        )
      )
    ]
    return builder.finish(lengths: [9, 8], tolerance: Tolerance.float, inputs: .exactInt8)
  }

  func altupPredict() -> [ConformanceCase] {
    let shapes: [(streams: Int, active: Int, width: Int, type: TensorType)] = [
      (4, 0, 2048, .f32), (4, 3, 33, .bf16), (2, 1, 16, .f16), (1, 0, 5, .f32), (3, 1, 40, .f32),
    ]
    return shapes.map { streams, active, width, type in
      var builder = CaseBuilder(self, "altupPredict × \(streams) \(width) \(type)")
      let input = builder.input("streams", planes: streams, width: width)
      let output = builder.output("predictions", planes: streams, width: width)
      let router = Router(
        weight: builder.weight("router", streams, width, type),
        norm: builder.norm("gain", width)
      )
      builder.program.ops = [
        .altupPredict(
          AltUpPredict(
            streams: input,
            active: active,
            router: router,
            coefficients: builder.weight("coefficients", streams * streams, streams, type),
            output: output
          )
        )
      ]
      return builder.finish(lengths: [3, 2], tolerance: Tolerance.float)
    }
  }

  func altupCorrect() -> [ConformanceCase] {
    let shapes: [(streams: Int, active: Int, width: Int, scales: Bool)] = [
      (4, 0, 2048, true), (4, 2, 33, false), (2, 1, 16, true), (1, 0, 5, true),
    ]
    return shapes.map { streams, active, width, scales in
      var builder = CaseBuilder(self, "altupCorrect × \(streams) \(width) scales \(scales)")
      let predictions = builder.input("predictions", planes: streams, width: width)
      let activated = builder.input("activated", width: width)
      let output = builder.output("streams", planes: streams, width: width)
      let scaled = builder.output("scaled", width: width)
      let router = Router(
        weight: builder.weight("router", streams, width, .f32),
        norm: builder.norm("gain", width, type: .bf16)
      )
      builder.program.ops = [
        .altupCorrect(
          AltUpCorrect(
            predictions: predictions,
            activated: activated,
            active: active,
            router: router,
            coefficients: builder.weight("coefficients", streams, streams, .f32),
            outputScale: scales ? builder.weight("outputScale", 1, width, .bf16) : nil,
            streams: output,
            scaled: scaled
          )
        )
      ]
      return builder.finish(lengths: [3, 2], tolerance: Tolerance.float)
    }
  }

  func injectPerLayerInput() -> [ConformanceCase] {
    let shapes: [(TensorType, width: Int, layer: Int)] =
      [(.f32, 50, 7), (.bf16, 33, 16), (.q4_0, 96, 32), (.q8_0, 64, 64)]
      + TensorType.allCases.filter(\.isQuantised).map { ($0, 256, 256) }
    return shapes.map { type, width, layer in
      var builder = CaseBuilder(self, "injectPerLayerInput \(type) [\(width), \(layer)]")
      let input = builder.input("input", width: width)
      let perLayer = builder.input("perLayer", width: 3 * layer)
      let streams = builder.input("streams", planes: 4, width: width)
      builder.program.outputs = [streams]
      builder.program.ops = [
        .injectPerLayerInput(
          InjectPerLayerInput(
            input: input,
            perLayerInputs: perLayer,
            columns: layer..<(2 * layer),
            gate: builder.weight("gate", layer, width, type),
            projection: builder.weight("projection", width, layer, type),
            norm: builder.norm("gain", width),
            streams: streams
          )
        )
      ]
      return builder.finish(lengths: [4, 3], tolerance: type.roundedTolerance)
    } + [injectIntoOnlyStream(scales: false), injectIntoOnlyStream(scales: true)]
  }

  /// The only stream is read and changed.
  private func injectIntoOnlyStream(scales: Bool) -> ConformanceCase {
    var builder = CaseBuilder(self, "injectPerLayerInput, one stream, scaled \(scales)")
    let stream = builder.input("stream", width: 50)
    let perLayer = builder.input("perLayer", width: 21)
    builder.program.outputs = [stream]
    builder.program.ops = [
      .injectPerLayerInput(
        InjectPerLayerInput(
          input: stream,
          perLayerInputs: perLayer,
          columns: 7..<14,
          gate: builder.weight("gate", 7, 50, .f32),
          projection: builder.weight("projection", 50, 7, .f32),
          norm: builder.norm("gain", 50),
          outputScale: scales ? builder.weight("outputScale", 1, 1, .f32) : nil,
          streams: stream
        )
      )
    ]
    return builder.finish(lengths: [4, 3], tolerance: Tolerance.float)
  }

  func keepWanted() -> [ConformanceCase] {
    [(planes: 1, width: 1), (4, 33), (4, 640)].map { planes, width in
      var builder = CaseBuilder(self, "keepWanted \(planes) × \(width)")
      let input = builder.input("streams", planes: planes, width: width)
      let output = builder.output("kept", planes: planes, width: width, rows: .wanted)
      builder.program.ops = [.keepWanted(KeepWanted(input: input, output: output))]
      return builder.finish(lengths: [9, 1, 6], tolerance: Tolerance.exact)
    }
  }
}
