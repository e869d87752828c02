// What calibration asks a pipeline for, as one vector: each stage adds what its own products have been
// multiplied with, so the means are the same however the model is cut.

package import Compute

/// Where the inputs of each of a model's products stand in one vector of f32.
///
/// For each weight the sums of the squares of its columns, then the number of rows that were summed up:
///
///     │ layers.0.self_attn.q_proj: sums [columns] │ rows │ layers.0.self_attn.o_proj: … │
///
/// A weight that several stages hold rows of counts its input once for each of them
/// (`isDivided`).
package struct ObservationLayout: Sendable, Hashable {
  /// A weight's part of the vector.
  package struct Place: Sendable, Hashable {
    package var name: WeightName
    package var sums: Range<Int>

    /// The index of the number of rows.
    package var rowCount: Int { sums.upperBound }

    /// Whether several stages may hold rows of the weight: it is not of one layer.
    package var isDivided: Bool {
      if case .layer = name { false } else { true }
    }
  }

  /// In the order of `ModelConfig.neededWeights`.
  package let places: [Place]
  /// The length of the vector.
  package let count: Int
  private let placeOfName: [String: Place]

  package init(_ config: ModelConfig) {
    var places: [Place] = []
    var end = 0
    for (name, shape) in config.neededWeights where name.isProduct(in: config) {
      places.append(Place(name: name, sums: end..<(end + shape[1])))
      end += shape[1] + 1
    }
    self.places = places
    count = end
    placeOfName = Dictionary(uniqueKeysWithValues: places.map { ($0.name.canonical, $0) })
  }

  /// Adds what a stage has observed to a vector.
  ///
  /// - Precondition: The vector is of this layout, and so are the inputs.
  package func add(_ inputs: [ObservedInput], to vector: inout [Float]) {
    precondition(vector.count == count, "\(vector.count) values, \(count) expected")
    for input in inputs {
      guard let place = placeOfName[input.weight.name] else {
        preconditionFailure("\(input.weight.name) is no product of the model")
      }
      for (index, sum) in zip(place.sums, input.sums) { vector[index] += sum }
      vector[place.rowCount] += Float(input.rowCount)
    }
  }
}

extension WeightName {
  /// Whether rows of activations are multiplied with it as a matrix.
  ///
  /// Not so are norms and scales, tables that only tokens look up, and the few coefficients of AltUp.
  package func isProduct(in config: ModelConfig) -> Bool {
    switch self {
    case .model(.embedTokens): !config.hasOwnHead
    case .model(.head), .model(.perLayerModelProjection), .model(.altupProjection),
      .model(.altupUnembedProjection):
      true
    case .model(.norm), .model(.embedTokensPerLayer), .model(.perLayerProjectionNorm): false
    case .layer(_, let weight): weight.isProduct
    }
  }
}

extension LayerWeight {
  fileprivate var isProduct: Bool {
    switch self {
    case .query, .key, .value, .output, .gate, .up, .down, .laurelLeft, .laurelRight, .perLayerGate,
      .perLayerProjection:
      true
    case .inputNorm, .postAttentionNorm, .preFeedForwardNorm, .postFeedForwardNorm, .queryNorm,
      .keyNorm, .altupRouter, .altupRouterNorm, .altupPrediction, .altupCorrection,
      .altupOutputScale, .laurelNorm, .perLayerNorm, .outputScale:
      false
    }
  }
}
