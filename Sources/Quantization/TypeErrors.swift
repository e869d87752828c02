// What each type does to each tensor: the squared errors of a sample of its rows.

package import Compute
package import Gemma

/// The errors that a tensor has in each of some types.
package struct TypeErrors: Sendable {
  /// The sum over all rows of `importance · (value - decoded)²`, estimated from some of them.
  package let squaredErrors: [TensorType: Double]
  /// What a device's own rounding of the decoded values adds to that; empty without one.
  package let addedByDevice: [TensorType: Double]

  /// How many values are encoded of each tensor: a mean over so many is good for two digits.
  private static let sampleElementCount = 1 << 18

  /// - Parameters:
  ///   - tensor: The tensor.
  ///   - types: The types; those whose blocks do not divide a row are left out.
  ///   - importance: What errors cost in each column; nil if the same in all.
  ///   - grid: The arithmetic of a device that rounds what it gets once more; nil for none.
  ///   - threads: How many threads encode.
  /// - Throws: `QuantizationError.values` for values that no type can hold.
  package init(
    of tensor: ExportedTensor,
    in types: Set<TensorType>,
    importance: Importance?,
    grid: DeviceGrid?,
    threads: Int
  ) throws {
    let sampleCount = min(
      tensor.rowCount,
      max(16, Self.sampleElementCount / max(tensor.columnCount, 1))
    )
    var errors: [TensorType: Double] = [:]
    var added: [TensorType: Double] = [:]
    for sample in Self.samples(of: tensor, count: sampleCount) {
      let columns = importance?.columns(of: tensor, matrix: sample.matrix)
      var values: [Float] = []
      for row in sample.rows { values += try tensor.values(rows: row..<(row + 1)) }
      for type in types where type.byteCount(columns: tensor.columnCount) != nil {
        let encoder = RowEncoder(
          type,
          columns: tensor.columnCount,
          importance: columns,
          threads: threads
        )
        let encoded = try encoder.encode(values, of: tensor.name)
        errors[type, default: 0] += encoded.error.squaredError
        guard let grid else { continue }
        added[type, default: 0] += grid.squaredError(
          of: encoder.decode(encoded.bytes),
          columns: tensor.columnCount,
          importance: columns
        )
      }
    }
    let scale = Double(tensor.rowCount) / Double(max(sampleCount, 1))
    squaredErrors = errors.mapValues { $0 * scale }
    addedByDevice = added.mapValues { $0 * scale }
  }

  /// Returns rows at equal distances, by the matrix that they are in.
  private static func samples(
    of tensor: ExportedTensor,
    count: Int
  ) -> [(matrix: Int, rows: [Int])] {
    let rows = (0..<count).map { $0 * tensor.rowCount / count }
    return tensor.pieces(of: 0..<tensor.rowCount).map { piece in
      (piece.matrix, rows.filter(piece.rows.contains))
    }
  }
}
