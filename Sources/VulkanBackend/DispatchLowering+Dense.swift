// Calls of the ops that are matrix products and norms: lookups, feed-forward, logits.

internal import Compute

extension DispatchLowering {
  mutating func lower(_ op: Embed) throws(ComputeError) {
    let output = try memory.plane(Plane(op.output))
    weights.keepForLookups(op.table)
    host.lookups.append(
      HostWork.Lookup(
        table: op.table,
        columns: 0..<op.table.columns,
        scale: op.scale,
        rows: output.rows,
        place: output.place
      )
    )
  }

  mutating func lower(_ op: PerLayerInputs) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let output = try memory.plane(Plane(op.output))
    let projected = try memory.scratch("projected", width: output.width, rows: output.rows).planes[
      0
    ]
    try emitProduct(op.projection, input, into: projected)
    weights.keepForLookups(op.table)
    let table = try memory.place(
      .upload,
      byteCount: limits.maxRows * output.width * MemoryLayout<Float>.stride,
      purpose: "per-layer inputs"
    )
    host.lookups.append(
      HostWork.Lookup(
        table: op.table,
        columns: op.tableColumns,
        scale: 1,
        rows: output.rows,
        place: table
      )
    )
    let gain = try gain(op.norm)
    let layers = output.width / op.width
    emit(
      "per_layer",
      constants: [gain.exists],
      bindings: [projected.binding, gain.binding, .place(table), output.binding],
      push: [
        .count(layers), .count(op.width), .number(op.norm.epsilon), .number(op.projectionScale),
        .number(op.tableScale), .number(op.outputScale),
      ],
      rows: output.rows,
      shape: .rows(y: layers),
      reads: [projected.region],
      writes: [output.region]
    )
  }

  mutating func lower(_ op: Norm) throws(ComputeError) {
    try emitNorm(op.norm, memory.plane(op.input), into: memory.plane(Plane(op.output)))
  }

  mutating func emitNorm(
    _ norm: NormParameters,
    _ input: RowPlane,
    into output: RowPlane
  ) throws(ComputeError) {
    let gain = try gain(norm)
    emit(
      "norm",
      constants: [gain.exists],
      bindings: [input.binding, gain.binding, output.binding],
      push: [.count(output.width), .number(norm.epsilon)],
      rows: output.rows,
      shape: .rows(y: 1),
      reads: [input.region],
      writes: [output.region]
    )
  }

  mutating func lower(_ op: Matmul) throws(ComputeError) {
    try emitProduct(
      op.weight,
      memory.plane(Plane(op.input)),
      into: memory.plane(Plane(op.output))
    )
  }

  mutating func lower(_ op: Logits) throws(ComputeError) {
    try emitProduct(
      op.weight,
      memory.plane(Plane(op.input)),
      into: memory.plane(Plane(op.output)),
      softcap: op.softcap ?? 0
    )
  }

  mutating func lower(_ op: AddNormed) throws(ComputeError) {
    var residuals: [RowPlane] = []
    for plane in op.residuals { residuals.append(try memory.plane(plane)) }
    var next: (norm: NormParameters, output: RowPlane)?
    if let wanted = op.next { next = (wanted.norm, try memory.plane(Plane(wanted.output))) }
    try emitAddNormed(
      memory.plane(Plane(op.input)),
      op.norm,
      residuals: residuals,
      scale: op.scale * weights.number(op.outputScale),
      into: memory.plane(Plane(op.output)),
      next: next
    )
  }

  /// The most residuals that the kernel adds.
  static let maxResiduals = 3

  private mutating func emitAddNormed(
    _ input: RowPlane,
    _ norm: NormParameters,
    residuals: [RowPlane],
    scale: Float,
    into output: RowPlane,
    next: (norm: NormParameters, output: RowPlane)?
  ) throws(ComputeError) {
    let gain = try gain(norm)
    let nextGain = try next.map { (next) throws(ComputeError) in try self.gain(next.norm) }
    let others =
      residuals.map(\.binding)
      + Array(repeating: missing, count: Self.maxResiduals - residuals.count)
    emit(
      "add_normed",
      constants: [
        gain.exists, UInt32(residuals.count), next == nil ? 0 : 1, nextGain?.exists ?? 0,
      ],
      bindings: [input.binding, gain.binding] + others
        // What has no norm behind it writes nothing there.
        + [output.binding, nextGain?.binding ?? missing, (next?.output ?? output).binding],
      push: [
        .count(output.width), .number(norm.epsilon), .number(next?.norm.epsilon ?? 0),
        .number(scale),
      ],
      rows: output.rows,
      shape: .rows(y: 1),
      reads: [input.region] + residuals.map(\.region),
      writes: [output.region] + (next.map { [$0.output.region] } ?? [])
    )
  }

  mutating func lower(_ op: FeedForward) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let output = try memory.plane(Plane(op.output))
    let width = op.gate.rows.count
    let gate = try memory.scratch("gate", width: width, rows: input.rows).planes[0]
    let up = try memory.scratch("up", width: width, rows: input.rows).planes[0]
    try emitProduct(op.gate, input, into: gate)
    guard let deviations = op.sparsityDeviations else {
      try emitProduct(op.up, input, into: up)
      emitGate(gate, up, first: 0)
      try emitProduct(op.down, gate, into: output)
      return
    }
    // Few values are left of a sparse gate: only their rows of `up` and columns of `down` are read.
    emit(
      "cut_gate",
      bindings: [gate.binding],
      push: [.count(width), .number(deviations)],
      rows: gate.rows,
      shape: .rows(y: 1),
      reads: [gate.region],
      writes: [gate.region]
    )
    try emitProduct(op.up, input, into: up, gate: gate)
    try emitProduct(
      op.down,
      up,
      into: output,
      layout: PackedLayout.hasColumns(op.down.type) ? .byColumns : .byRows
    )
  }

  /// Adds the call that activates a gate in place and multiplies it by columns of another plane.
  mutating func emitGate(_ gate: RowPlane, _ other: RowPlane, first: Int) {
    emit(
      "gate",
      bindings: [gate.binding, other.binding],
      push: [.count(gate.width), .count(other.width), .count(first)],
      rows: gate.rows,
      shape: .columns(gate.width, planes: 1),
      reads: [gate.region, other.region],
      writes: [gate.region]
    )
  }

  mutating func lower(_ op: Laurel) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let low = try memory.scratch("laurelLow", width: op.left.rows.count, rows: input.rows).planes[0]
    let high = try memory.scratch("laurelHigh", width: input.width, rows: input.rows).planes[0]
    try emitProduct(op.left, input, into: low)
    try emitProduct(op.right, low, into: high)
    try emitAddNormed(
      high,
      op.norm,
      residuals: [input],
      scale: 1,
      into: memory.plane(Plane(op.output)),
      next: nil
    )
  }
}
