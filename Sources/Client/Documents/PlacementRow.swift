// Stages as documents show them.

package import Wire

/// A stage as documents show it.
package struct PlacementRow: Codable, Sendable, Hashable {
  package var worker: String
  package var device: String
  package var emulated: Bool
  package var layers: [Int]
  /// The range of rows of the output matrix; both ends are equal if the stage computes no logits.
  package var vocabulary: [Int]

  /// Creates a row from a finished request.
  package init(_ entry: PlacementEntry) {
    worker = entry.worker
    device = entry.device
    emulated = entry.isEmulated
    layers = ends(entry.firstLayer, entry.endLayer)
    vocabulary = ends(entry.firstVocabularyRow, entry.endVocabularyRow)
  }

  /// Creates a row from a status.
  package init(_ worker: WorkerStatus) {
    self.worker = worker.name
    device = worker.device
    emulated = worker.isEmulated
    layers = ends(worker.firstLayer, worker.endLayer)
    vocabulary = ends(worker.firstVocabularyRow, worker.endVocabularyRow)
  }
}

/// Returns both ends of a range for a document.
///
/// The numbers come from a peer, which may send them in the wrong order.
func ends(_ first: Int, _ end: Int) -> [Int] { [first, max(first, end)] }
