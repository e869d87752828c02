// The recipe hybrid-q4: how much an error in each group of weights costs is measured, how large the errors of each
// type are is measured, too, and the types are chosen by that.

package import Compute
package import Gemma

/// A choice of types by measurement.
package struct HybridRecipe {
  /// A device that a file is made for.
  package enum Target: String, Sendable, CaseIterable {
    case cpu, vulkan, npu
  }

  private let checkpoint: Checkpoint
  private let tensors: [ExportedTensor]
  private let target: Target?
  private let importance: Importance?
  private let threads: Int

  /// - Parameters:
  ///   - checkpoint: The source.
  ///   - tensors: Its tensors.
  ///   - target: The device that the file is made for; nil for any.
  ///   - importance: What errors cost in each column; nil if the same in all.
  ///   - threads: How many threads encode.
  package init(
    _ checkpoint: Checkpoint,
    _ tensors: [ExportedTensor],
    for target: Target?,
    importance: Importance?,
    threads: Int
  ) {
    self.checkpoint = checkpoint
    self.tensors = tensors
    self.target = target
    self.importance = importance
    self.threads = threads
  }

  /// The types that a target runs at full speed.
  ///
  /// A GPU looks quants up in a table half as fast again as it decodes others (kernels/vulkan/STATISTICS.md). An NPU's
  /// host packs all types alike.
  package var candidates: [TensorType] {
    let plain: [TensorType] = [
      .q2_K, .q3_K, .q4_0, .q4_1, .q4_K, .q5_0, .q5_1, .q5_K, .q6_K, .q8_0,
    ]
    return target == .vulkan ? plain : plain + [.iq4_nl, .iq4_xs]
  }

  /// Returns the types that are tried for a tensor: those whose blocks divide a row.
  ///
  /// A CPU skips the columns of a sparse feed-forward that meet only zeros, which is most of them, if they are q4_0
  /// (`matmul_columns` of kernels/cpu/columns.h).
  private func candidates(for tensor: ExportedTensor) -> [TensorType] {
    let fitting = candidates.filter { $0.byteCount(columns: tensor.columnCount) != nil }
    return skipsColumns(of: .down, tensor) && fitting.contains(.q4_0) ? [.q4_0] : fitting
  }

  /// Whether a tensor is this part of a feed-forward whose columns the target skips.
  private func skipsColumns(of part: LayerWeight, _ tensor: ExportedTensor) -> Bool {
    guard target == .cpu, case .layer(let layer, part)? = tensor.weights.first else { return false }
    return checkpoint.config.layers[layer].sparsityDeviations != nil
  }

  /// How groups of weights react.
  package struct Sensitivities: Sendable {
    package var groups: [GroupSensitivity]
    /// Groups that are never quantised, measured so that the report can say why.
    package var kept: [GroupSensitivity]
  }

  // MARK: Groups

  /// In how many bands of layers each kind of weight is measured.
  private static let bandCount = 6

  /// The groups whose sensitivity is measured: each kind of matrix in each band of layers, and the matrices outside
  /// the layers.
  package var groups: [ProbeGroup] { groups { Self.isChosen($0) } }

  /// What stays a float: norms and coefficients.
  package var keptGroups: [ProbeGroup] {
    groups(bands: 1) { !Self.isChosen($0) && Self.hasWholeBlocks($0) }
  }

  /// Whether a tensor's type is chosen by what was measured.
  ///
  /// That includes the small matrices that llama-quantize leaves alone: readers take them in any type.
  private static func isChosen(_ tensor: ExportedTensor) -> Bool {
    tensor.precision != .single && tensor.isWeight && hasWholeBlocks(tensor)
  }

  private static func hasWholeBlocks(_ tensor: ExportedTensor) -> Bool {
    tensor.columnCount.isMultiple(of: TensorType.q8_0.blockLength)
  }

  private func groups(
    bands: Int = bandCount,
    _ isIncluded: (ExportedTensor) -> Bool
  ) -> [ProbeGroup] {
    let layerCount = checkpoint.config.layers.count
    let bandCount = min(bands, layerCount)
    var groups: [ProbeGroup] = []
    var places: [String: Int] = [:]
    for tensor in tensors where isIncluded(tensor) {
      for weight in tensor.weights {
        var title = tensor.name.replacing(".weight", with: "")
        if case .layer(let layer, _) = weight {
          let band = layer * bandCount / layerCount
          let first = (band * layerCount + bandCount - 1) / bandCount
          let end = ((band + 1) * layerCount + bandCount - 1) / bandCount
          let kind = title.split(separator: ".").last ?? ""
          title =
            end - first == 1 ? "\(kind), layer \(first)" : "\(kind), layers \(first) to \(end - 1)"
        }
        if let place = places[title] {
          groups[place].weights.insert(weight.canonical)
        } else {
          places[title] = groups.count
          groups.append(ProbeGroup(title: title, weights: [weight.canonical]))
        }
      }
    }
    return groups
  }

  // MARK: Measuring

  /// Measures the groups' sensitivity on a text.
  ///
  /// - Parameters:
  ///   - windows: The text's tokens, of each window at least one.
  ///   - backend: What computes.
  ///   - progress: Called with the fraction that is done; what it throws ends the measurement.
  /// - Returns: What each group costs.
  /// - Throws: What the backend throws, and `QuantizationError` for weights that cannot be quantised.
  package func measure(
    windows: [[Int32]],
    on backend: any Backend,
    progress: (Double) throws -> Void
  ) throws -> Sensitivities {
    func probe(_ type: TensorType, _ windows: [[Int32]]) -> SensitivityProbe {
      SensitivityProbe(
        checkpoint,
        tensors,
        to: { _ in type },
        windows: windows,
        importance: importance,
        on: backend,
        threads: threads
      )
    }
    let (groups, keptGroups) = (groups, keptGroups)
    let first = Array(windows.prefix(1))
    let work = (Double(groups.count * windows.count), Double(keptGroups.count * first.count))
    let share = work.0 / max(work.0 + work.1, 1)
    let measured = try probe(Self.probeType, windows).measure(groups) { try progress($0 * share) }
    // No choice depends on these: one window is enough to see how large they are.
    let kept = try probe(.q8_0, first).measure(keptGroups) {
      try progress(share + $0 * (1 - share))
    }
    try checkFinite(measured + kept)
    return Sensitivities(groups: measured, kept: kept)
  }

  private func checkFinite(_ sensitivities: [GroupSensitivity]) throws(QuantizationError) {
    guard let group = sensitivities.first(where: { !$0.klDivergence.isFinite }) else { return }
    throw QuantizationError(
      .values,
      "quantising \(group.group.title) gives logits that are no numbers, or the model's own are none",
      context: checkpoint.path
    )
  }

  /// Coarse enough that one group's damage stands out, and available for rows of any length that is possible.
  package static let probeType = TensorType.q4_0

  // MARK: Choosing

  /// What is known of a tensor's types.
  package struct Assessment: Sendable {
    package var tensor: ExportedTensor
    package var errors: TypeErrors?
    /// What each type costs, a device's own rounding included.
    package var options: TypeOptions
    /// What a squared error costs, in nats.
    package var damagePerError: Double
    /// The title of its group; empty if it has none.
    package var group: String
  }

  /// Returns what each type would cost each tensor.
  ///
  /// The damage of a group is spread over its tensors as their errors are, and goes with the squared error of the type:
  /// for small errors a divergence is a quadratic form of them.
  package func assess(
    _ sensitivities: Sensitivities,
    progress: (Double) throws -> Void
  ) throws -> [Assessment] {
    var errors: [Int: TypeErrors] = [:]
    for (index, tensor) in tensors.enumerated() {
      try progress(Double(index) / Double(tensors.count))
      guard Self.isChosen(tensor) else { continue }
      let isInLayer = tensor.weights.contains { if case .layer = $0 { true } else { false } }
      errors[index] = try TypeErrors(
        of: tensor,
        in: Set(
          candidates(for: tensor) + [
            Self.probeType.fitting(columns: tensor.columnCount), tensor.unquantisedType,
          ]
        ),
        importance: importance,
        grid: target == .npu && isInLayer ? DeviceGrid() : nil,
        threads: threads
      )
    }
    var groupOfWeight: [String: Int] = [:]
    for (index, group) in sensitivities.groups.enumerated() {
      for weight in group.group.weights { groupOfWeight[weight] = index }
    }
    func group(of tensor: ExportedTensor) -> Int? {
      tensor.weights.first.flatMap { groupOfWeight[$0.canonical] }
    }
    // The error of a whole group in the type that it was measured with; no device has rounded it once more.
    var probeErrors: [Int: Double] = [:]
    for (index, tensor) in tensors.enumerated() {
      guard let group = group(of: tensor), let known = errors[index] else { continue }
      let type = Self.probeType.fitting(columns: tensor.columnCount)
      probeErrors[group, default: 0] += known.squaredErrors[type] ?? 0
    }
    return tensors.enumerated().map { index, tensor in
      let group = group(of: tensor)
      var scale = 0.0
      if let group, let probeError = probeErrors[group], probeError > 0 {
        scale = sensitivities.groups[group].klDivergence / probeError
      }
      return assessment(
        of: tensor,
        errors[index],
        scale,
        group.map { sensitivities.groups[$0].group.title }
      )
    }
  }

  private func assessment(
    of tensor: ExportedTensor,
    _ errors: TypeErrors?,
    _ scale: Double,
    _ group: String?
  ) -> Assessment {
    let options = types(for: tensor).map { type in
      TypeOptions.Option(
        type: type,
        byteCount: TensorChoice(tensor, as: type, because: "").byteCount,
        damage: scale
          * ((errors?.squaredErrors[type] ?? 0) + (errors?.addedByDevice[type] ?? 0))
      )
    }
    return Assessment(
      tensor: tensor,
      errors: errors,
      options: TypeOptions(options),
      damagePerError: scale,
      group: group ?? ""
    )
  }

  /// Returns the types that a tensor may get.
  private func types(for tensor: ExportedTensor) -> [TensorType] {
    let candidates = Self.isChosen(tensor) ? candidates(for: tensor) : []
    // Columns are skipped only where both matrices are quantised.
    let skipsColumns = skipsColumns(of: .up, tensor) || skipsColumns(of: .down, tensor)
    return skipsColumns && !candidates.isEmpty ? candidates : candidates + [tensor.unquantisedType]
  }

  /// Returns the bytes of all tensors if those that may be quantised take so many bits a weight on average.
  package func byteCount(bitsPerWeight: Double) -> Int {
    tensors.reduce(0) { sum, tensor in
      sum
        + (Self.isChosen(tensor)
          ? Int(Double(tensor.elementCount) * bitsPerWeight / 8)
          : TensorChoice(tensor, as: tensor.unquantisedType, because: "").byteCount)
    }
  }

  /// What all tensors take with the smallest types: their bytes, and the bits a weight of those that may be quantised.
  package var least: (byteCount: Int, bitsPerWeight: Double) {
    var (all, quantised, elements) = (0, 0, 0)
    for tensor in tensors {
      let byteCounts = types(for: tensor)
        .map { TensorChoice(tensor, as: $0, because: "").byteCount }
      let byteCount = byteCounts.min() ?? 0
      all += byteCount
      guard Self.isChosen(tensor) else { continue }
      quantised += byteCount
      elements += tensor.elementCount
    }
    let bits = Double(quantised) * 8 / Double(max(elements, 1))
    return (all, (bits * 100).rounded(.up) / 100)
  }

  /// Chooses the types.
  ///
  /// - Parameters:
  ///   - assessments: What each type costs each tensor.
  ///   - byteCount: How many bytes all tensors may take together.
  /// - Returns: The type of each tensor.
  /// - Throws: `QuantizationError.recipe` that says how many bits are needed if these are too few.
  package func choose(
    _ assessments: [Assessment],
    byteCount: Int
  ) throws(QuantizationError) -> [TensorChoice] {
    guard let chosen = TypeKnapsack.choose(assessments.map(\.options), capacity: byteCount) else {
      let least = least
      throw QuantizationError(
        .recipe,
        "\(byteCount) bytes are too few: with the smallest types the tensors take \(least.byteCount), of which the"
          + " quantised ones have \(least.bitsPerWeight) bits a weight; give that much or more"
      )
    }
    return zip(assessments, chosen).map { assessment, option in
      TensorChoice(assessment.tensor, as: option.type, because: Self.reason(assessment))
    }
  }

  private static func reason(_ assessment: Assessment) -> String {
    guard assessment.errors != nil else { return assessment.tensor.reasonToKeep }
    return assessment.group.isEmpty ? "no logit depends on it" : assessment.group
  }
}

