// The invariants of a program as code. Every backend may rely on them.

extension Program {
  /// Checks that the program is consistent: identifiers exist, buffers are written before they are
  /// read, shapes and row sets agree, outputs are produced, logits are computed once.
  ///
  /// - Throws: `ComputeError` with code `invalidProgram`, naming the op.
  package func validate() throws(ComputeError) {
    var checker = ProgramChecker(program: self)
    for (index, buffer) in buffers.enumerated() where buffer.width <= 0 || buffer.planes <= 0 {
      throw ComputeError(
        .invalidProgram,
        "buffer \(index) (\(buffer.name)) is \(buffer.planes) × \(buffer.width)"
      )
    }
    for input in inputs { try checker.write(input, planes: nil, width: nil, "input") }
    for (index, op) in ops.enumerated() {
      try checker.check(op, "op \(index) (\(op.name))")
    }
    for output in outputs { _ = try checker.read(output, "output") }
    let logitsCount = ops.count { if case .logits = $0 { true } else { false } }
    guard logitsCount <= 1 else {
      throw ComputeError(
        .invalidProgram,
        "\(logitsCount) ops compute logits, but a stage has at most one range of them"
      )
    }
  }
}

/// Keeps track of what has been written at each point of a program.
private struct ProgramChecker {
  let program: Program
  var written: Set<BufferID> = []
  var filledCaches: Set<CacheID> = []

  func buffer(_ id: BufferID, _ place: String) throws(ComputeError) -> Buffer {
    guard program.buffers.indices.contains(id.index) else {
      throw ComputeError(.invalidProgram, "no buffer \(id.index)", context: place)
    }
    return program[id]
  }

  @discardableResult
  func read(
    _ id: BufferID,
    planes: Int? = nil,
    width: Int? = nil,
    _ place: String
  ) throws(ComputeError) -> Buffer {
    let buffer = try buffer(id, place)
    guard written.contains(id) else {
      throw ComputeError(
        .invalidProgram,
        "\(buffer.name) is read before it is written",
        context: place
      )
    }
    try checkShape(buffer, planes: planes, width: width, place)
    return buffer
  }

  mutating func write(
    _ id: BufferID,
    planes: Int?,
    width: Int?,
    rows: RowSet? = nil,
    _ place: String
  ) throws(ComputeError) {
    let buffer = try buffer(id, place)
    try checkShape(buffer, planes: planes, width: width, place)
    if let rows, buffer.rows != rows {
      throw ComputeError(
        .invalidProgram,
        "\(buffer.name) holds \(buffer.rows) rows, \(rows) are written",
        context: place
      )
    }
    written.insert(id)
  }

  func checkShape(
    _ buffer: Buffer,
    planes: Int?,
    width: Int?,
    _ place: String
  ) throws(ComputeError) {
    if let planes, buffer.planes != planes {
      throw ComputeError(
        .invalidProgram,
        "\(buffer.name) has \(buffer.planes) planes, \(planes) expected",
        context: place
      )
    }
    if let width, buffer.width != width {
      throw ComputeError(
        .invalidProgram,
        "\(buffer.name) is \(buffer.width) wide, \(width) expected",
        context: place
      )
    }
  }

  func check(
    _ weight: WeightRef?,
    rows: Int?,
    columns: Int,
    _ place: String
  ) throws(ComputeError) {
    guard let weight else { return }
    guard weight.columns == columns, rows == nil || weight.rows.count == rows else {
      throw ComputeError(
        .invalidProgram,
        "\(weight.name) is [\(weight.rows.count), \(weight.columns)], "
          + "[\(rows.map(String.init) ?? "any"), \(columns)] expected",
        context: place
      )
    }
    guard weight.type.byteCount(columns: columns) != nil else {
      throw ComputeError(
        .invalidProgram,
        "\(weight.name): blocks of \(weight.type) do not divide \(columns)",
        context: place
      )
    }
  }

  func check(_ norm: NormParameters, width: Int, _ place: String) throws(ComputeError) {
    try check(norm.weight, rows: 1, columns: width, place)
  }

  func check(_ plane: Plane, _ place: String) throws(ComputeError) -> Buffer {
    let buffer = try read(plane.buffer, place)
    guard (0..<buffer.planes).contains(plane.index) else {
      throw ComputeError(
        .invalidProgram,
        "\(buffer.name) has no plane \(plane.index)",
        context: place
      )
    }
    return buffer
  }

  func cache(_ id: CacheID, _ place: String) throws(ComputeError) -> Cache {
    guard program.caches.indices.contains(id.index) else {
      throw ComputeError(.invalidProgram, "no cache \(id.index)", context: place)
    }
    return program[id]
  }

  func require(_ condition: Bool, _ message: String, _ place: String) throws(ComputeError) {
    if !condition { throw ComputeError(.invalidProgram, message, context: place) }
  }
}

