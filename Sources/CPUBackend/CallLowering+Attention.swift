// Calls of attention: projections, rotation, the KV cache.

internal import CPUKernels
internal import Compute

extension CallLowering {
  mutating func lower(_ op: ProjectKV) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let keys = try memory.plane(Plane(op.keys))
    let values = try memory.plane(Plane(op.values))
    let rotations = try emitRotations(op.rope, headDim: op.headDim, rows: input.rows)
    try emitProduct(op.keyWeight, input, into: keys)
    // Values without a weight of their own are normed from the keys' product, before that is normed in
    // place. Without a norm they would have to be copied; no model has such values, so the product is
    // computed again.
    let isShared = op.valueWeight == nil && op.valueNorm != nil
    if !isShared {
      try emitProduct(
        op.valueWeight ?? op.keyWeight,
        input,
        into: values,
        isRepeated: op.valueWeight == nil
      )
    }
    if let norm = op.valueNorm {
      emitHeads(isShared ? keys : values, op.headDim, norm, nil, into: values)
    }
    emitHeads(keys, op.headDim, op.keyNorm, rotations, into: keys)
  }

  mutating func lower(_ op: ProjectQueries) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let queries = try memory.plane(Plane(op.queries))
    let rotations = try emitRotations(op.rope, headDim: op.headDim, rows: input.rows)
    try emitProduct(op.weight, input, into: queries)
    emitHeads(queries, op.headDim, op.norm, rotations, into: queries)
  }

  /// Where the rotations of a row set are stored.
  @safe struct Rotations {
    var region: Region
    var operand: cpu_rotations
  }

  /// Returns the rotations of each row, and emits the call that fills them the first time.
  private mutating func emitRotations(
    _ rope: Rope,
    headDim: Int,
    rows: RowSet
  ) throws(ComputeError) -> Rotations {
    let key = ExecutableMemory.RotationKey(rope: rope, headDim: headDim, rows: rows)
    let rotations = unsafe try memory.rotations(key)
    if unsafe rotations.isNew {
      let arguments = unsafe cpu_rope_args(
        frequencies: memory.keep(rope.frequencies(headDim: headDim)),
        half: Int64(headDim / 2),
        scale: Double(rope.positionScale),
        output: rotations.operand,
        row_set: rows.identifier
      )
      unsafe emit(
        kernels.pointee.rope,
        arguments,
        writes: [rotations.region],
        split: .rows(rows)
      )
    }
    return unsafe Rotations(region: rotations.region, operand: rotations.operand)
  }

  private mutating func emitHeads(
    _ source: RowPlane,
    _ headDim: Int,
    _ norm: NormParameters,
    _ rotations: Rotations?,
    into plane: RowPlane
  ) {
    var arguments = unsafe cpu_heads_args()
    unsafe arguments.source = unsafe source.operand
    unsafe arguments.heads = unsafe plane.operand
    unsafe arguments.head_dim = Int64(headDim)
    unsafe arguments.norm = unsafe weights.norm(norm)
    if let rotations = rotations {
      unsafe arguments.rotations = unsafe rotations.operand
    }
    unsafe emit(
      kernels.pointee.heads,
      arguments,
      reads: [source.region],
      wholeReads: rotations.map { [$0.region] } ?? [],
      writes: [plane.region],
      split: .heads(plane.rows, count: plane.width / headDim)
    )
  }

  mutating func lower(_ op: AppendKV) throws(ComputeError) {
    let keys = try memory.plane(Plane(op.keys))
    let values = try memory.plane(Plane(op.values))
    let arguments = unsafe cpu_append_args(
      keys: keys.operand,
      values: values.operand,
      cache: caches[op.cache.index].operand
    )
    unsafe emit(
      kernels.pointee.append,
      arguments,
      reads: [keys.region, values.region],
      writes: [Region(op.cache)],
      split: .heads(.all, count: program[op.cache].kvHeadCount)
    )
  }

  mutating func lower(_ op: Attend) throws(ComputeError) {
    let queries = try memory.plane(Plane(op.queries))
    let output = try memory.plane(Plane(op.output))
    var cache = unsafe caches[op.cache.index].operand
    scratchByteCount = max(scratchByteCount, unsafe Int(cpu_attend_scratch(&cache)))
    let arguments = unsafe cpu_attend_args(
      queries: queries.operand,
      cache: cache,
      heads: Int64(op.headCount),
      scale: op.scale,
      output: output.operand
    )
    unsafe emit(
      kernels.pointee.attend,
      arguments,
      reads: [queries.region],
      wholeReads: [Region(op.cache)],
      writes: [output.region],
      split: .heads(output.rows, count: op.headCount)
    )
  }
}
