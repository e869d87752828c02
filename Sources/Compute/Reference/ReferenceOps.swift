// Each op of the reference, written like its formula in Ops.swift.

extension ReferenceExecutable {
  func normed(_ row: [Float], _ norm: NormParameters) -> [Float] {
    let factor = 1 / (meanSquare(row) + Double(norm.epsilon)).squareRoot()
    guard let weight = norm.weight else { return row.map { Float(Double($0) * factor) } }
    let gains = matrix(weight)
    return zip(row, gains).map { Float(Double($0) * factor * Double($1 + norm.gainOffset)) }
  }

  /// Norms each head of a row for itself.
  private func headsNormed(_ row: [Float], headDim: Int, _ norm: NormParameters) -> [Float] {
    stride(from: 0, to: row.count, by: headDim).flatMap {
      normed(Array(row[$0..<($0 + headDim)]), norm)
    }
  }

  private func headsRotated(
    _ row: [Float],
    headDim: Int,
    position: Int,
    rope: Rope
  ) -> [Float] {
    stride(from: 0, to: row.count, by: headDim).flatMap {
      rotated(Array(row[$0..<($0 + headDim)]), position: position, rope: rope)
    }
  }

  func embed(_ op: Embed, _ batch: Batch) {
    batch.forEach(in: program[op.output].rows) { index, source in
      let token = min(Int(source.token), op.table.rows.count - 1)
      setRow(Plane(op.output), index, row(token, of: op.table).map { $0 * op.scale })
    }
  }

  /// Brings `row` to the magnitude of `target`.
  private func matched(_ row: [Float], to target: [Float]) -> [Float] {
    let factor = meanSquare(target).squareRoot() / max(meanSquare(row), 1e-5).squareRoot()
    return row.map { Float(Double($0) * factor) }
  }

  func expandStreams(_ op: ExpandStreams) {
    for index in 0..<rowCount(op.output) {
      let input = row(Plane(op.input), index)
      setRow(Plane(op.output, 0), index, input)
      for (number, weight) in op.projections.enumerated() {
        setRow(Plane(op.output, number + 1), index, matched(product(weight, input), to: input))
      }
    }
  }

  func perLayerInputs(_ op: PerLayerInputs, _ batch: Batch) {
    batch.forEach(in: program[op.output].rows) { index, source in
      let context = product(op.projection, row(Plane(op.input), index))
        .map { $0 * op.projectionScale }
      let normedContext = headsNormed(context, headDim: op.width, op.norm)
      let known = Int(source.token) < op.table.rows.count
      let table = row(known ? Int(source.token) : 0, of: op.table, columns: op.tableColumns)
      let result = zip(normedContext, table).map { ($0 + $1 * op.tableScale) * op.outputScale }
      setRow(Plane(op.output), index, result)
    }
  }

  private func routed(_ router: Router, _ row: [Float]) -> [Float] {
    let scaled = normed(row, router.norm).map { $0 / Float(row.count) }
    return combination(router.weight, scaled).map { Float(hyperbolicTangent(Double($0))) }
  }

  func altupPredict(_ op: AltUpPredict) {
    let count = program[op.streams].planes
    for index in 0..<rowCount(op.output) {
      let streams = (0..<count).map { row(Plane(op.streams, $0), index) }
      let coefficients = combination(op.coefficients, routed(op.router, streams[op.active]))
      for output in 0..<count {
        var result = streams[output]
        for input in 0..<count {
          let factor = coefficients[count * output + input]
          for column in result.indices { result[column] += factor * streams[input][column] }
        }
        setRow(Plane(op.output, output), index, result)
      }
    }
  }

  func laurel(_ op: Laurel) {
    mapRows(Plane(op.input), op.output) { input in
      let low = self.product(op.left, input)
      return zip(input, self.normed(self.product(op.right, low), op.norm)).map { $0 + $1 }
    }
  }

  func projectKV(_ op: ProjectKV, _ batch: Batch) {
    batch.forEach(in: program[op.input].rows) { index, source in
      let input = row(Plane(op.input), index)
      let projected = product(op.keyWeight, input)
      let keys = headsNormed(projected, headDim: op.headDim, op.keyNorm)
      setRow(
        Plane(op.keys),
        index,
        headsRotated(keys, headDim: op.headDim, position: source.position, rope: op.rope)
      )
      var valueRow = op.valueWeight.map { product($0, input) } ?? projected
      if let norm = op.valueNorm { valueRow = headsNormed(valueRow, headDim: op.headDim, norm) }
      setRow(Plane(op.values), index, valueRow)
    }
  }

  func appendKV(_ op: AppendKV, _ batch: Batch) throws(ComputeError) {
    for (index, source) in batch.rows.enumerated() {
      let rows = CacheRows(
        layer: program[op.cache].layer,
        positions: source.position..<(source.position + 1),
        keys: row(Plane(op.keys), index),
        values: row(Plane(op.values), index)
      )
      try storages[op.cache.index].write(rows, slot: source.slot)
    }
  }

  func projectQueries(_ op: ProjectQueries, _ batch: Batch) {
    batch.forEach(in: program[op.input].rows) { index, source in
      let projected = product(op.weight, row(Plane(op.input), index))
      let queries = headsNormed(projected, headDim: op.headDim, op.norm)
      setRow(
        Plane(op.queries),
        index,
        headsRotated(queries, headDim: op.headDim, position: source.position, rope: op.rope)
      )
    }
  }

