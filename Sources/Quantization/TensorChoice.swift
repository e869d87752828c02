// Which type a tensor gets: the types that are possible, and the nearest one where the wanted one is not.

package import Compute
package import Gemma
internal import ModelFiles

/// A tensor of the file to be written, and its type there.
package struct TensorChoice: Sendable {
  package var tensor: ExportedTensor
  package var type: TensorType
  /// Why it has this type, in a few words.
  package var reason: String

  package init(_ tensor: ExportedTensor, as type: TensorType, because reason: String) {
    self.tensor = tensor
    self.type = type
    self.reason = reason
  }

  /// The bytes in the file.
  package var byteCount: Int {
    (type.byteCount(columns: tensor.columnCount) ?? 0) * tensor.rowCount
  }
}

extension TensorType {
  /// The type of the same or the next higher precision whose blocks divide shorter rows; nil behind the last.
  ///
  /// As llama-quantize falls back (`tensor_type_fallback` in src/llama-quant.cpp).
  fileprivate var fallback: TensorType? {
    switch self {
    case .q2_K, .q3_K, .iq4_xs: .iq4_nl
    case .q4_K: .q5_0
    case .q5_K: .q5_1
    case .q6_K: .q8_0
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl: .f16
    case .f32, .f16, .bf16: nil
    }
  }

  /// Returns this type, or the first of those it falls back to whose blocks divide a row.
  package func fitting(columns: Int) -> TensorType {
    var type = self
    while type.byteCount(columns: columns) == nil, let next = type.fallback { type = next }
    return type
  }
}

extension ExportedTensor {
  /// The type of the tensor if none is chosen for it: its own if that is a float, f32 for vectors, and few bits for
  /// a matrix that holds one value everywhere, since they hold it, too.
  package var unquantisedType: TensorType {
    guard precision != .single else { return .f32 }
    if case .constant(0) = content { return TensorType.q4_0.fitting(columns: columnCount) }
    guard let stored = copy?.type ?? firstStoredType, !stored.isQuantised else { return .f16 }
    return stored
  }

  private var firstStoredType: TensorType? {
    guard case .stored(let parts, _) = content else { return nil }
    return parts.first?.type
  }

  /// Whether it is stored in blocks already.
  package var isQuantised: Bool { firstStoredType?.isQuantised ?? false }

  /// What is added to the stored values, because the format has them otherwise.
  var added: Float {
    guard case .stored(_, let added) = content else { return 0 }
    return added
  }

  /// The bytes in the source; 0 for values that are not stored.
  var storedByteCount: Int {
    guard case .stored(let parts, _) = content else { return 0 }
    return parts.reduce(0) { $0 + $1.byteCount }
  }

  /// How many values it has.
  package var elementCount: Int { rowCount * columnCount }
}

/// Which tensors get which types.
package enum TensorChoices {
  /// Returns the choices that give every matrix one type.
  ///
  /// Vectors stay f32, and matrices that are not quantised stay as they are, unless the type is a float.
  package static func uniform(_ type: TensorType, _ tensors: [ExportedTensor]) -> [TensorChoice] {
    tensors.map { tensor in
      let isForced = !type.isQuantised && tensor.precision == .unquantised
      guard tensor.precision == .any || isForced else {
        return TensorChoice(tensor, as: tensor.unquantisedType, because: tensor.reasonToKeep)
      }
      let fitting = type.fitting(columns: tensor.columnCount)
      return TensorChoice(
        tensor,
        as: fitting,
        because: fitting == type
          ? "as asked for" : "rows of \(tensor.columnCount) are no blocks of \(type.blockLength)"
      )
    }
  }
}

extension ExportedTensor {
  /// Why it is not quantised.
  var reasonToKeep: String { weights.isEmpty ? "is there for other programs" : "is not quantised" }

  /// Whether it is a matrix of stored values, not one that is made up or made of a config.
  package var isWeight: Bool {
    guard case .stored = content else { return false }
    return shape.count >= 2
  }
}
