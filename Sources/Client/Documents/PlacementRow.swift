// Stages as documents show them.

package import Wire

/// A stage as documents show it.
package struct PlacementRow: Codable, Sendable, Hashable {
  package var worker: String
  package var device: String
  package var layers: [Int]
  /// Rows of the output matrix; equal ends where no logits are computed.
  package var vocabulary: [Int]

  /// A stage as a finished request tells it.
  package init(_ entry: PlacementEntry) {
    worker = entry.worker
    device = entry.device
    layers = ends(entry.firstLayer, entry.endLayer)
    vocabulary = ends(entry.firstVocabularyRow, entry.endVocabularyRow)
  }

  /// A stage as a status tells it.
  package init(_ worker: WorkerStatus) {
    self.worker = worker.name
    device = worker.device
    layers = ends(worker.firstLayer, worker.endLayer)
    vocabulary = ends(worker.firstVocabularyRow, worker.endVocabularyRow)
  }
}

/// Returns both ends of a range, as documents show it; whoever tells of it may be wrong about its order.
func ends(_ first: Int, _ end: Int) -> [Int] { [first, max(first, end)] }
