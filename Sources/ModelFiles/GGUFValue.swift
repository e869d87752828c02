// Metadata values of a GGUF file that was read, of types numbered as its specification says:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

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
