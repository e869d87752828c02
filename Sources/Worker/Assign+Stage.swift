// Converts an assignment to a slice of the model and to the limits of an executable.

package import Compute
package import Gemma
package import Wire

extension Assign {
  /// The sizes that the stage's executable must support.
  package var executableLimits: ExecutableLimits {
    ExecutableLimits(maxRows: maxRows, slots: slots, contextTokens: contextTokens)
  }

  /// Returns the slice of the model that is assigned.
  ///
  /// - Throws: `WorkerError` if the model has no such slice, or if it reaches the end of the model
  ///   although a stage follows, or the reverse.
  package func slice(of line: ModelLine) throws(WorkerError) -> ModelSlice {
    let slice = ModelSlice(
      layers: firstLayer..<max(firstLayer, endLayer),
      vocabulary: firstVocabularyRow..<max(firstVocabularyRow, endVocabularyRow)
    )
    guard line.holds(slice), line.isLast(slice) == nextEndpoint.isEmpty else {
      throw WorkerError(
        .prepare,
        "assigned layers \(firstLayer)..<\(endLayer) and vocabulary rows "
          + "\(firstVocabularyRow)..<\(endVocabularyRow) as stage \(stage) of "
          + "\(stageCount), but the model has \(line.layerCount) layers and "
          + "\(line.vocabularySize) rows"
      )
    }
    return slice
  }

  /// Returns the tokens that the stage never draws.
  ///
  /// - Throws: `WorkerError` if one is outside the vocabulary.
  package func suppressed(vocabularySize: Int) throws(WorkerError) -> [Int32] {
    if let bad = suppressedTokens.first(where: { !(0..<vocabularySize).contains(Int($0)) }) {
      throw WorkerError(
        .prepare,
        "token \(bad) is suppressed, but the vocabulary has \(vocabularySize) tokens"
      )
    }
    return suppressedTokens
  }
}
