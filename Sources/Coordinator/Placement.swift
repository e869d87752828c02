// Which worker holds which slice of the model.

package import Gemma

/// The slice of each stage, in pipeline order.
package struct Placement: Sendable, Hashable {
  /// The slices are contiguous, not empty, and reach from layer 0 to the end of the vocabulary.
  package let stages: [ModelSlice]

  /// - Precondition: The stages cover a model without gaps.
  package init(stages: [ModelSlice]) {
    precondition(stages.allSatisfy { !$0.isEmpty }, "an empty stage in \(stages)")
    self.stages = stages
  }

  /// Cuts the layers by a split, for example `10,10,10`, and the vocabulary after them by another.
  ///
  /// - Parameters:
  ///   - split: The number of layers of each stage; after the last layer, 0 for stages that only
  ///     compute logits.
  ///   - logitsSplit: Proportions of the vocabulary, from the stage with the last layer on; if
  ///     empty, that stage holds all of it.
  ///   - line: The model.
  ///   - workerCount: How many stages there must be.
  /// - Throws: `CoordinatorError` with code `placement` if the split does not add up to the layers,
  ///   has an empty stage, or does not have as many stages as there are workers.
  package init(
    split: [Int],
    logitsSplit: [Int] = [],
    line: ModelLine,
    workerCount: Int
  ) throws(CoordinatorError) {
    let text = Self.text(split)
    guard split.count == workerCount else {
      throw CoordinatorError(
        .placement,
        "split \(text) has \(split.count) stages for \(workerCount) devices; give one number for each device"
      )
    }
    // After the last layer a stage may hold vocabulary rows alone.
    let holder = (split.lastIndex { $0 > 0 }) ?? 0
    let layered = logitsSplit.isEmpty ? split[...] : split[...holder]
    guard layered.allSatisfy({ $0 > 0 }) else {
      throw CoordinatorError(
        .placement,
        "split \(text) has a stage without layers; every stage needs at least one"
          + (logitsSplit.isEmpty ? "" : " up to that with the last")
      )
    }
    var sum = 0
    for part in layered {
      let (next, overflow) = sum.addingReportingOverflow(part)
      guard !overflow else {
        throw CoordinatorError(.placement, "split \(text) is out of range")
      }
      sum = next
    }
    guard sum == line.layerCount else {
      throw CoordinatorError(
        .placement,
        "split \(text) adds up to \(sum) layers, but the model has \(line.layerCount)"
      )
    }
    let rows = try Self.rows(
      logitsSplit.isEmpty ? [1] : logitsSplit,
      line,
      stageCount: split.count - holder
    )
    var first = 0
    stages = split.enumerated().map { stage, count in
      defer { first += count }
      return ModelSlice(
        layers: first..<(first + count),
        vocabulary: stage < holder ? 0..<0 : rows[stage - holder]
      )
    }
  }

  private static func text(_ split: [Int]) -> String {
    split.map(String.init).joined(separator: ",")
  }

  /// Cuts the vocabulary in proportion; only the first part, whose stage has layers, may be empty.
  private static func rows(
    _ proportions: [Int],
    _ line: ModelLine,
    stageCount: Int
  ) throws(CoordinatorError) -> [Range<Int>] {
    let text = "logits split \(text(proportions))"
    guard proportions.count == stageCount else {
      throw CoordinatorError(
        .placement,
        "\(text) has \(proportions.count) numbers; from the stage with the last layer on there are "
          + "\(stageCount), give one for each"
      )
    }
    guard proportions.allSatisfy({ $0 >= 0 }), proportions.dropFirst().allSatisfy({ $0 > 0 }),
      proportions.contains(where: { $0 > 0 })
    else {
      throw CoordinatorError(
        .placement,
        "\(text) leaves a stage without layers and vocabulary rows; only the first may be 0"
      )
    }
    let total = proportions.reduce(0.0) { $0 + Double($1) }
    var sum = 0.0
    let ends =
      proportions.map { part in
        sum += Double(part)
        let granules = Double(line.vocabularySize) * (sum / total) / Double(line.rowGranule)
        return min(line.vocabularySize, Int(granules.rounded()) * line.rowGranule)
      }
      .dropLast() + [line.vocabularySize]
    let rows = zip([0] + ends, ends).map { $0..<$1 }
    if let empty = rows.dropFirst().firstIndex(where: \.isEmpty) {
      throw CoordinatorError(
        .placement,
        "\(text): \(proportions[empty]) is too small a part of \(line.vocabularySize) vocabulary rows, "
          + "which are cut at multiples of \(line.rowGranule)"
      )
    }
    return rows
  }
}

// MARK: - By cost

extension Placement {
  /// Cuts the model so that the slowest stage is as fast as possible.
  ///
  /// A stage costs what its slice reads, divided by its rate (bytes per second, or anything
  /// proportional, such as threads), because decoding is memory-bound. The cut is exact over the
  /// pieces of the line, by dynamic programming over the stages. The vocabulary is cut only where
  /// that pays off, because a stage hands on the logits that it has, up to a megabyte per row.
  ///
  /// - Parameters:
  ///   - cost: What each layer and the logits read.
  ///   - rates: The rate of each stage.
  ///   - sharing: Which stages take from one memory, and what they hold of it; nil if none do.
  ///   - fits: Whether a stage can hold a slice, whatever the others hold.
  /// - Throws: `CoordinatorError` with code `placement` if there are more workers than layers, or
  ///   if no cut fits all workers.
  package init(
    cost: DecodeCost,
    rates: [Double],
    sharing: SharedMemory? = nil,
    fits: (_ stage: Int, _ slice: ModelSlice) -> Bool = { _, _ in true }
  ) throws(CoordinatorError) {
    let line = cost.line
    guard rates.count <= line.layerCount, !rates.isEmpty else {
      throw CoordinatorError(
        .placement,
        "\(rates.count) devices for \(line.layerCount) layers; each needs at least one layer"
      )
    }
    let all = Array(0...line.pieceCount)
    let cuts = withoutActuallyEscaping(fits) { fits in
      let search = CutSearch(cost: cost, rates: rates, fits: fits, sharing: sharing)
      return (
        whole: search.best(at: all.prefix(line.layerCount) + [line.pieceCount]),
        fine: search.best(at: all)
      )
    }
    guard let fine = cuts.fine else {
      throw CoordinatorError(
        .placement,
        "no cut of \(line.layerCount) layers and the logits fits all workers"
      )
    }
    var ends = fine.ends
    if let whole = cuts.whole, fine.slowest * (1 + Planner.worthwhileGain) >= whole.slowest {
      ends = whole.ends
    }
    self.init(stages: zip([0] + ends, ends).map { line.slice(pieces: $0..<$1) })
  }
}
