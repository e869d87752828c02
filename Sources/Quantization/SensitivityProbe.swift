// Measures what errors in each group of weights do to the next token's distribution: the group is quantised, all else
// stays as it is, and the divergence of the logits is what it costs.

package import Compute
package import Gemma

/// Weights that are quantised together to see what it does.
package struct ProbeGroup: Sendable, Hashable {
  /// For people, such as `ffn_down, layers 0 to 4`.
  package var title: String
  /// The weights' canonical names.
  package var weights: Set<String>

  package init(title: String, weights: Set<String>) {
    self.title = title
    self.weights = weights
  }
}

/// What quantising a group has cost.
package struct GroupSensitivity: Sendable {
  package var group: ProbeGroup
  /// The mean divergence of the logits in nats.
  package var klDivergence: Double
}

/// Measures the sensitivity of groups of weights.
package struct SensitivityProbe {
  private let checkpoint: Checkpoint
  private let stream: LayerStream
  private let importance: Importance?
  private let threads: Int
  private let activationByteCount: Int
  /// The exported tensor that holds a weight, and which of its matrices it is.
  private let tensors: [String: (tensor: ExportedTensor, matrix: Int)]
  /// The type that a tensor is quantised to.
  private let type: (ExportedTensor) -> TensorType

  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - tensors: Its tensors.
  ///   - type: The type that a tensor is quantised to, if its blocks divide a row.
  ///   - windows: The tokens that are run, of each window at least one.
  ///   - importance: What errors cost in each column; nil if the same in all.
  ///   - backend: What computes.
  ///   - threads: How many threads encode.
  ///   - activationByteCount: Memory for the activations of groups that are measured at once; more groups take several
  ///     passes.
  package init(
    _ checkpoint: Checkpoint,
    _ tensors: [ExportedTensor],
    to type: @escaping (ExportedTensor) -> TensorType,
    windows: [[Int32]],
    importance: Importance?,
    on backend: any Backend,
    threads: Int,
    activationByteCount: Int = 400 << 20
  ) {
    self.activationByteCount = activationByteCount
    self.checkpoint = checkpoint
    self.importance = importance
    self.threads = threads
    self.type = type
    stream = LayerStream(checkpoint.config, on: backend, windows: windows)
    var places: [String: (ExportedTensor, Int)] = [:]
    for tensor in tensors {
      for (matrix, weight) in tensor.weights.enumerated() {
        places[weight.canonical] = (tensor, matrix)
      }
    }
    self.tensors = places
  }

  /// A group while it is measured.
  private struct Variant {
    var group: ProbeGroup
    /// Nil as long as they are the model's own.
    var activations: LayerStream.Activations?
    /// Of each row of all windows.
    var divergences: [LogitDivergence] = []
  }

  /// Measures groups.
  ///
  /// - Parameters:
  ///   - groups: The groups; a weight may be in several.
  ///   - progress: Called with the fraction that is done; what it throws ends the measurement.
  /// - Returns: What each costs, in the order of the groups.
  /// - Throws: What the backend throws, and `QuantizationError` for weights that cannot be quantised.
  package func measure(
    _ groups: [ProbeGroup],
    progress: (Double) throws -> Void
  ) throws -> [GroupSensitivity] {
    let config = checkpoint.config
    // The streams, and twice as much for what a layer hands on besides.
    let byteCount =
      stream.tokenCount * config.hiddenSize * (config.streamCount + 2) * MemoryLayout<Float>.stride
    let atOnce = max(1, activationByteCount / max(byteCount, 1))
    var results: [GroupSensitivity] = []
    for first in stride(from: 0, to: groups.count, by: atOnce) {
      let some = Array(groups[first..<min(first + atOnce, groups.count)])
      results += try measureTogether(some) { fraction in
        try progress((Double(first) + fraction * Double(some.count)) / Double(groups.count))
      }
    }
    return results
  }

  private func measureTogether(
    _ groups: [ProbeGroup],
    progress: (Double) throws -> Void
  ) throws -> [GroupSensitivity] {
    var variants = groups.map { Variant(group: $0) }
    var base: LayerStream.Activations = []
    let (layerCount, slices) = (checkpoint.config.layers.count, stream.vocabularySlices)
    let steps = Double(layerCount + slices.count)
    for layer in 0..<layerCount {
      base = try run(stream.slice(layer: layer), base, &variants) {
        try progress((Double(layer) + $0) / steps)
      }
    }
    for index in variants.indices {
      variants[index].divergences = Array(
        repeating: LogitDivergence(),
        count: stream.tokenCount
      )
    }
    for (index, slice) in slices.enumerated() {
      try compareLogits(slice, base, &variants) {
        try progress((Double(layerCount + index) + $0) / steps)
      }
    }
    try progress(1)
    return variants.map { variant in
      let divergences = variant.divergences.map(\.klDivergence)
      return GroupSensitivity(
        group: variant.group,
        klDivergence: divergences.reduce(0, +) / Double(max(divergences.count, 1))
      )
    }
  }

  /// Runs the model and all variants through a slice; returns the model's activations behind it.
  private func run(
    _ slice: ModelSlice,
    _ base: LayerStream.Activations,
    _ variants: inout [Variant],
    progress: (Double) throws -> Void
  ) throws -> LayerStream.Activations {
    let own = try decoded(slice)
    let runner = try stream.prepare(slice, own)
    let used = Set(runner.program.ops.flatMap(\.weights).map(\.name))
    for index in variants.indices {
      try progress(Double(index) / Double(variants.count))
      let differing = used.intersection(variants[index].group.weights)
      guard differing.isEmpty else {
        let other = try replace(differing, in: own, slice)
        let changed = try stream.prepare(slice, other, sharing: runner, slots: 2)
        variants[index].activations = try stream.run(changed, variants[index].activations ?? base)
        continue
      }
      guard let activations = variants[index].activations else { continue }
      variants[index].activations = try stream.run(runner, activations)
    }
    return try stream.run(runner, base)
  }

  private func compareLogits(
    _ slice: ModelSlice,
    _ base: LayerStream.Activations,
    _ variants: inout [Variant],
    progress: (Double) throws -> Void
  ) throws {
    let own = try decoded(slice)
    let runner = try stream.prepare(slice, own)
    let head = Set(runner.program.ops.flatMap(\.weights).map(\.name))
    let reference = try stream.run(runner, base)
    for index in variants.indices {
      try progress(Double(index) / Double(variants.count))
      let differing = head.intersection(variants[index].group.weights)
      var changed = runner
      if !differing.isEmpty {
        let other = try replace(differing, in: own, slice)
        changed = try stream.prepare(slice, other, sharing: runner, slots: 2)
      }
      let logits = try stream.run(changed, variants[index].activations ?? base)
      // The logits come last of a slice's outputs.
      let pairs = zip(logits, reference).map { ($0.last ?? [], $1.last ?? []) }
      add(pairs, width: slice.vocabulary.count, to: &variants[index].divergences)
    }
  }

  /// Adds a piece of the vocabulary to the divergence of each row, on all threads.
  private func add(
    _ logits: [(own: [Float], reference: [Float])],
    width: Int,
    to divergences: inout [LogitDivergence]
  ) {
    var rows: [(window: Int, row: Int)] = []
    for (window, tokens) in stream.windows.enumerated() {
      rows += tokens.indices.map { (window, $0) }
    }
    let places = rows
    unsafe divergences.withUnsafeMutableBufferPointer { divergences in
      let results = unsafe SharedDivergences(rows: divergences)
      concurrently(places.count, threads: threads) { index in
        let (window, row) = places[index]
        let columns = (row * width)..<((row + 1) * width)
        unsafe results.rows[index].add(
          logits[window].own[columns],
          from: logits[window].reference[columns]
        )
      }
    }
  }

  // @unchecked Sendable: each row has its own place, and one thread at a time writes it.
  @unsafe private struct SharedDivergences: @unchecked Sendable {
    let rows: UnsafeMutableBufferPointer<LogitDivergence>
  }
}

