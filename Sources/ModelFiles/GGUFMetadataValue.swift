// Metadata of a GGUF file as it is written: a value of each type that the format knows, in the bytes that
// stand in the file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, gguf_metadata_value_t).

/// A metadata value with its type, for a file to be written; taken from a file that was read, or made.
package struct GGUFMetadataValue: Sendable, Hashable {
  package let type: GGUFType
  /// What stands behind the type in the file.
  ///
  ///   number, bool: as many bytes as it has, little-endian
  ///   string: length u64 | bytes          array: type u32 | count u64 | elements
  package let bytes: [UInt8]

  init(type: GGUFType, bytes: [UInt8]) {
    self.type = type
    self.bytes = bytes
  }

  private init(_ type: GGUFType, _ number: some FixedWidthInteger) {
    self.init(type: type, bytes: Self.littleEndian(number))
  }

  package static func uint8(_ value: UInt8) -> Self { Self(.uint8, value) }
  package static func int8(_ value: Int8) -> Self { Self(.int8, value) }
  package static func uint16(_ value: UInt16) -> Self { Self(.uint16, value) }
  package static func int16(_ value: Int16) -> Self { Self(.int16, value) }
  package static func uint32(_ value: UInt32) -> Self { Self(.uint32, value) }
  package static func int32(_ value: Int32) -> Self { Self(.int32, value) }
  package static func uint64(_ value: UInt64) -> Self { Self(.uint64, value) }
  package static func int64(_ value: Int64) -> Self { Self(.int64, value) }
  package static func float32(_ value: Float) -> Self { Self(.float32, value.bitPattern) }
  package static func float64(_ value: Double) -> Self { Self(.float64, value.bitPattern) }
  package static func bool(_ value: Bool) -> Self { Self(.bool, UInt8(value ? 1 : 0)) }
  package static func string(_ text: String) -> Self { string(Array(text.utf8)) }

  /// A string that need not be UTF-8, such as part of a character.
  package static func string(_ bytes: [UInt8]) -> Self {
    Self(type: .string, bytes: littleEndian(UInt64(bytes.count)) + bytes)
  }

  /// An array of values of one type.
  ///
  /// - Precondition: All elements have that type, and it is not that of arrays, which readers
  ///   refuse.
  package static func array(of type: GGUFType, _ elements: [Self]) -> Self {
    precondition(type != .array, "an array of arrays")
    var bytes = littleEndian(type.rawValue) + littleEndian(UInt64(elements.count))
    for element in elements {
      precondition(element.type == type, "\(element.type) in an array of \(type)")
      bytes += element.bytes
    }
    return Self(type: .array, bytes: bytes)
  }

  private static func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
    (0..<(number.bitWidth / 8)).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
  }
}
