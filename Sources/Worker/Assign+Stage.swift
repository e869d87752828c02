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
}