// MARK: - Weights

extension SensitivityProbe {
  /// Returns the model's weights for a slice, as f32 where they are stored in blocks.
  ///
  /// Backends multiply floats by floats. Blocks they multiply by rounded activations, whose error would be taken for
  /// that of the weights.
  private func decoded(_ slice: ModelSlice) throws -> ReplacedWeights {
    var weights = ReplacedWeights(checkpoint: checkpoint)
    for ref in try weightsUsed(slice)
    where ref.type.isQuantised && weights.replaced[ref.name] == nil {
      guard let (tensor, matrix) = tensors[ref.name] else { continue }
      weights.replaced[ref.name] = try rows(ref, slice) { rows in
        try tensor.values(rows: shifted(rows, tensor, matrix)).map { $0 - tensor.added }
      }
    }
    return weights
  }

  /// Quantises some of the weights of a slice.
  private func replace(
    _ names: Set<String>,
    in weights: ReplacedWeights,
    _ slice: ModelSlice
  ) throws -> ReplacedWeights {
    var weights = weights
    for ref in try weightsUsed(slice) where names.contains(ref.name) {
      guard let (tensor, matrix) = tensors[ref.name] else { continue }
      let encoder = RowEncoder(
        type(tensor).fitting(columns: ref.columns),
        columns: ref.columns,
        importance: importance?.columns(of: tensor, matrix: matrix),
        threads: threads
      )
      weights.replaced[ref.name] = try rows(ref, slice) { rows in
        let values = try tensor.values(rows: shifted(rows, tensor, matrix))
        let decoded = encoder.decode(try encoder.encode(values, of: tensor.name).bytes)
        return tensor.added == 0 ? decoded : decoded.map { $0 - tensor.added }
      }
    }
    return weights
  }