extension ProgramChecker {
  mutating func check(_ op: Op, _ place: String) throws(ComputeError) {
    switch op {
    case .embed(let op):
      try check(op.table, rows: nil, columns: op.table.columns, place)
      try write(op.output, planes: 1, width: op.table.columns, place)
    case .expandStreams(let op): try check(op, place)
    case .perLayerInputs(let op): try check(op, place)
    case .altupPredict(let op): try check(op, place)
    case .norm(let op):
      let input = try check(op.input, place)
      try check(op.norm, width: input.width, place)
      try write(op.output, planes: 1, width: input.width, rows: input.rows, place)
    case .laurel(let op):
      let input = try read(op.input, planes: 1, place)
      try check(op.left, rows: nil, columns: input.width, place)
      try check(op.right, rows: input.width, columns: op.left.rows.count, place)
      try check(op.norm, width: input.width, place)
      try write(op.output, planes: 1, width: input.width, rows: input.rows, place)
    case .projectKV(let op): try check(op, place)
    case .appendKV(let op):
      let cache = try cache(op.cache, place)
      for id in [op.keys, op.values] {
        let rows = try read(id, planes: 1, width: cache.width, place)
        try require(rows.rows == .all, "\(rows.name) must hold all rows", place)
      }
      filledCaches.insert(op.cache)
    case .projectQueries(let op): try check(op, place)
    case .attend(let op): try check(op, place)
    case .matmul(let op):
      let input = try read(op.input, planes: 1, place)
      try check(op.weight, rows: nil, columns: input.width, place)
      try write(op.output, planes: 1, width: op.weight.rows.count, rows: input.rows, place)
    case .addNormed(let op): try check(op, place)
    case .feedForward(let op):
      let input = try read(op.input, planes: 1, place)
      try check(op.gate, rows: nil, columns: input.width, place)
      try check(op.up, rows: op.gate.rows.count, columns: input.width, place)
      try check(op.down, rows: input.width, columns: op.gate.rows.count, place)
      try write(op.output, planes: 1, width: input.width, rows: input.rows, place)
    case .altupCorrect(let op): try check(op, place)
    case .injectPerLayerInput(let op): try check(op, place)
    case .keepWanted(let op):
      let input = try read(op.input, place)
      try require(input.rows == .all, "\(input.name) must hold all rows", place)
      try write(op.output, planes: input.planes, width: input.width, rows: .wanted, place)
    case .mergeStreams(let op):
      let streams = try read(op.streams, planes: op.projections.count + 1, place)
      for weight in op.projections {
        try check(weight, rows: streams.width, columns: streams.width, place)
      }
      try check(op.norm, width: streams.width, place)
      try write(op.output, planes: 1, width: streams.width, rows: streams.rows, place)
    case .logits(let op):
      let input = try read(op.input, planes: 1, place)
      try check(op.weight, rows: nil, columns: input.width, place)
      try write(op.output, planes: 1, width: op.weight.rows.count, rows: input.rows, place)
    }
  }

  private mutating func check(_ op: ExpandStreams, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    for weight in op.projections {
      try check(weight, rows: input.width, columns: input.width, place)
    }
    try write(
      op.output,
      planes: op.projections.count + 1,
      width: input.width,
      rows: input.rows,
      place
    )
  }

  private mutating func check(_ op: PerLayerInputs, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    try require(
      op.tableColumns.lowerBound >= 0 && op.tableColumns.upperBound <= op.table.columns,
      "columns \(op.tableColumns) of a table of \(op.table.columns)",
      place
    )
    try require(
      op.width > 0 && op.tableColumns.count.isMultiple(of: op.width),
      "\(op.tableColumns.count) columns are not layers of \(op.width)",
      place
    )
    try check(op.projection, rows: op.tableColumns.count, columns: input.width, place)
    try check(op.norm, width: op.width, place)
    try write(op.output, planes: 1, width: op.tableColumns.count, rows: input.rows, place)
  }

  private func check(
    _ router: Router,
    streams: Int,
    width: Int,
    _ place: String
  ) throws(ComputeError) {
    try check(router.weight, rows: streams, columns: width, place)
    try check(router.norm, width: width, place)
  }

  private mutating func check(_ op: AltUpPredict, _ place: String) throws(ComputeError) {
    let streams = try read(op.streams, place)
    try require(
      (0..<streams.planes).contains(op.active),
      "no stream \(op.active) to be active",
      place
    )
    try check(op.router, streams: streams.planes, width: streams.width, place)
    try check(
      op.coefficients,
      rows: streams.planes * streams.planes,
      columns: streams.planes,
      place
    )
    try write(
      op.output,
      planes: streams.planes,
      width: streams.width,
      rows: streams.rows,
      place
    )
  }