  func attend(_ op: Attend, _ batch: Batch) throws(ComputeError) {
    let cache = program[op.cache]
    let headDim = cache.headDim
    let sharing = op.headCount / cache.kvHeadCount
    try batch.forEach(in: program[op.queries].rows) { (index, source) throws(ComputeError) in
      let queries = row(Plane(op.queries), index)
      let seen = cache.seen(from: source.position).lowerBound..<(source.position + 1)
      let kept = try storages[op.cache.index].read(seen, slot: source.slot)
      var output: [Float] = []
      for head in 0..<op.headCount {
        let query = queries[(head * headDim)..<((head + 1) * headDim)]
        // The columns of the KV head that this query head reads, for each position.
        let columns = stride(from: 0, to: seen.count * cache.width, by: cache.width).map { first in
          (first + head / sharing * headDim)..<(first + (head / sharing + 1) * headDim)
        }
        let scores = columns.map { columns in
          zip(query, kept.keys[columns]).reduce(0.0) {
            $0 + Double($1.0) * Double($1.1)
          } * Double(op.scale)
        }
        var sums = Array(repeating: 0.0, count: headDim)
        for (columns, weight) in zip(columns, softmax(scores)) {
          for (column, value) in kept.values[columns].enumerated() {
            sums[column] += weight * Double(value)
          }
        }
        output += sums.map { Float($0) }
      }
      setRow(Plane(op.output), index, output)
    }
  }

  /// The number that a weight of one element holds; 1 without a weight.
  private func number(_ weight: WeightRef?) -> Float { weight.map { matrix($0)[0] } ?? 1 }

  func addNormed(_ op: AddNormed) {
    let scale = op.scale * number(op.outputScale)
    for index in 0..<rowCount(op.output) {
      var sum = Array(repeating: Float(0), count: width(op.output))
      for residual in op.residuals {
        for (column, value) in row(residual, index).enumerated() { sum[column] += value }
      }
      let added = normed(row(Plane(op.input), index), op.norm)
      let result = zip(sum, added).map { ($0 + $1) * scale }
      setRow(Plane(op.output), index, result)
      if let next = op.next { setRow(Plane(next.output), index, normed(result, next.norm)) }
    }
  }

  func feedForward(_ op: FeedForward, _ input: [Float]) -> [Float] {
    var gates = product(op.gate, input)
    if let deviations = op.sparsityDeviations {
      let count = Double(gates.count)
      let mean = gates.reduce(0.0) { $0 + Double($1) } / count
      let variance = gates.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / count
      let cutoff = Float(mean + Double(deviations) * variance.squareRoot())
      gates = gates.map { max(0, $0 - cutoff) }
    }
    let gated = zip(gates, product(op.up, input)).map { gelu($0) * $1 }
    return product(op.down, gated)
  }

  func altupCorrect(_ op: AltUpCorrect) {
    let count = program[op.predictions].planes
    let outputScale = op.outputScale.map { matrix($0) }
    for index in 0..<rowCount(op.scaled) {
      let activated = row(Plane(op.activated), index)
      let prediction = row(Plane(op.predictions, op.active), index)
      let delta = zip(activated, prediction).map { $0 - $1 }
      let factors = combination(op.coefficients, routed(op.router, activated)).map { $0 + 1 }
      for stream in 0..<count {
        let corrected = zip(row(Plane(op.predictions, stream), index), delta)
          .map { $0 + factors[stream] * $1 }
        setRow(Plane(op.streams, stream), index, corrected)
        guard stream == op.active else { continue }
        let scaled = outputScale.map { zip(corrected, $0).map { $0 * $1 } } ?? corrected
        setRow(Plane(op.scaled), index, scaled)
      }
    }
  }

  func injectPerLayerInput(_ op: InjectPerLayerInput) {
    let (count, scale) = (program[op.streams].planes, number(op.outputScale))
    for index in 0..<rowCount(op.input) {
      let gates = product(op.gate, row(Plane(op.input), index))
      let inputs = row(Plane(op.perLayerInputs), index)[op.columns]
      let gated = zip(gates, inputs).map { gelu($0) * $1 }
      let added = normed(product(op.projection, gated), op.norm)
      for stream in min(1, count - 1)..<count {
        let plane = Plane(op.streams, stream)
        setRow(plane, index, zip(row(plane, index), added).map { ($0 + $1) * scale })
      }
    }
  }

  func keepWanted(_ op: KeepWanted, _ batch: Batch) {
    for plane in 0..<program[op.input].planes {
      for (index, source) in batch.wantedRows.enumerated() {
        setRow(Plane(op.output, plane), index, row(Plane(op.input, plane), source))
      }
    }
  }

  func mergeStreams(_ op: MergeStreams) {
    for index in 0..<rowCount(op.output) {
      let first = row(Plane(op.streams, 0), index)
      var sum = first
      for (number, weight) in op.projections.enumerated() {
        let projected = product(weight, row(Plane(op.streams, number + 1), index))
        for (column, value) in matched(projected, to: first).enumerated() { sum[column] += value }
      }
      let mean = sum.map { $0 / Float(op.projections.count + 1) }
      setRow(Plane(op.output), index, normed(mean, op.norm))
    }
  }
}
