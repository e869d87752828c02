// What an assignment asks for, in the words of the model and of a backend.

package import Compute
package import Gemma
package import Wire

extension Assign {
  /// What the stage's executable must have room for.
  package var executableLimits: ExecutableLimits {
    ExecutableLimits(maxRows: maxRows, slots: slots, contextTokens: contextTokens)
  }

  /// Returns the slice of the model that is assigned.
  ///
  /// - Throws: `WorkerError` if it is no piece of the model, or ends where its stage does not.
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
          + "\(stageCount), the model has \(line.layerCount) layers and "
          + "\(line.vocabularySize) rows"
      )
    }
    return slice
  }
}