  private func check(
    heads rows: Int,
    of headDim: Int,
    _ name: String,
    _ place: String
  ) throws(ComputeError) {
    try require(
      headDim > 0 && headDim.isMultiple(of: 2),
      "head dim \(headDim) is not even",
      place
    )
    try require(
      rows.isMultiple(of: headDim),
      "\(rows) \(name) rows are not heads of \(headDim)",
      place
    )
  }

  private func check(_ rope: Rope, headDim: Int, _ place: String) throws(ComputeError) {
    guard let pairs = rope.rotatedPairs else { return }
    try require(
      (0...(headDim / 2)).contains(pairs),
      "\(pairs) pairs of a head of \(headDim) are rotated",
      place
    )
  }

  private mutating func check(_ op: ProjectKV, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    let width = op.keyWeight.rows.count
    try check(heads: width, of: op.headDim, "key", place)
    try check(op.rope, headDim: op.headDim, place)
    try check(op.keyWeight, rows: width, columns: input.width, place)
    try check(op.valueWeight, rows: width, columns: input.width, place)
    try check(op.keyNorm, width: op.headDim, place)
    if let norm = op.valueNorm { try check(norm, width: op.headDim, place) }
    try write(op.keys, planes: 1, width: width, rows: input.rows, place)
    try write(op.values, planes: 1, width: width, rows: input.rows, place)
  }

  private mutating func check(_ op: ProjectQueries, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    let width = op.weight.rows.count
    try check(heads: width, of: op.headDim, "query", place)
    try check(op.rope, headDim: op.headDim, place)
    try check(op.weight, rows: width, columns: input.width, place)
    try check(op.norm, width: op.headDim, place)
    try write(op.queries, planes: 1, width: width, rows: input.rows, place)
  }

  private mutating func check(_ op: Attend, _ place: String) throws(ComputeError) {
    let cache = try cache(op.cache, place)
    try require(
      filledCaches.contains(op.cache),
      "cache of layer \(cache.layer) is read before it is written",
      place
    )
    try require(
      op.headCount > 0 && op.headCount.isMultiple(of: cache.kvHeadCount),
      "\(op.headCount) heads do not share \(cache.kvHeadCount) KV heads evenly",
      place
    )
    let queries = try read(op.queries, planes: 1, width: op.headCount * cache.headDim, place)
    try write(op.output, planes: 1, width: queries.width, rows: queries.rows, place)
  }

  private mutating func check(_ op: AddNormed, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    try check(op.norm, width: input.width, place)
    for residual in op.residuals {
      let buffer = try check(residual, place)
      try require(
        buffer.width == input.width && buffer.rows == input.rows,
        "residual \(buffer.name) has another shape than \(input.name)",
        place
      )
    }
    try check(op.outputScale, rows: 1, columns: 1, place)
    try write(op.output, planes: 1, width: input.width, rows: input.rows, place)
    guard let next = op.next else { return }
    try check(next.norm, width: input.width, place)
    try write(next.output, planes: 1, width: input.width, rows: input.rows, place)
  }

  private mutating func check(_ op: AltUpCorrect, _ place: String) throws(ComputeError) {
    let predictions = try read(op.predictions, place)
    let activated = try read(op.activated, planes: 1, width: predictions.width, place)
    try require(
      activated.rows == predictions.rows,
      "\(activated.name) has other rows than the predictions",
      place
    )
    try require(
      (0..<predictions.planes).contains(op.active),
      "no stream \(op.active) to be active",
      place
    )
    try check(op.router, streams: predictions.planes, width: predictions.width, place)
    try check(op.coefficients, rows: predictions.planes, columns: predictions.planes, place)
    try check(op.outputScale, rows: 1, columns: predictions.width, place)
    try write(
      op.streams,
      planes: predictions.planes,
      width: predictions.width,
      rows: predictions.rows,
      place
    )
    try write(op.scaled, planes: 1, width: predictions.width, rows: predictions.rows, place)
  }

  private mutating func check(_ op: InjectPerLayerInput, _ place: String) throws(ComputeError) {
    let input = try read(op.input, planes: 1, place)
    let perLayer = try read(op.perLayerInputs, planes: 1, place)
    try require(
      op.columns.lowerBound >= 0 && op.columns.upperBound <= perLayer.width,
      "columns \(op.columns) of \(perLayer.name), which is \(perLayer.width) wide",
      place
    )
    try check(op.gate, rows: op.columns.count, columns: input.width, place)
    try check(op.projection, rows: input.width, columns: op.columns.count, place)
    try check(op.norm, width: input.width, place)
    try check(op.outputScale, rows: 1, columns: 1, place)
    let streams = try read(op.streams, width: input.width, place)
    try require(
      streams.rows == input.rows && perLayer.rows == input.rows,
      "\(streams.name), \(perLayer.name) and \(input.name) hold different rows",
      place
    )
  }
}