  /// Where rows of a weight are in the tensor that holds it.
  private func shifted(_ rows: Range<Int>, _ tensor: ExportedTensor, _ matrix: Int) -> Range<Int> {
    let first = matrix * tensor.matrixRowCount
    return (rows.lowerBound + first)..<(rows.upperBound + first)
  }

  private func weightsUsed(_ slice: ModelSlice) throws -> Set<WeightRef> {
    let program = try stream.config.lower(slice, weights: checkpoint)
    // Of a weight that is a table here and a matrix there, the larger part has both.
    var widest: [String: WeightRef] = [:]
    for ref in program.ops.flatMap(\.weights) {
      if let known = widest[ref.name], known.rows.count >= ref.rows.count { continue }
      widest[ref.name] = ref
    }
    return Set(widest.values)
  }

  /// Returns a weight's rows with new values: those of a table that the windows' tokens use, or all.
  private func rows(
    _ ref: WeightRef,
    _ slice: ModelSlice,
    _ values: (Range<Int>) throws -> [Float]
  ) throws -> ReplacedRows {
    let isTable =
      !slice.layers.isEmpty
      && [ModelWeight.embedTokens.canonical, ModelWeight.embedTokensPerLayer.canonical]
        .contains(ref.name)
    guard isTable else {
      return try ReplacedRows(ref.rows, columns: ref.columns, values: try values(ref.rows))
    }
    var some: [Int: ArraySlice<Float>] = [:]
    for token in Set(stream.windows.joined()) {
      // Tokens beyond a table use its first row.
      let row = Int(token) < ref.rows.count ? Int(token) : 0
      some[row] = try values(row..<(row + 1))[...]
    }
    return try ReplacedRows(of: ref.rows.upperBound, columns: ref.columns, some: some)
  }
}
