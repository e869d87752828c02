// Reads the header of a GGUF file. Layout, all little-endian
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
//
//   "GGUF" | version u32 | tensor count u64 | key count u64
//   key count ×    { key: string | type u32 | value }      string: length u64, bytes
//   tensor count × { name: string | rank u32 | each u64, innermost first | type u32 | offset u64 }
//   padding to the alignment | tensor data, offsets from here

import Compute

extension GGUFFile {
  static let magic: [UInt8] = Array("GGUF".utf8)

  /// The most metadata keys and tensors: forty times what the largest Gemma has.
  static let countLimit = 65_536
  /// "It can be at most 2^16-1 bytes long", says the specification of a key.
  static let keyLengthLimit = 65_535
  /// "It must be at most 64 bytes long", of a tensor's name.
  static let nameLengthLimit = 64
  /// How many dimensions a tensor may have (GGML_MAX_DIMS).
  static let ranks = 1...4
  static let alignmentKey = "general.alignment"
  static let defaultAlignment = 32

  /// Opens a file and reads its header; of a model in parts, whose first is given, all headers.
  ///
  /// - Throws: `ModelFilesError` if one cannot be read, or is not a well-formed GGUF file.
  package static func open(_ path: String) throws(ModelFilesError) -> GGUFFile {
    try GGUFFile(MappedFile.open(path)).withAllParts()
  }

  init(_ file: MappedFile) throws(ModelFilesError) {
    guard try file.read(offset: 0, count: min(file.size, GGUFFile.magic.count)) == GGUFFile.magic
    else {
      throw file.foreign("GGUF file")
    }
    // The header's size is known only at its end: map all of the file, which costs no memory.
    var reader = ByteReader(try file.region(offset: 0, count: file.size), path: file.path)
    version = try GGUFFile.readVersion(&reader)
    // The least entry: an empty name (8), no dimension, dimension count, type and offset (16).
    let tensorCount = try reader.count(
      "tensor count",
      limit: GGUFFile.countLimit,
      left: reader.left / 24
    )
    // The least entry: an empty key (8), a type (4) and a byte.
    let keyCount = try reader.count(
      "metadata count",
      limit: GGUFFile.countLimit,
      left: reader.left / 13
    )

    var values: [String: GGUFValue] = [:]
    var places: [MetadataPlace] = []
    for index in 0..<keyCount {
      let key = reader.text(
        try reader.string("metadata key \(index)", limit: GGUFFile.keyLengthLimit)
      )
      let type = try GGUFFile.readType(&reader, key: key)
      let start = reader.offset
      let value = try GGUFFile.readValue(&reader, type, key: key)
      guard values.updateValue(value, forKey: key) == nil else {
        throw ModelFilesError(.format, "metadata key \(key) stands twice", context: file.path)
      }
      places.append(MetadataPlace(key: key, type: type, bytes: start..<reader.offset))
    }
    self.values = values
    metadataPlaces = places
    alignment = try GGUFFile.alignment(values, path: file.path)

    var entries: [TensorEntry] = []
    for index in 0..<tensorCount {
      entries.append(try TensorEntry(&reader, index: index))
    }
    let padding = (alignment - reader.offset % alignment) % alignment
    let dataOffset = reader.offset + padding
    header = try file.region(offset: 0, count: reader.offset)
    tensors = try GGUFFile.place(entries, in: file, dataOffset: dataOffset, alignment: alignment)
    self.file = file
    parts = [Part(file: file, headerByteCount: reader.offset)]
  }

  private static func readVersion(_ reader: inout ByteReader) throws(ModelFilesError) -> UInt32 {
    try reader.skip(magic.count, "magic")
    let version: UInt32 = try reader.integer("version")
    // Versions are small: in the other byte order the low half is empty.
    guard version & 0xFFFF != 0 || version == 0 else {
      throw ModelFilesError(
        .unsupported,
        "the file is big-endian; only little-endian GGUF is read",
        context: reader.path
      )
    }
    guard version == 2 || version == 3 else {
      throw ModelFilesError(
        .unsupported,
        "GGUF version \(version); versions 2 and 3 are read, convert the model anew",
        context: reader.path
      )
    }
    return version
  }

  private static func readValue(
    _ reader: inout ByteReader,
    _ type: GGUFType,
    key: String
  ) throws(ModelFilesError) -> GGUFValue {
    switch type {
    case .uint8: return .unsigned(UInt64(try reader.integer(key, as: UInt8.self)))
    case .uint16: return .unsigned(UInt64(try reader.integer(key, as: UInt16.self)))
    case .uint32: return .unsigned(UInt64(try reader.integer(key, as: UInt32.self)))
    case .uint64: return .unsigned(try reader.integer(key))
    case .int8: return .signed(Int64(try reader.integer(key, as: Int8.self)))
    case .int16: return .signed(Int64(try reader.integer(key, as: Int16.self)))
    case .int32: return .signed(Int64(try reader.integer(key, as: Int32.self)))
    case .int64: return .signed(try reader.integer(key))
    case .float32: return .double(Double(Float(bitPattern: try reader.integer(key))))
    case .float64: return .double(Double(bitPattern: try reader.integer(key)))
    case .bool: return .bool(try readBool(&reader, key: key))
    case .string: return .string(try reader.string(key))
    case .array: return .array(try readArray(&reader, key: key))
    }
  }

