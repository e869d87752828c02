// A tensor of a GGUF file to be written: where its values come from, and how exact they must stay.

internal import Compute
package import ModelFiles

/// A tensor of a model as a GGUF file has it.
package struct ExportedTensor: Sendable {
  /// Where the values come from.
  package enum Content: Sendable {
    /// Stored tensors, one behind the other along the outermost dimension; to each value a number is added.
    ///
    /// If they have fewer rows than the tensor, the first row stands for the missing ones; if they have more, the last
    /// are left out.
    case stored([StoredTensor], added: Float)
    /// All values, in the tensor's order.
    case values([Float])
    /// The same value everywhere.
    case constant(Float)
  }

  /// Which types are possible.
  package enum Precision: Sendable, Hashable {
    /// f32: vectors, with which llama.cpp computes as they are, and AltUp's coefficients of some numbers.
    case single
    /// f32, f16 or bf16 where one type is asked for: small matrices that decide about much, unless that is measured.
    case unquantised
    /// Any type whose blocks divide a row.
    case any
  }

  /// The name in a GGUF file.
  package var name: String
  /// Outermost dimension first.
  package var shape: [Int]
  /// The weights of the text model that it holds, in the order of its parts; none if only other programs read it.
  package var weights: [WeightName]
  package var content: Content

  /// The elements of a row.
  package var columnCount: Int { shape.last ?? 1 }
  /// All but the innermost dimension multiplied.
  package var rowCount: Int { shape.dropLast().reduce(1, *) }

  /// The rows of each of its matrices: all, but for matrices that are stacked.
  package var matrixRowCount: Int { shape.count > 2 ? shape[shape.count - 2] : rowCount }

  /// The stored tensor that holds just these bytes, if one does.
  package var copy: StoredTensor? {
    guard case .stored(let parts, added: 0) = content, parts.count == 1,
      parts[0].rowCount == rowCount
    else { return nil }
    return parts[0]
  }

  /// Which types the tensor may have.
  ///
  /// These are the rules of llama-quantize and of llama.cpp's converters (`tensor_allows_quantization` in
  /// src/llama-quant.cpp, `prepare_tensors` in conversion/base.py). The backends here multiply by weights of any type.
  package var precision: Precision {
    if shape.count < 2 || !name.hasSuffix(".weight") || name.hasSuffix("_norm.weight") {
      return .single
    }
    if name.contains("altup_correct_coef") || name.contains("altup_predict_coef") { return .single }
    let kept = ["altup", "laurel", "per_layer_model_proj", "ffn_gate_inp"]
    return kept.contains(where: name.contains) ? .unquantised : .any
  }

  /// Returns the values of some rows, as f32.
  ///
  /// - Precondition: The tensor has these rows.
  /// - Throws: `GemmaError.unsupported` if they are stored in a type that cannot be decoded, and errors of reading.
  package func values(rows: Range<Int>) throws -> [Float] {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows \(rows) of \(shape)")
    switch content {
    case .values(let values):
      return Array(values[(rows.lowerBound * columnCount)..<(rows.upperBound * columnCount)])
    case .constant(let value): return Array(repeating: value, count: rows.count * columnCount)
    case .stored(let parts, let added):
      var values: [Float] = []
      values.reserveCapacity(rows.count * columnCount)
      var start = 0
      for part in parts {
        let wanted = rows.clamped(to: start..<(start + part.rowCount))
        try part.appendValues(
          rows: (wanted.lowerBound - start)..<(wanted.upperBound - start),
          to: &values
        )
        start += part.rowCount
      }
      while values.count < rows.count * columnCount {
        try parts[0].appendValues(rows: 0..<1, to: &values)
      }
      return added == 0 ? values : values.map { $0 + added }
    }
  }
}

extension StoredTensor {
  fileprivate func appendValues(rows: Range<Int>, to values: inout [Float]) throws {
    guard let type, let rowByteCount = type.byteCount(columns: columnCount) else {
      throw GemmaError(
        .unsupported,
        "tensor \(name) has type \(typeName), whose values are not known",
        context: file.path
      )
    }
    if rows.isEmpty { return }
    let region = try file.region(
      offset: offset + rows.lowerBound * rowByteCount,
      count: rows.count * rowByteCount
    )
    for row in 0..<rows.count {
      let bytes = unsafe UnsafeRawBufferPointer(
        rebasing: region.bytes[(row * rowByteCount)..<((row + 1) * rowByteCount)]
      )
      values += unsafe Dequantize.values(bytes, type: type, start: 0, count: columnCount)
    }
  }
}
