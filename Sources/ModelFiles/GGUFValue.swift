// Metadata values and tensor types of GGUF, numbered as its specification says:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import Compute

/// The type of a metadata value.
package enum GGUFType: UInt32, Sendable, Hashable, CaseIterable {
  case uint8 = 0
  case int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

  /// Bytes of a value; nil for strings and arrays, which carry their own length.
  var byteCount: Int? {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    case .string, .array: nil
    }
  }

  /// The fewest bytes that an element of an array takes.
  var leastByteCount: Int { byteCount ?? 8 }
}

/// A metadata value.
///
/// Strings and arrays stay in the mapped header until somebody asks for them: a
/// worker that needs no tokenizer never holds its 262,144 strings.
package enum GGUFValue: Sendable, Hashable {
  case signed(Int64)
  case unsigned(UInt64)
  case double(Double)
  case bool(Bool)
  /// Where the text lies in the file.
  case string(Range<Int>)
  case array(GGUFArray)

  /// What the value is, for an error.
  var kind: String {
    switch self {
    case .signed, .unsigned: "an integer"
    case .double: "a float"
    case .bool: "a bool"
    case .string: "a string"
    case .array(let array): "an array of \(array.count) \(array.elementType)"
    }
  }
}

/// An array in the header: how many elements of which type, and where.
package struct GGUFArray: Sendable, Hashable {
  package var elementType: GGUFType
  package var count: Int
  /// The first element's byte, from the start of the file.
  package var offset: Int
}

/// A tensor type of GGUF, by the number the file stores (`ggml_type` in ggml/include/ggml.h).
struct GGUFTensorType {
  var name: String
  var blockLength: Int
  var blockByteCount: Int
  /// The same type, if backends know it.
  var type: TensorType?

  /// - Parameter number: The file's number; the init fails if no type has it.
  init?(number: UInt32) {
    if let type = GGUFTensorType.known[number] {
      name = type.rawValue.uppercased()
      blockLength = type.blockLength
      blockByteCount = type.blockByteCount
      self.type = type
    } else if let (name, length, bytes) = GGUFTensorType.foreign[number] {
      self.name = name
      blockLength = length
      blockByteCount = bytes
    } else {
      return nil
    }
  }

  static let known = Dictionary(uniqueKeysWithValues: TensorType.allCases.map { ($0.number, $0) })

  // Sizes are those of the block structs in ggml/src/ggml-common.h. They are needed only to check
  // where a tensor ends; one that the model needs is refused by name.
  private static let foreign: [UInt32: (String, Int, Int)] = [
    9: ("Q8_1", 32, 36), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
  ]
}
