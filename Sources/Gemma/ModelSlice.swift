// How a model is cut into stages: the layers, followed by the rows of the output matrix, form a
// line, and a stage holds one contiguous piece of it. There is one row for each token of the
// vocabulary.

/// A contiguous piece of a model, which one stage holds.
///
/// A stage without layers receives the normed hidden rows from the stage with the last layer.
package struct ModelSlice: Sendable, Hashable {
  /// The layers.
  ///
  /// Both bounds are the layer count for a stage without layers.
  package var layers: Range<Int>
  /// The rows of the output matrix: the tokens whose logits the stage computes.
  package var vocabulary: Range<Int>

  package init(layers: Range<Int>, vocabulary: Range<Int> = 0..<0) {
    self.layers = layers
    self.vocabulary = vocabulary
  }

  /// Whether it holds nothing.
  package var isEmpty: Bool { layers.isEmpty && vocabulary.isEmpty }
}

/// The line that is cut into stages: layers `0..<L`, then vocabulary rows `0..<V`.
package struct ModelLine: Sendable, Hashable {
  package var layerCount: Int
  package var vocabularySize: Int

  package init(layerCount: Int, vocabularySize: Int) {
    self.layerCount = layerCount
    self.vocabularySize = vocabularySize
  }

  /// Returns the piece with these layers; all logits go with the last one.
  package func slice(layers: Range<Int>) -> ModelSlice {
    let hasLast = layers.upperBound == layerCount
    return ModelSlice(layers: layers, vocabulary: 0..<(hasLast ? vocabularySize : 0))
  }

  /// Returns whether a slice is a contiguous piece of this line and not empty.
  package func holds(_ slice: ModelSlice) -> Bool {
    let (layers, vocabulary) = (slice.layers, slice.vocabulary)
    guard !slice.isEmpty, layers.lowerBound >= 0, layers.upperBound <= layerCount,
      vocabulary.lowerBound >= 0, vocabulary.upperBound <= vocabularySize
    else { return false }
    if vocabulary.isEmpty { return vocabulary.lowerBound == 0 }
    if layers.isEmpty { return layers.lowerBound == layerCount }
    return layers.upperBound == layerCount && vocabulary.lowerBound == 0
  }

  /// Returns whether a slice reaches the end of the line, so that its stage has all logits of a
  /// row.
  package func isLast(_ slice: ModelSlice) -> Bool {
    slice.vocabulary.upperBound == vocabularySize
  }

  /// Returns a slice as text for users; vocabulary rows are shown only if the vocabulary is cut.
  package func text(_ slice: ModelSlice) -> String {
    let layers = "\(slice.layers.lowerBound)..<\(slice.layers.upperBound)"
    guard !slice.vocabulary.isEmpty, slice.vocabulary.count < vocabularySize else { return layers }
    let rows = "vocabulary \(slice.vocabulary.lowerBound)..<\(slice.vocabulary.upperBound)"
    return slice.layers.isEmpty ? rows : "\(layers) and \(rows)"
  }
}

// MARK: - Pieces

extension ModelLine {
  // The output matrix is two thirds of the bytes that a token reads in Gemma 3 270M, and as much as
  // nine layers in Gemma 3n E2B. A thirty-second of it is about one layer of the former, and a
  // third of a layer of the latter.
  private static let mostVocabularyPieces = 32

  /// Vocabulary rows are cut at multiples of this.
  ///
  /// 64 rows are a whole number of tiles of packed weights (16 rows) and of cache lines of logits,
  /// and Gemma's vocabulary of 262,144 is a multiple. Small vocabularies, which only tests have,
  /// are cut anywhere.
  package var rowGranule: Int { vocabularySize < 4096 ? 1 : 64 }

  /// The rows of a piece of the vocabulary; the last piece may have fewer.
  package var pieceRows: Int {
    let rows = (vocabularySize + Self.mostVocabularyPieces - 1) / Self.mostVocabularyPieces
    return max(1, (rows + rowGranule - 1) / rowGranule) * rowGranule
  }

  /// How many pieces the search for a placement distributes: one for each layer, then those of the
  /// vocabulary.
  package var pieceCount: Int { layerCount + (vocabularySize + pieceRows - 1) / pieceRows }

  /// Returns the slice that some pieces form.
  package func slice(pieces: Range<Int>) -> ModelSlice {
    let layer = { (piece: Int) in min(piece, self.layerCount) }
    let row = { (piece: Int) in
      min(max(0, piece - self.layerCount) * self.pieceRows, self.vocabularySize)
    }
    let rows = row(pieces.lowerBound)..<row(pieces.upperBound)
    return ModelSlice(
      layers: layer(pieces.lowerBound)..<layer(pieces.upperBound),
      vocabulary: rows.isEmpty ? 0..<0 : rows
    )
  }
}

extension ModelConfig {
  /// The line that is cut into stages.
  package var line: ModelLine {
    ModelLine(layerCount: layers.count, vocabularySize: vocabularySize)
  }
}