  private static func readType(
    _ reader: inout ByteReader,
    key: String
  ) throws(ModelFilesError) -> GGUFType {
    let number: UInt32 = try reader.integer("type of \(key)")
    guard let type = GGUFType(rawValue: number) else {
      throw ModelFilesError(
        .format,
        "metadata key \(key) has type \(number), which GGUF does not know",
        context: reader.path
      )
    }
    return type
  }

  private static func readBool(
    _ reader: inout ByteReader,
    key: String
  ) throws(ModelFilesError) -> Bool {
    let byte: UInt8 = try reader.integer(key)
    guard byte <= 1 else {
      throw ModelFilesError(
        .format,
        "\(key) is not a bool: its byte is \(byte)",
        context: reader.path
      )
    }
    return byte == 1
  }

  /// Returns where an array lies, and steps over it.
  private static func readArray(
    _ reader: inout ByteReader,
    key: String
  ) throws(ModelFilesError) -> GGUFArray {
    let type = try readType(&reader, key: key)
    guard type != .array else {
      throw ModelFilesError(.unsupported, "\(key) is an array of arrays", context: reader.path)
    }
    let most = max(0, reader.left - 8) / type.leastByteCount
    let count = try reader.count("element count of \(key)", limit: .max, left: most)
    let array = GGUFArray(elementType: type, count: count, offset: reader.offset)
    if let byteCount = type.byteCount {
      try reader.skip(count * byteCount, key)
    } else {
      for _ in 0..<count { _ = try reader.string("a string of \(key)") }
    }
    return array
  }

  private static func alignment(
    _ values: [String: GGUFValue],
    path: String
  ) throws(ModelFilesError) -> Int {
    let key = alignmentKey
    guard let value = values[key] else { return defaultAlignment }
    guard case .unsigned(let number) = value else {
      throw ModelFilesError(.format, "\(key) is \(value.kind), no unsigned integer", context: path)
    }
    guard let alignment = Int(exactly: number), isAlignment(alignment) else {
      throw ModelFilesError(
        .format,
        "\(key) is \(number); a power of two from 8 to 65536 is expected",
        context: path
      )
    }
    return alignment
  }

  /// Whether tensors may begin at multiples of a number.
  static func isAlignment(_ number: Int) -> Bool {
    (8...65_536).contains(number) && number.nonzeroBitCount == 1
  }

  private static func place(
    _ entries: [TensorEntry],
    in file: MappedFile,
    dataOffset: Int,
    alignment: Int
  ) throws(ModelFilesError) -> [StoredTensor] {
    var names: Set<String> = []
    var tensors: [StoredTensor] = []
    for entry in entries {
      guard names.insert(entry.name).inserted else {
        throw ModelFilesError(.format, "tensor \(entry.name) stands twice", context: file.path)
      }
      guard entry.offset.isMultiple(of: alignment) else {
        throw ModelFilesError(
          .format,
          "tensor \(entry.name) has offset \(entry.offset), no multiple of \(alignment)",
          context: file.path
        )
      }
      // Offset and data offset are both at most the file's size: no overflow.
      guard entry.offset <= file.size else {
        throw ModelFilesError(
          .format,
          "tensor \(entry.name) has offset \(entry.offset), beyond the file's \(file.size);"
            + " \(cutShort)",
          context: file.path
        )
      }
      tensors.append(
        StoredTensor(
          name: entry.name,
          shape: entry.shape,
          type: entry.type.type,
          typeName: entry.type.name,
          file: file,
          offset: dataOffset + entry.offset,
          byteCount: entry.byteCount
        )
      )
    }
    try checkExtents(tensors, in: file, from: dataOffset, contiguous: false)
    return tensors
  }

  /// A tensor of the header's directory.
  private struct TensorEntry {
    var name: String
    var shape: [Int]
    var type: GGUFTensorType
    /// From the start of the tensor data.
    var offset: Int
    var byteCount: Int

    init(_ reader: inout ByteReader, index: Int) throws(ModelFilesError) {
      let name = reader.text(
        try reader.string("name of tensor \(index)", limit: GGUFFile.nameLengthLimit)
      )
      self.name = name
      let rank: UInt32 = try reader.integer("dimension count of \(name)")
      guard GGUFFile.ranks.contains(Int(rank)) else {
        throw ModelFilesError(
          .format,
          "tensor \(name) has \(rank) dimensions, 1 to 4 are possible",
          context: reader.path
        )
      }
      var dimensions: [Int] = []
      for _ in 0..<rank {
        dimensions.append(try reader.count("a dimension of \(name)", limit: .max))
      }
      shape = dimensions.reversed()
      let number: UInt32 = try reader.integer("type of \(name)")
      guard let type = GGUFTensorType(number: number) else {
        throw ModelFilesError(
          .unsupported,
          "tensor \(name) has type \(number), which we do not know",
          context: reader.path
        )
      }
      self.type = type
      offset = try reader.count("offset of \(name)", limit: .max)
      byteCount = try type.byteCount(name, shape, .format, reader.path)
    }
  }
}
