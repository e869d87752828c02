// Reads the header of a safetensors file (https://github.com/huggingface/safetensors, "Format"):
//
//   header length u64, little-endian
//   header: JSON { name: { "dtype", "shape", "data_offsets": [begin, end] }, "__metadata__": {…} }
//   tensor data, offsets from here; without gaps

import Compute

/// A safetensors file: the tensors it lists.
package struct SafetensorsFile: Sendable {
  /// In the order of their names.
  package let tensors: [StoredTensor]
  /// What the file says of itself under `__metadata__`.
  package let metadata: [String: String]

  static let lengthByteCount = 8
  static let metadataKey = "__metadata__"
  /// Dimensions of a tensor; images and sound have up to 5.
  static let rankLimit = 16
  private static let types: [String: TensorType] = ["F32": .f32, "F16": .f16, "BF16": .bf16]

  /// Opens a file and reads its header.
  ///
  /// - Throws: `ModelFilesError` if it cannot be read, or is not a well-formed safetensors file.
  package static func open(_ path: String) throws(ModelFilesError) -> SafetensorsFile {
    let file = try MappedFile.open(path)
    var reader = ByteReader(
      try file.region(offset: 0, count: min(file.size, lengthByteCount)),
      path: path
    )
    let length: Int
    do throws(ModelFilesError) {
      length = try reader.count(
        "header length",
        limit: .max,
        left: file.size - lengthByteCount
      )
    } catch {
      // A sound length with too little behind it is a file cut short; else it is something else.
      let start = try file.read(offset: 0, count: min(file.size, lengthByteCount + 1))
      guard start.count > lengthByteCount, start[lengthByteCount] == UInt8(ascii: "{"),
        start[4..<lengthByteCount].allSatisfy({ $0 == 0 })
      else { throw file.foreign("safetensors file") }
      throw error
    }
    let header = try JSONObject(file, offset: lengthByteCount, count: length)
    let dataOffset = lengthByteCount + length
    var tensors: [StoredTensor] = []
    for name in header.fields.keys.sorted() where name != metadataKey {
      guard let entry = try header.object(name) else {
        throw ModelFilesError(.format, "tensor \(name) is null", context: path)
      }
      tensors.append(try tensor(name, entry, in: file, dataOffset: dataOffset))
    }
    try checkExtents(tensors, in: file, from: dataOffset, contiguous: true)
    return SafetensorsFile(tensors: tensors, metadata: metadata(header))
  }

  /// Returns what is text of the metadata: all of it by the format, and the rest is passed over.
  private static func metadata(_ header: JSONObject) -> [String: String] {
    guard case .object(let fields)? = header.value(metadataKey) else { return [:] }
    return fields.compactMapValues(\.string)
  }

  private static func tensor(
    _ name: String,
    _ entry: JSONObject,
    in file: MappedFile,
    dataOffset: Int
  ) throws(ModelFilesError) -> StoredTensor {
    guard let typeName = try entry.string("dtype"), case .array? = entry.value("shape"),
      let shape = try entry.integers("shape"), case .array? = entry.value("data_offsets"),
      let offsets = try entry.integers("data_offsets"), offsets.count == 2
    else {
      throw ModelFilesError(
        .format,
        "tensor \(name) lacks dtype, shape or two data_offsets",
        context: file.path
      )
    }
    guard shape.count <= rankLimit, let count = elementCount(shape) else {
      throw ModelFilesError(.format, "tensor \(name) has shape \(shape)", context: file.path)
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard begin >= 0, begin <= end, end <= file.size - dataOffset else {
      throw ModelFilesError(
        .format,
        "tensor \(name) has data_offsets \(offsets), \(file.size - dataOffset) bytes of"
          + " data are there; \(cutShort)",
        context: file.path
      )
    }
    let type = types[typeName]
    if let type {
      let (bytes, overflow) = count.multipliedReportingOverflow(by: type.blockByteCount)
      guard !overflow, bytes == end - begin else {
        throw ModelFilesError(
          .format,
          "tensor \(name) has \(end - begin) bytes, shape \(shape) in \(typeName) does not",
          context: file.path
        )
      }
    }
    return StoredTensor(
      name: name,
      shape: shape,
      type: type,
      typeName: typeName,
      file: file,
      offset: dataOffset + begin,
      byteCount: end - begin
    )
  }
}
