// Slices of the model as messages and documents tell them.

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

extension PlacementEntry {
  var slice: ModelSlice {
    ModelSlice(
      layers: firstLayer..<max(firstLayer, endLayer),
      vocabulary: firstVocabularyRow..<max(firstVocabularyRow, endVocabularyRow)
    )
  }
}

extension ModelLine {
  /// The line that slices cover together.
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

/// A stage as the JSON documents show it.
struct PlacementRow: Encodable {
  var worker: String
  var device: String
  var layers: [Int]
  /// Rows of the output matrix; equal ends where no logits are computed.
  var vocabulary: [Int]

  init(worker: String, device: String, slice: ModelSlice) {
    self.worker = worker
    self.device = device
    layers = slice.layers.ends
    vocabulary = slice.vocabulary.ends
  }

  var slice: ModelSlice {
    ModelSlice(layers: layers[0]..<layers[1], vocabulary: vocabulary[0]..<vocabulary[1])
  }
}
