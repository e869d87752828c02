// Calls of attention: projections, rotation, the KV cache.

internal import Compute

extension DispatchLowering {
  mutating func lower(_ op: ProjectKV) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let keys = try memory.plane(Plane(op.keys))
    let values = try memory.plane(Plane(op.values))
    try emitProduct(op.keyWeight, input, into: keys)
    // Values without a weight of their own are normed from the keys' product, before that is normed in
    // place. Without a norm they would have to be copied; no model has such values, so the product is
    // computed again.
    let isShared = op.valueWeight == nil && op.valueNorm != nil
    if !isShared { try emitProduct(op.valueWeight ?? op.keyWeight, input, into: values) }
    if let norm = op.valueNorm {
      try emitHeads(isShared ? keys : values, op.headDim, norm, nil, into: values)
    }
    try emitHeads(keys, op.headDim, op.keyNorm, op.rope, into: keys)
  }

  mutating func lower(_ op: ProjectQueries) throws(ComputeError) {
    let input = try memory.plane(Plane(op.input))
    let queries = try memory.plane(Plane(op.queries))
    try emitProduct(op.weight, input, into: queries)
    try emitHeads(queries, op.headDim, op.norm, op.rope, into: queries)
  }

  /// Returns the rotations of each row, which the host writes.
  private mutating func rotations(
    _ rope: Rope,
    headDim: Int,
    rows: RowSet
  ) throws(ComputeError) -> (place: Place, region: Region) {
    let key = RotationKey(rope: rope, headDim: headDim, rows: rows)
    if let known = rotations[key] { return known }
    let place = try memory.place(
      .upload,
      byteCount: limits.maxRows * headDim * MemoryLayout<Float>.stride,
      purpose: "rotations"
    )
    host.rotations.append(
      HostWork.Rotations(
        frequencies: rope.frequencies(headDim: headDim),
        positionScale: Double(rope.positionScale),
        rows: rows,
        place: place
      )
    )
    let new = (place, Region(space: .rotations, index: rotations.count))
    rotations[key] = new
    return new
  }

  private mutating func emitHeads(
    _ source: RowPlane,
    _ headDim: Int,
    _ norm: NormParameters,
    _ rope: Rope?,
    into output: RowPlane
  ) throws(ComputeError) {
    let gain = try gain(norm)
    var turns = missing
    var reads = [source.region]
    if let rope {
      let rotations = try rotations(rope, headDim: headDim, rows: output.rows)
      turns = .place(rotations.place)
      reads.append(rotations.region)
    }
    let heads = output.width / headDim
    emit(
      "heads",
      constants: [gain.exists, rope == nil ? 0 : 1],
      bindings: [source.binding, gain.binding, turns, output.binding],
      push: [.count(heads), .count(headDim), .number(norm.epsilon)],
      rows: output.rows,
      shape: .rows(y: heads),
      reads: reads,
      writes: [output.region]
    )
  }

  mutating func lower(_ op: AppendKV) throws(ComputeError) {
    let keys = try memory.plane(Plane(op.keys))
    let values = try memory.plane(Plane(op.values))
    let cache = caches[op.cache.index]
    let shape = program[op.cache]
    let isQuantised = cache.type == .q8_0
    emit(
      isQuantised ? "append_q8_0" : "append",
      constants: isQuantised ? [] : [cache.typeNumber],
      bindings: [
        .place(host.rows), keys.binding, values.binding, .buffer(cache.keys),
        .buffer(cache.values),
      ],
      push: [.count(shape.kvHeadCount), .count(shape.headDim), .count(cache.capacity)],
      rows: .all,
      // Lanes have two values each, or two blocks of 32.
      shape: .columns(
        isQuantised ? shape.kvHeadCount * ((shape.headDim / 32 + 1) / 2) : shape.width / 2,
        planes: 1
      ),
      reads: [keys.region, values.region],
      writes: [Region(op.cache)]
    )
  }

  /// The sums of one chunk of rows are at most as large as this.
  private static let maxSumBytes = 64 << 20

  mutating func lower(_ op: Attend) throws(ComputeError) {
    let queries = try memory.plane(Plane(op.queries))
    let output = try memory.plane(Plane(op.output))
    let cache = program[op.cache]
    let together = tuning.attentionHeads(
      sharing: op.headCount / cache.kvHeadCount,
      headDim: cache.headDim
    )
    // A row that begins in the middle of a segment sees one more.
    let window = min(cache.window ?? limits.contextTokens, limits.contextTokens)
    let segment = Tuning.attentionSegment
    let segments = min((window - 1) / segment + 2, (limits.contextTokens - 1) / segment + 1)
    let rowByteCount = op.headCount * segments * cache.headDim * MemoryLayout<Float>.stride
    let chunk = min(
      limits.maxRows,
      max(1, min(Self.maxSumBytes, info.maxRangeBytes) / rowByteCount)
    )
    // One scratch for all layers of the same shape.
    let name = "attended \(op.headCount) \(segments) \(cache.headDim)"
    let sums = try memory.scratch(
      name,
      width: (rowByteCount / 4 * chunk + limits.maxRows - 1) / limits.maxRows,
      rows: output.rows
    )
    let powers = try memory.scratch(
      "powers of \(name)",
      width: (op.headCount * segments * 2 * chunk + limits.maxRows - 1) / limits.maxRows,
      rows: output.rows
    )
    for first in stride(from: 0, to: limits.maxRows, by: chunk) {
      let rows = first..<min(first + chunk, limits.maxRows)
      try emitAttention(
        op,
        queries: queries,
        output: output,
        rows: rows,
        heads: together,
        window: window,
        segments: segments,
        sums: sums.planes[0],
        powers: powers.planes[0]
      )
    }
  }

  private mutating func emitAttention(
    _ op: Attend,
    queries: RowPlane,
    output: RowPlane,
    rows: Range<Int>,
    heads: Int,
    window: Int,
    segments: Int,
    sums: RowPlane,
    powers: RowPlane
  ) throws(ComputeError) {
    let cache = program[op.cache]
    let storage = caches[op.cache.index]
    let push: [Push] = [
      .count(rows.lowerBound), .count(output.rows == .all ? 0 : limits.maxRows),
      .count(op.headCount), .count(cache.kvHeadCount), .count(storage.capacity), .count(window),
      .count(segments), .number(op.scale),
    ]
    emit(
      "attend",
      constants: [UInt32(heads), UInt32(cache.headDim), storage.typeNumber],
      bindings: [
        .place(host.rows), queries.binding, .buffer(storage.keys), .buffer(storage.values),
        sums.binding, powers.binding,
      ],
      push: push,
      rows: output.rows,
      rowRange: rows,
      shape: .indirect(
        try attentionGroups(output.rows, rows, headGroups: op.headCount / heads, window: window)
      ),
      reads: [queries.region, Region(op.cache)],
      writes: [sums.region, powers.region],
      // As if the context were half full.
      rowCost: op.headCount * cache.headDim * window
    )
    emit(
      "attend_merge",
      constants: [UInt32(cache.headDim)],
      bindings: [.place(host.rows), sums.binding, powers.binding, output.binding],
      push: push,
      rows: output.rows,
      rowRange: rows,
      shape: .rows(y: op.headCount),
      reads: [sums.region, powers.region],
      writes: [output.region]
    )
  }

  /// Returns where the host writes the workgroups of attention; ops with the same ones share them.
  private mutating func attentionGroups(
    _ rows: RowSet,
    _ rowRange: Range<Int>,
    headGroups: Int,
    window: Int
  ) throws(ComputeError) -> Place {
    let known = host.attention.first {
      $0.rows == rows && $0.rowRange == rowRange && $0.headGroups == headGroups
        && $0.window == window
    }
    if let known { return known.place }
    let place = try memory.place(.upload, byteCount: 12, purpose: "workgroups of attention")
    host.attention.append(
      HostWork.AttentionGroups(
        rows: rows,
        rowRange: rowRange,
        headGroups: headGroups,
        window: window,
        place: place
      )
    )
    return place
  }
}
