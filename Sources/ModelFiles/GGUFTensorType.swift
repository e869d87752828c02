// Tensor types of GGUF, those that backends know and those that are only stepped over.

package import Compute

/// A tensor type of GGUF, by the number the file stores (`ggml_type` in ggml/include/ggml.h).
package struct GGUFTensorType: Sendable, Hashable {
  /// What the file stores.
  package let number: UInt32
  /// As ggml calls it, for example `Q4_K`.
  package let name: String
  /// Elements of a block; 1 for a type without blocks.
  package let blockLength: Int
  package let blockByteCount: Int
  /// The same type, if backends know it.
  package let type: TensorType?

  /// - Parameter number: The file's number; the init fails if no type has it.
  package init?(number: UInt32) {
    if let type = Self.known[number] {
      self.init(type)
    } else if let (name, length, bytes) = GGUFTensorType.foreign[number] {
      self.init(number: number, name: name, blockLength: length, blockByteCount: bytes)
    } else {
      return nil
    }
  }

  /// A type that backends know.
  package init(_ type: TensorType) {
    number = type.number
    name = type.rawValue.uppercased()
    blockLength = type.blockLength
    blockByteCount = type.blockByteCount
    self.type = type
  }

  private init(number: UInt32, name: String, blockLength: Int, blockByteCount: Int) {
    self.number = number
    self.name = name
    self.blockLength = blockLength
    self.blockByteCount = blockByteCount
    type = nil
  }

  /// The type that ggml calls so; the init fails if none is.
  package init?(named name: String) {
    for number in Array(Self.known.keys) + Array(Self.foreign.keys) {
      guard let type = Self(number: number), type.name == name else { continue }
      self = type
      return
    }
    return nil
  }

  /// Returns the bytes of a tensor of this type.
  ///
  /// - Throws: `ModelFilesError` with `code` if it has no elements, rows that are no whole blocks, or more
  ///   bytes than can be counted.
  func byteCount(
    _ name: String,
    _ shape: [Int],
    _ code: ModelFilesError.Code,
    _ path: String
  ) throws(ModelFilesError) -> Int {
    guard let count = elementCount(shape), count > 0 else {
      throw ModelFilesError(code, "tensor \(name) has shape \(shape)", context: path)
    }
    guard shape[shape.count - 1].isMultiple(of: blockLength) else {
      throw ModelFilesError(
        code,
        "tensor \(name) has rows of \(shape[shape.count - 1]) elements, no multiple of"
          + " \(self.name)'s blocks of \(blockLength)",
        context: path
      )
    }
    let (bytes, overflow) = (count / blockLength).multipliedReportingOverflow(by: blockByteCount)
    guard !overflow else {
      throw ModelFilesError(code, "tensor \(name) has shape \(shape)", context: path)
    }
    return bytes
  }

  private static let known = Dictionary(
    uniqueKeysWithValues: TensorType.allCases.map { ($0.number, $0) }
  )

  // Sizes are those of the block structs in ggml/src/ggml-common.h. They are needed only to check
  // where a tensor ends; one that the model needs is refused by name.
  private static let foreign: [UInt32: (String, Int, Int)] = [
    9: ("Q8_1", 32, 36), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
  ]
}
