// What a pipeline cuts: the layers, and behind them the rows of the output matrix, one for each token of
// the vocabulary. A stage holds one piece of that line.

/// A contiguous piece of a model: what one stage holds.
///
/// Without layers it takes the normed hidden rows that the last layer's stage hands on.
package struct ModelSlice: Sendable, Hashable {
  /// The layer count twice for a stage that holds none.
  package var layers: Range<Int>
  /// The rows of the output matrix, so the tokens whose logits the stage computes.
  package var vocabulary: Range<Int>

  package init(layers: Range<Int>, vocabulary: Range<Int> = 0..<0) {
    self.layers = layers
    self.vocabulary = vocabulary
  }

  /// Whether it holds nothing.
  package var isEmpty: Bool { layers.isEmpty && vocabulary.isEmpty }
}

/// What stages are cut from: layers `0..<L`, then vocabulary rows `0..<V`.
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

  /// Returns whether a slice is a piece of this line: not empty, nothing left out within.
  package func holds(_ slice: ModelSlice) -> Bool {
    let (layers, vocabulary) = (slice.layers, slice.vocabulary)
    guard !slice.isEmpty, layers.lowerBound >= 0, layers.upperBound <= layerCount,
      vocabulary.lowerBound >= 0, vocabulary.upperBound <= vocabularySize
    else { return false }
    if vocabulary.isEmpty { return vocabulary.lowerBound == 0 }
    if layers.isEmpty { return layers.lowerBound == layerCount }
    return layers.upperBound == layerCount && vocabulary.lowerBound == 0
  }

  /// Returns whether a slice reaches the line's end, so that its stage has all logits of a row.
  package func isLast(_ slice: ModelSlice) -> Bool {
    slice.vocabulary.upperBound == vocabularySize
  }

  /// Returns a slice as people read it; vocabulary rows only where they are cut.
  package func text(_ slice: ModelSlice) -> String {
    let layers = "\(slice.layers.lowerBound)..<\(slice.layers.upperBound)"
    guard !slice.vocabulary.isEmpty, slice.vocabulary.count < vocabularySize else { return layers }
    let rows = "vocabulary \(slice.vocabulary.lowerBound)..<\(slice.vocabulary.upperBound)"
    return slice.layers.isEmpty ? rows : "\(layers) and \(rows)"
  }
}

// MARK: - Pieces

extension ModelLine {
  // The output matrix is two thirds of what a token reads in Gemma 3 270M, and as much as nine layers of
  // Gemma 3n E2B: a thirty-second of it is about a layer there, and a third of a layer here.
  private static let mostVocabularyPieces = 32

  /// Vocabulary rows are cut at multiples of this.
  ///
  /// 64 rows are whole tiles of packed weights (16 rows) and whole cache lines of logits, and divide the
  /// 262,144 of Gemma's vocabulary. Small vocabularies, which only tests have, are cut anywhere.
  package var rowGranule: Int { vocabularySize < 4096 ? 1 : 64 }

  /// The rows of a piece of the vocabulary, the last one's excepted.
  package var pieceRows: Int {
    let rows = (vocabularySize + Self.mostVocabularyPieces - 1) / Self.mostVocabularyPieces
    return max(1, (rows + rowGranule - 1) / rowGranule) * rowGranule
  }

  /// How many pieces placement is searched over: each layer, then the vocabulary's.
  package var pieceCount: Int { layerCount + (vocabularySize + pieceRows - 1) / pieceRows }

  /// Returns what some pieces make up.
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
  /// What stages are cut from.
  package var line: ModelLine {
    ModelLine(layerCount: layers.count, vocabularySize: vocabularySize)
  }
}