// MARK: - Checking

extension HybridRecipe {
  /// Returns the damage that some choices were expected to do together, without that of a device's own rounding: so it
  /// compares with `divergence(of:windows:on:progress:)`.
  package func predictedDivergence(
    of choices: [TensorChoice],
    _ assessments: [Assessment]
  ) -> Double {
    zip(choices, assessments).reduce(0) { sum, pair in
      sum + pair.1.damagePerError * (pair.1.errors?.squaredErrors[pair.0.type] ?? 0)
    }
  }

  /// Measures the divergence of the model with all weights in the types that were chosen.
  ///
  /// - Returns: The mean in nats.
  package func divergence(
    of choices: [TensorChoice],
    windows: [[Int32]],
    on backend: any Backend,
    progress: (Double) throws -> Void
  ) throws -> Double {
    let types = Dictionary(uniqueKeysWithValues: choices.map { ($0.tensor.name, $0.type) })
    let weights = choices.filter { $0.type != $0.tensor.unquantisedType }.flatMap(\.tensor.weights)
    guard !weights.isEmpty else { return 0 }
    let all = ProbeGroup(title: "all that was chosen", weights: Set(weights.map(\.canonical)))
    let probe = SensitivityProbe(
      checkpoint,
      tensors,
      to: { types[$0.name] ?? $0.unquantisedType },
      windows: windows,
      importance: importance,
      on: backend,
      threads: threads
    )
    let measured = try probe.measure([all], progress: progress)
    try checkFinite(measured)
    return measured.first?.klDivergence ?? 0
  }
}
