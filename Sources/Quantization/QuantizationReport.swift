// What a quantisation has done, so that anybody can judge it and run it again: the document beside the file, as JSON
// and as a table.

internal import Compute
internal import Gemma

/// The report of one quantised file.
package struct QuantizationReport: Encodable, Sendable {
  /// How a group of weights reacts to errors.
  package struct Group: Encodable, Sendable {
    package var title: String
    /// The mean divergence of the logits in nats when only this group is quantised.
    package var klDivergence: Double

    package init(_ sensitivity: GroupSensitivity) {
      title = sensitivity.group.title
      klDivergence = sensitivity.klDivergence
    }
  }

  /// What was measured to choose types.
  package struct Sensitivity: Encodable, Sendable {
    package var metric =
      "mean Kullback-Leibler divergence of the next token's distribution, in nats"
    /// The text, as it was named.
    package var text: String
    package var tokens: Int
    /// The type that groups were quantised to.
    package var probeType: String
    package var groups: [Group]
    /// The same for what is never quantised, had it been q8_0.
    package var kept: [Group]

    package init(_ measured: HybridRecipe.Sensitivities, text: String, tokens: Int) {
      self.text = text
      self.tokens = tokens
      probeType = HybridRecipe.probeType.rawValue
      groups = measured.groups.map { Group($0) }
      kept = measured.kept.map { Group($0) }
    }
  }

  /// The tensors of one type.
  package struct TypeTotal: Encodable, Sendable {
    package var type: String
    package var tensors: Int
    package var bytes: Int
    /// The root of the squared errors over that of the values' squares, both weighted by importance; absent where
    /// bytes were copied.
    package var relativeError: Double?
  }

  package struct Tensor: Encodable, Sendable {
    package var name: String
    package var shape: [Int]
    package var type: String
    package var bytes: Int
    /// As for a type; absent where bytes were copied.
    package var relativeError: Double?
    package var reason: String
  }

  /// The divergence of the whole file.
  package struct Check: Encodable, Sendable {
    /// The sum of what the choices were expected to cost.
    package var predictedKl: Double
    /// Measured with all weights of the file, on other tokens than those that the choice was made by.
    package var measuredKl: Double
    package var tokens: Int

    package init(predictedKl: Double, measuredKl: Double, tokens: Int) {
      self.predictedKl = predictedKl
      self.measuredKl = measuredKl
      self.tokens = tokens
    }
  }

  package var source: String
  package var output: String
  /// What gives the same file again.
  package var command: String
  /// The name of a type or of a recipe.
  package var recipe: String
  package var target: String?
  package var importance: String?
  package var bytesBefore: Int
  package var bytes: Int
  package var bitsPerWeight: Double
  /// The same of the tensors that are quantised.
  package var bitsPerQuantisedWeight: Double
  package var sensitivity: Sensitivity?
  package var check: Check?
  package var types: [TypeTotal] = []
  package var tensors: [Tensor] = []

  /// - Parameters:
  ///   - source: The model.
  ///   - output: The file.
  ///   - command: What gives the same file again.
  ///   - recipe: The name of a type or of a recipe.
  package init(source: String, output: String, command: String, recipe: String) {
    self.source = source
    self.output = output
    self.command = command
    self.recipe = recipe
    (bytesBefore, bytes, bitsPerWeight, bitsPerQuantisedWeight) = (0, 0, 0, 0)
  }

  /// Adds what has been written.
  ///
  /// - Parameters:
  ///   - choices: The tensors.
  ///   - errors: The error of each; nil where bytes were copied.
  package mutating func add(_ choices: [TensorChoice], _ errors: [EncodingError?]) {
    tensors = zip(choices, errors).map { choice, error in
      Tensor(
        name: choice.tensor.name,
        shape: choice.tensor.shape,
        type: choice.type.rawValue,
        bytes: choice.byteCount,
        relativeError: error?.relative,
        reason: choice.reason
      )
    }
    bytes = choices.reduce(0) { $0 + $1.byteCount }
    bytesBefore = choices.reduce(0) { $0 + $1.tensor.storedByteCount }
    // What is there for other programs takes room, but is no weight of the model.
    let weightCount = choices.reduce(0) {
      $0 + ($1.tensor.weights.isEmpty ? 0 : $1.tensor.elementCount)
    }
    bitsPerWeight = Double(bytes) * 8 / Double(max(weightCount, 1))
    bitsPerQuantisedWeight = Self.bitsPerWeight(choices.filter(\.type.isQuantised))
    types = Dictionary(grouping: zip(choices, errors), by: \.0.type).map { type, tensors in
      var error: EncodingError?
      for case let (_, own?) in tensors { error = (error ?? EncodingError()) + own }
      return TypeTotal(
        type: type.rawValue,
        tensors: tensors.count,
        bytes: tensors.reduce(0) { $0 + $1.0.byteCount },
        relativeError: error?.relative
      )
    }
    .sorted { ($0.bytes, $0.type) > ($1.bytes, $1.type) }
  }

  /// Tensors that have lost more than half: no type does that to the weights of a model, but for values beyond f16,
  /// which scales are in, or of which a few dwarf the others.
  package var ruined: [Tensor] { tensors.filter { ($0.relativeError ?? 0) > 0.5 } }

  private static func bitsPerWeight(_ choices: [TensorChoice]) -> Double {
    let (bytes, elements) = choices.reduce((0, 0)) { sum, choice in
      (sum.0 + choice.byteCount, sum.1 + choice.tensor.elementCount)
    }
    return Double(bytes) * 8 / Double(max(elements, 1))
  }
}
