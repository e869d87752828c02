// Calls of the ops that are matrix products and norms: lookups, feed-forward, logits.

internal import CPUKernels
internal import Compute

extension CallLowering {
  mutating func lower(_ op: Embed) throws(ComputeError) {
    let output = try memory.plane(Plane(op.output))
    let arguments = unsafe cpu_embed_args(
      table: weights.matrix(op.table),
      first: 0,
      scale: op.scale,
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.embed,
      arguments,
      writes: [output.region],
      split: .rows(output.rows)
    )
  }

  mutating func lower(_ op: PerLayerInputs) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let output = try memory.plane(Plane(op.output))
    let projected = try memory.scratch("projected", width: output.width, rows: output.rows)
    try emitProduct(op.projection, input, into: projected)
    let arguments = unsafe cpu_per_layer_args(
      projected: projected.operand,
      projection_scale: op.projectionScale,
      norm: weights.norm(op.norm),
      width: Int64(op.width),
      table: weights.matrix(op.table),
      first_column: Int64(op.tableColumns.lowerBound),
      table_scale: op.tableScale,
      output_scale: op.outputScale,
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.per_layer,
      arguments,
      reads: [projected.region],
      writes: [projected.region, output.region],
      split: .rows(output.rows)
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
    let arguments = unsafe cpu_norm_args(
      input: input.operand,
      norm: weights.norm(norm),
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.norm,
      arguments,
      reads: [input.region],
      writes: [output.region],
      split: .rows(output.rows)
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

  mutating func emitAddNormed(
    _ input: RowPlane,
    _ norm: NormParameters,
    residuals: [RowPlane],
    scale: Float,
    into output: RowPlane,
    next: (norm: NormParameters, output: RowPlane)?
  ) throws(ComputeError) {
    var arguments = unsafe cpu_add_normed_args()
    unsafe arguments.input = unsafe input.operand
    unsafe arguments.norm = unsafe weights.norm(norm)
    unsafe arguments.residuals = unsafe memory.keep(residuals.map { unsafe $0.operand })
    unsafe arguments.residual_count = Int64(residuals.count)
    unsafe arguments.scale = scale
    unsafe arguments.output = unsafe output.operand
    var writes = [output.region]
    if let next {
      unsafe arguments.next_norm = unsafe weights.norm(next.norm)
      unsafe arguments.next_output = unsafe next.output.operand
      writes.append(next.output.region)
    }
    unsafe emit(
      kernels.pointee.add_normed,
      arguments,
      reads: [input.region] + residuals.map(\.region),
      writes: writes,
      split: .rows(output.rows)
    )
  }

  mutating func lower(_ op: FeedForward) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let width = op.gate.rows.count
    let gate = try memory.scratch("gate", width: width, rows: input.rows)
    // A device multiplies all columns faster than the CPU multiplies some. Inputs are observed where they are
    // planes of products, which those of a sparse gate are not.
    let isSparse =
      deviceOperands == nil && !program.observesInputs && op.up.type.isQuantised
      && op.down.type.isQuantised
    if let deviations = op.sparsityDeviations, isSparse {
      try lowerSparse(op, input, gate, deviations)
      return
    }
    let up = try memory.scratch("up", width: width, rows: input.rows)
    try emitProduct(op.gate, input, into: gate)
    try emitProduct(op.up, input, into: up)
    if let deviations = op.sparsityDeviations {
      unsafe emit(
        kernels.pointee.cut_gate,
        cpu_cut_gate_args(gate: gate.operand, other: up.operand, deviations: deviations),
        reads: [gate.region, up.region],
        writes: [gate.region],
        split: .rows(gate.rows)
      )
    } else {
      emitGate(gate, up, first: 0)
    }
    try emitProduct(op.down, gate, into: memory.plane(Plane(op.output)))
  }

  /// Adds the calls of a feed-forward with a sparse gate, which reads only the columns that are not
  /// zero.
  private mutating func lowerSparse(
    _ op: FeedForward,
    _ input: RowPlane,
    _ gate: RowPlane,
    _ deviations: Float
  ) throws(ComputeError) {
    try emitProduct(op.gate, input, into: gate)
    let selected = unsafe try memory.selected(of: gate)
    unsafe emit(
      kernels.pointee.select_columns,
      cpu_select_args(gate: gate.operand, deviations: deviations, selected: selected),
      reads: [gate.region],
      writes: [gate.region, gate.region.selected],
      split: .rows(gate.rows)
    )
    let copy = unsafe try emitQuantise(input)
    let scale = unsafe cpu_scale_selected_args(
      weight: try weights.copied(op.up),
      quantised: copy,
      selected: selected,
      gate: gate.operand
    )
    unsafe emit(
      cpu_scale_selected(kernels, op.up.type.identifier),
      scale,
      wholeReads: [input.region.quantised, gate.region.selected],
      writes: [gate.region],
      split: .other
    )
    let output = try memory.plane(Plane(op.output))
    guard op.down.type == .q4_0 else {
      try emitProduct(op.down, gate, into: output)
      return
    }
    let rowCount = Int64(op.down.rows.count)
    scratchByteCount = max(scratchByteCount, Int(cpu_columns_scratch(rowCount)))
    let arguments = unsafe cpu_columns_args(
      columns: try weights.packedByColumns(op.down),
      rows: rowCount,
      quantised: try emitQuantise(gate),
      selected: selected,
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.matmul_columns,
      arguments,
      wholeReads: [gate.region.quantised, gate.region.selected],
      writes: [output.region],
      split: .other
    )
  }

  /// Adds the call that activates a gate in place and multiplies it by columns of another plane.
  mutating func emitGate(_ gate: RowPlane, _ other: RowPlane, first: Int) {
    let arguments = unsafe cpu_gate_args(
      gate: gate.operand,
      other: other.operand,
      first: Int64(first)
    )
    // Columns of a wider plane are divided among the threads in another way.
    let isAsWide = other.width == gate.width
    unsafe emit(
      kernels.pointee.gate,
      arguments,
      reads: isAsWide ? [gate.region, other.region] : [gate.region],
      wholeReads: isAsWide ? [] : [other.region],
      writes: [gate.region],
      split: .columns(gate.width)
    )
  }

  mutating func lower(_ op: Laurel) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let low = try memory.scratch("laurelLow", width: op.left.rows.count, rows: input.rows)
    let high = try memory.scratch("laurelHigh", width: input.width, rows: input.rows)
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
