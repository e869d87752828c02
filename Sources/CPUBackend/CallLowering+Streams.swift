// Calls of AltUp's ops and of the other ops on several streams.

internal import CPUKernels
internal import Compute

extension CallLowering {
  private func router(_ router: Router) -> cpu_router {
    unsafe cpu_router(
      weight: weights.values(router.weight),
      norm: weights.norm(router.norm)
    )
  }

  mutating func lower(_ op: ExpandStreams) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let streams = try planes(op.output)
    for (weight, stream) in zip(op.projections, streams.dropFirst()) {
      try emitProduct(weight, input, into: stream)
    }
    let arguments = unsafe cpu_expand_args(
      input: input.operand,
      streams: streams[0].operand,
      stream_count: Int64(streams.count)
    )
    unsafe emit(
      kernels.pointee.expand,
      arguments,
      reads: [input.region],
      writes: streams.map(\.region),
      split: .rows(input.rows)
    )
  }

  mutating func lower(_ op: AltUpPredict) throws(ComputeError) {
    let streams = try planes(op.streams)
    let output = try planes(op.output)
    let arguments = unsafe cpu_altup_predict_args(
      streams: streams[0].operand,
      stream_count: Int64(streams.count),
      active: Int64(op.active),
      router: router(op.router),
      coefficients: weights.values(op.coefficients),
      output: output[0].operand
    )
    unsafe emit(
      kernels.pointee.altup_predict,
      arguments,
      reads: streams.map(\.region),
      writes: output.map(\.region),
      split: .rows(streams[0].rows)
    )
  }

  mutating func lower(_ op: AltUpCorrect) throws(ComputeError) {
    let predictions = try planes(op.predictions)
    let activated = try memory.plane(Plane(op.activated))
    let streams = try planes(op.streams)
    let scaled = try memory.plane(Plane(op.scaled))
    let arguments = unsafe cpu_altup_correct_args(
      predictions: predictions[0].operand,
      stream_count: Int64(predictions.count),
      active: Int64(op.active),
      activated: activated.operand,
      router: router(op.router),
      coefficients: weights.values(op.coefficients),
      output_scale: op.outputScale.map { unsafe weights.values($0) },
      streams: streams[0].operand,
      scaled: scaled.operand
    )
    unsafe emit(
      kernels.pointee.altup_correct,
      arguments,
      reads: predictions.map(\.region) + [activated.region],
      writes: streams.map(\.region) + [scaled.region],
      split: .rows(activated.rows)
    )
  }

  mutating func lower(_ op: InjectPerLayerInput) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let perLayer = try memory.plane(Plane(op.perLayerInputs))
    let streams = try planes(op.streams)
    let gate = try memory.scratch("perLayerGate", width: op.columns.count, rows: input.rows)
    let projected = try memory.scratch("perLayerOutput", width: input.width, rows: input.rows)
    try emitProduct(op.gate, input, into: gate)
    emitGate(gate, perLayer, first: op.columns.lowerBound)
    try emitProduct(op.projection, gate, into: projected)
    let arguments = unsafe cpu_inject_args(
      input: projected.operand,
      norm: weights.norm(op.norm),
      scale: weights.number(op.outputScale),
      streams: streams[0].operand,
      stream_count: Int64(streams.count)
    )
    let changed = streams.count > 1 ? streams.dropFirst() : streams[...]
    unsafe emit(
      kernels.pointee.inject,
      arguments,
      reads: [projected.region] + changed.map(\.region),
      writes: [projected.region] + changed.map(\.region),
      split: .rows(input.rows)
    )
  }

  mutating func lower(_ op: KeepWanted) throws(ComputeError) {
    let input = try planes(op.input)
    let output = try planes(op.output)
    let arguments = unsafe cpu_keep_args(
      input: input[0].operand,
      output: output[0].operand,
      planes: Int64(input.count)
    )
    unsafe emit(
      kernels.pointee.keep,
      arguments,
      wholeReads: input.map(\.region),
      writes: output.map(\.region),
      split: .rows(.wanted)
    )
  }

  mutating func lower(_ op: MergeStreams) throws(ComputeError) {
    let streams = try planes(op.streams)
    let output = try memory.plane(Plane(op.output))
    let otherCount = op.projections.count
    var others: [RowPlane] = []
    for (index, weight) in op.projections.enumerated() {
      let other = try memory.scratch(
        "unembedded",
        planes: otherCount,
        plane: index,
        width: output.width,
        rows: output.rows
      )
      try emitProduct(weight, streams[index + 1], into: other)
      others.append(other)
    }
    guard let first = others.first else {
      try emitNorm(op.norm, streams[0], into: output)
      return
    }
    let arguments = unsafe cpu_merge_args(
      first: streams[0].operand,
      others: first.operand,
      other_count: Int64(otherCount),
      norm: weights.norm(op.norm),
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.merge,
      arguments,
      reads: [streams[0].region] + others.map(\.region),
      writes: [output.region],
      split: .rows(output.rows)
    )
  }
}
