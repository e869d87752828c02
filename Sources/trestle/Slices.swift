// Slices of the model as they stand in messages and documents.

import Client
import Gemma
import Wire

extension WorkerStatus {
  var slice: ModelSlice {
    ModelSlice(
      layers: firstLayer..<max(firstLayer, endLayer),
      vocabulary: firstVocabularyRow..<max(firstVocabularyRow, endVocabularyRow)
    )
  }
}

extension ModelLine {
  /// Creates the line that some slices cover together.
  init(covering slices: [ModelSlice]) {
    self.init(
      layerCount: slices.map(\.layers.upperBound).max() ?? 0,
      vocabularySize: slices.map(\.vocabulary.upperBound).max() ?? 0
    )
  }
}

extension Range<Int> {
  /// Both ends, as the JSON documents show a range.
  var ends: [Int] { [lowerBound, upperBound] }
}

extension PlacementRow {
  var slice: ModelSlice {
    ModelSlice(layers: layers[0]..<layers[1], vocabulary: vocabulary[0]..<vocabulary[1])
  }
}
