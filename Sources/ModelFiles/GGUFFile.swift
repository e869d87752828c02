// A GGUF file: its metadata, decoded when asked for, and the tensors it lists. How the header is
// read stands in GGUFFile+Parsing.swift, how one is written in GGUFWriter.swift; what the keys of a model
// mean, is its readers' business.

/// A GGUF file of version 2 or 3, little-endian; of a model in parts all of them.
package struct GGUFFile: Sendable {
  /// The file that holds the metadata.
  package var path: String { file.path }
  /// The version of the format.
  package let version: UInt32
  /// Tensors begin at multiples of this, in bytes.
  package let alignment: Int
  /// The tensors of all parts, in the order of the files.
  package internal(set) var tensors: [StoredTensor]
  /// The file that holds the metadata.
  let file: MappedFile
  /// The bytes before its tensors.
  let header: MappedRegion
  /// All files of the model, this one first.
  package internal(set) var parts: [Part]
  let values: [String: GGUFValue]
  let metadataPlaces: [MetadataPlace]

  /// Where a metadata value lies.
  struct MetadataPlace: Sendable {
    var key: String
    var type: GGUFType
    /// From the start of the file, without key and type.
    var bytes: Range<Int>
  }

  /// All metadata in the order of the file, as a writer takes it; of a model in parts the first one's.
  ///
  /// - Complexity: O(n) in the bytes of the header.
  package var metadata: [(key: String, value: GGUFMetadataValue)] {
    metadataPlaces.map { place in
      let bytes = unsafe [UInt8](header.bytes[place.bytes])
      return (place.key, GGUFMetadataValue(type: place.type, bytes: bytes))
    }
  }

  /// The metadata keys, in no order.
  package var keys: some Collection<String> { values.keys }

  /// Returns a value as the header holds it; nil if the key is absent.
  package func value(_ key: String) -> GGUFValue? { values[key] }

  /// Returns a text; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not a string.
  package func string(_ key: String) throws(ModelFilesError) -> String? {
    guard let value = values[key] else { return nil }
    guard case .string(let range) = value else { throw mismatch(key, value, "a string") }
    return ByteReader(header, path: path).text(range)
  }

  /// Returns an integer; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an integer or too large for one of ours.
  package func integer(_ key: String) throws(ModelFilesError) -> Int? {
    switch values[key] {
    case nil: return nil
    case .signed(let value)?: return Int(value)
    case .double(let value)?:
      // Published files store some counts as floats.
      guard let whole = Int(exactly: value) else {
        throw ModelFilesError(.config, "\(key) is \(value), no whole number", context: path)
      }
      return whole
    case .unsigned(let value)?:
      guard let value = Int(exactly: value) else {
        throw ModelFilesError(.config, "\(key) is \(value), which is absurd", context: path)
      }
      return value
    case let value?: throw mismatch(key, value, "an integer")
    }
  }

  /// Returns a number, stored with a fraction or without; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not a number.
  package func double(_ key: String) throws(ModelFilesError) -> Double? {
    switch values[key] {
    case nil: return nil
    case .double(let number)?: return number
    case .signed(let number)?: return Double(number)
    case .unsigned(let number)?: return Double(number)
    case let value?: throw mismatch(key, value, "a float")
    }
  }

  /// Returns a truth value; nil if the key is absent.
  ///
  /// Some converters store it as 0 or 1.
  ///
  /// - Throws: `ModelFilesError.config` if the value is neither true nor false.
  package func bool(_ key: String) throws(ModelFilesError) -> Bool? {
    switch values[key] {
    case nil: return nil
    case .bool(let truth)?: return truth
    case .signed(0)?, .unsigned(0)?: return false
    case .signed(1)?, .unsigned(1)?: return true
    case let value?: throw mismatch(key, value, "a bool")
    }
  }

  /// Returns the integers of an array, or the one that stands there alone; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is neither.
  package func integerOrIntegers(_ key: String) throws(ModelFilesError) -> [Int]? {
    if case .array? = values[key] { return try integers(key) }
    return try integer(key).map { [$0] }
  }

  /// Returns the texts of an array; nil if the key is absent.
  ///
  /// Bytes that are not UTF-8 become U+FFFD.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an array of strings.
  /// - Complexity: O(n) with an allocation a string: keep the result.
  package func strings(_ key: String) throws(ModelFilesError) -> [String]? {
    try stringRanges(key)?.map(ByteReader(header, path: path).text)
  }

  /// Returns the texts of an array as bytes, for tokens that are not UTF-8 by themselves.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an array of strings.
  package func bytes(_ key: String) throws(ModelFilesError) -> [[UInt8]]? {
    try stringRanges(key)?.map { unsafe [UInt8](header.bytes[$0]) }
  }

  /// Returns the integers of an array; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an array of integers.
  package func integers(_ key: String) throws(ModelFilesError) -> [Int]? {
    guard let array = try array(key, "an array of integers") else { return nil }
    switch array.elementType {
    case .uint8: return load(array, as: UInt8.self).map { Int($0) }
    case .int8: return load(array, as: Int8.self).map { Int($0) }
    case .uint16: return load(array, as: UInt16.self).map { Int($0) }
    case .int16: return load(array, as: Int16.self).map { Int($0) }
    case .uint32: return load(array, as: UInt32.self).map { Int($0) }
    case .int32: return load(array, as: Int32.self).map { Int($0) }
    case .int64: return load(array, as: Int64.self).map { Int($0) }
    case .uint64:
      let values = load(array, as: UInt64.self).compactMap { Int(exactly: $0) }
      guard values.count == array.count else {
        throw ModelFilesError(.config, "\(key) holds an absurdly large integer", context: path)
      }
      return values
    case .float32, .float64, .bool, .string, .array:
      throw mismatch(key, .array(array), "an array of integers")
    }
  }

  /// Returns the numbers of an array; nil if the key is absent.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an array of numbers.
  package func doubles(_ key: String) throws(ModelFilesError) -> [Double]? {
    guard let array = try array(key, "an array of floats") else { return nil }
    switch array.elementType {
    case .float32: return load(array, as: UInt32.self).map { Double(Float(bitPattern: $0)) }
    case .float64: return load(array, as: UInt64.self).map { Double(bitPattern: $0) }
    case .bool, .string, .array: throw mismatch(key, .array(array), "an array of floats")
    default: return try integers(key)?.map { Double($0) }
    }
  }

  /// Returns the truth values of an array; nil if the key is absent.
  ///
  /// Some converters store them as 0 and 1.
  ///
  /// - Throws: `ModelFilesError.config` if the value is not an array of bools.
  package func bools(_ key: String) throws(ModelFilesError) -> [Bool]? {
    guard let array = try array(key, "an array of bools") else { return nil }
    switch array.elementType {
    case .bool: return load(array, as: UInt8.self).map { $0 != 0 }
    case .float32, .float64, .string, .array:
      throw mismatch(key, .array(array), "an array of bools")
    default:
      let numbers = try integers(key) ?? []
      guard numbers.allSatisfy({ $0 == 0 || $0 == 1 }) else {
        throw mismatch(key, .array(array), "an array of bools")
      }
      return numbers.map { $0 == 1 }
    }
  }

  private func array(_ key: String, _ wanted: String) throws(ModelFilesError) -> GGUFArray? {
    guard let value = values[key] else { return nil }
    guard case .array(let array) = value else { throw mismatch(key, value, wanted) }
    return array
  }

  // The parser has walked every array: it lies in the header.
  private func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ array: GGUFArray,
    as: T.Type
  ) -> [T] {
    (0..<array.count).map { index in
      let offset = array.offset + index * MemoryLayout<T>.size
      return T(
        littleEndian: unsafe header.bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
      )
    }
  }

  private func stringRanges(_ key: String) throws(ModelFilesError) -> [Range<Int>]? {
    guard let array = try array(key, "an array of strings") else { return nil }
    guard array.elementType == .string else {
      throw mismatch(key, .array(array), "an array of strings")
    }
    var reader = ByteReader(header, offset: array.offset, path: path)
    var ranges: [Range<Int>] = []
    ranges.reserveCapacity(array.count)
    for _ in 0..<array.count {
      ranges.append(try reader.string(key))
    }
    return ranges
  }

  private func mismatch(_ key: String, _ value: GGUFValue, _ wanted: String) -> ModelFilesError {
    ModelFilesError(.config, "\(key) is \(value.kind), \(wanted) is expected", context: path)
  }
}
