// Importance data as quantisers use it: how much an error costs in each column of each matrix.

package import Gemma
package import ModelFiles

/// The importance of the columns of a model's matrices.
package struct Importance: Sendable {
  /// What its file is called.
  package let name: String
  /// The text that it was collected on.
  package let dataset: String
  package let chunkCount: Int
  /// The mean squares of each matrix's columns, [matrices, columns].
  private let meanSquares: [String: [Float]]

  /// How many tensors it has data of.
  package var count: Int { meanSquares.count }

  /// - Parameters:
  ///   - file: The data.
  ///   - name: What its file is called.
  ///   - tensors: Those that are to be quantised.
  /// - Throws: `QuantizationError.importance` if it belongs to a model of other sizes, or to none of the tensors.
  package init(
    _ file: ImportanceFile,
    name: String,
    for tensors: [ExportedTensor]
  ) throws(QuantizationError) {
    self.name = name
    dataset = file.datasets.joined(separator: ", ")
    chunkCount = file.chunkCount
    var meanSquares: [String: [Float]] = [:]
    for tensor in tensors {
      guard let entry = file.entries[tensor.name] else { continue }
      let matrixCount = tensor.shape.dropLast(2).reduce(1, *)
      let means = entry.meanSquares
      guard means.count == tensor.columnCount * matrixCount else {
        let (own, verb) =
          matrixCount == 1 ? ("", "has") : ("the \(matrixCount) matrices of ", "have")
        throw QuantizationError(
          .importance,
          "\(tensor.name) has \(means.count) values, but \(own)that tensor of the model \(verb)"
            + " \(tensor.columnCount * matrixCount) columns; give data of this model, as `trestle calibrate` collects it",
          context: name
        )
      }
      meanSquares[tensor.name] = means
    }
    guard !meanSquares.isEmpty || tensors.isEmpty else {
      throw QuantizationError(
        .importance,
        "none of its \(file.entries.count) entries is one of the model's tensors",
        context: name
      )
    }
    self.meanSquares = meanSquares
  }

  /// Returns the importance of a tensor's columns in one of its matrices; nil where nothing is known.
  package func columns(of tensor: ExportedTensor, matrix: Int = 0) -> [Float]? {
    guard let means = meanSquares[tensor.name] else { return nil }
    return Array(means[(matrix * tensor.columnCount)...].prefix(tensor.columnCount))
  }
}

extension ExportedTensor {
  /// Divides rows where one of the tensor's matrices ends, because each has an importance of its own.
  func pieces(of rows: Range<Int>) -> [(matrix: Int, rows: Range<Int>)] {
    let matrixRows = max(1, matrixRowCount)
    var pieces: [(Int, Range<Int>)] = []
    var first = rows.lowerBound
    while first < rows.upperBound {
      let matrix = first / matrixRows
      let end = min(rows.upperBound, (matrix + 1) * matrixRows)
      pieces.append((matrix, first..<end))
      first = end
    }
    return pieces
  }
}
