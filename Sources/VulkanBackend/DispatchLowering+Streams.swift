// Calls of AltUp's ops and of the other ops on several streams.

internal import Compute

extension DispatchLowering {
  mutating func lower(_ op: ExpandStreams) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let streams = try memory.wholeBuffer(op.output)
    for (index, weight) in op.projections.enumerated() {
      try emitProduct(weight, input, into: memory.plane(Plane(op.output, index + 1)))
    }
    emit(
      "expand",
      bindings: [input.binding, .place(streams.place)],
      push: [
        .count(input.width), .count(memory.planeStride(width: input.width)),
        .count(streams.regions.count),
      ],
      rows: input.rows,
      shape: .rows(y: 1),
      reads: [input.region] + streams.regions,
      writes: streams.regions
    )
  }

  mutating func lower(_ op: AltUpPredict) throws(ComputeError) {
    let streams = try memory.wholeBuffer(op.streams)
    let output = try memory.wholeBuffer(op.output)
    let width = program[op.streams].width
    let gain = try gain(op.router.norm)
    emit(
      "altup_predict",
      constants: [gain.exists, UInt32(streams.regions.count)],
      bindings: [
        .place(streams.place), .place(try constants(op.router.weight)), gain.binding,
        .place(try constants(op.coefficients)), .place(output.place),
      ],
      push: [
        .count(width), .number(op.router.norm.epsilon), .count(memory.planeStride(width: width)),
        .count(op.active),
      ],
      rows: program[op.streams].rows,
      shape: .rows(y: 1),
      reads: streams.regions,
      writes: output.regions
    )
  }

  mutating func lower(_ op: AltUpCorrect) throws(ComputeError) {
    let predictions = try memory.wholeBuffer(op.predictions)
    let activated = try memory.plane(Plane(op.activated))
    let streams = try memory.wholeBuffer(op.streams)
    let scaled = try memory.plane(Plane(op.scaled))
    let gain = try gain(op.router.norm)
    var outputScale = missing
    if let weight = op.outputScale { outputScale = .place(try constants(weight)) }
    emit(
      "altup_correct",
      constants: [gain.exists, UInt32(predictions.regions.count), op.outputScale == nil ? 0 : 1],
      bindings: [
        .place(predictions.place), activated.binding, .place(try constants(op.router.weight)),
        gain.binding, .place(try constants(op.coefficients)), outputScale,
        .place(streams.place), scaled.binding,
      ],
      push: [
        .count(activated.width), .number(op.router.norm.epsilon),
        .count(memory.planeStride(width: activated.width)), .count(op.active),
      ],
      rows: activated.rows,
      shape: .rows(y: 1),
      reads: predictions.regions + [activated.region],
      writes: streams.regions + [scaled.region]
    )
  }

  mutating func lower(_ op: InjectPerLayerInput) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let perLayer = try memory.plane(Plane(op.perLayerInputs))
    let streams = try memory.wholeBuffer(op.streams)
    let gate = try memory.scratch("perLayerGate", width: op.columns.count, rows: input.rows).planes[
      0
    ]
    let projected = try memory.scratch("perLayerOutput", width: input.width, rows: input.rows)
      .planes[0]
    try emitProduct(op.gate, input, into: gate)
    emitGate(gate, perLayer, first: op.columns.lowerBound)
    try emitProduct(op.projection, gate, into: projected)
    let gain = try gain(op.norm)
    let changed = streams.regions.count > 1 ? streams.regions.dropFirst() : streams.regions[...]
    emit(
      "inject",
      constants: [gain.exists],
      bindings: [projected.binding, gain.binding, .place(streams.place)],
      push: [
        .count(input.width), .number(op.norm.epsilon), .number(weights.number(op.outputScale)),
        .count(memory.planeStride(width: input.width)), .count(changed.startIndex),
        .count(streams.regions.count),
      ],
      rows: input.rows,
      shape: .rows(y: 1),
      reads: [projected.region] + changed,
      writes: Array(changed)
    )
  }

  mutating func lower(_ op: KeepWanted) throws(ComputeError) {
    let input = try memory.wholeBuffer(op.input)
    let output = try memory.wholeBuffer(op.output)
    let width = program[op.output].width
    emit(
      "keep",
      bindings: [.place(host.rows), .place(input.place), .place(output.place)],
      push: [
        .count(width), .count(limits.maxRows), .count(memory.planeStride(width: width)),
      ],
      rows: .wanted,
      shape: .columns(width, planes: output.regions.count),
      reads: input.regions,
      writes: output.regions
    )
  }

  mutating func lower(_ op: MergeStreams) throws(ComputeError) {
    let output = try memory.plane(Plane(op.output))
    let first = try memory.plane(Plane(op.streams, 0))
    guard !op.projections.isEmpty else {
      try emitNorm(op.norm, first, into: output)
      return
    }
    let others = try memory.scratch(
      "unembedded",
      planes: op.projections.count,
      width: output.width,
      rows: output.rows
    )
    for (index, weight) in op.projections.enumerated() {
      try emitProduct(
        weight,
        memory.plane(Plane(op.streams, index + 1)),
        into: others.planes[index]
      )
    }
    let gain = try gain(op.norm)
    emit(
      "merge",
      constants: [gain.exists],
      bindings: [first.binding, .place(others.whole), gain.binding, output.binding],
      push: [
        .count(output.width), .number(op.norm.epsilon),
        .count(memory.planeStride(width: output.width)), .count(op.projections.count),
      ],
      rows: output.rows,
      shape: .rows(y: 1),
      reads: [first.region] + others.planes.map(\.region),
      writes: [output.region]
    )
  }
}
