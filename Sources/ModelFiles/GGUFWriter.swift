// Writes a GGUF file of version 3. Its layout is drawn in GGUFFile+Parsing.swift
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md); what the reader would refuse is not written.

/// A GGUF file to be written, whose tensors give their bytes when it is their turn.
///
///     var writer = GGUFWriter()
///     writer.metadata = original.metadata
///     for tensor in original.tensors {
///       let type = GGUFTensorType(.q4_0)
///       writer.tensors.append(.init(tensor.name, shape: tensor.shape, type: type) { sink in
///         for row in 0..<tensor.rowCount { try sink.append(quantised(row, of: tensor)) }
///       })
///     }
///     try writer.write(to: path)
package struct GGUFWriter {
  /// A tensor: what the header says of it, and where its bytes come from.
  package struct Tensor {
    package var name: String
    /// Outermost dimension first, as `StoredTensor` has it.
    package var shape: [Int]
    package var type: GGUFTensorType
    package var content: TensorSink.Content

    package init(
      _ name: String,
      shape: [Int],
      type: GGUFTensorType,
      content: @escaping TensorSink.Content
    ) {
      self.name = name
      self.shape = shape
      self.type = type
      self.content = content
    }

    /// A tensor of another file as it is; nil if GGUF has no such type.
    package init?(copying tensor: StoredTensor) {
      guard let type = GGUFTensorType(named: tensor.typeName) else { return nil }
      self.init(tensor.name, shape: tensor.shape, type: type) { try $0.append(tensor) }
    }
  }

  /// The keys and values, in the order of the file; `general.alignment`, if it is there, is obeyed.
  package var metadata: [(key: String, value: GGUFMetadataValue)] = []
  /// The tensors, in the order of the file.
  package var tensors: [Tensor] = []

  private static let version: UInt32 = 3

  package init() {}

  /// Writes the file and replaces what is at the path, once all of it is on disk.
  ///
  /// - Throws: `ModelFilesError.config` or `.tensor` if a key, name, shape or type is none of GGUF's or a
  ///   tensor gives another number of bytes than its shape says, `.file` if the system fails, and what the
  ///   tensors' contents throw. Then what was at the path is there still.
  package func write(to path: String) throws {
    let alignment = try alignment(path)
    try checkKeys(path)
    let sizes = try byteCounts(path)
    let file = try NewFile(replacing: path)
    try file.append(header(sizes, alignment: alignment))
    try file.pad(to: alignment)
    for (tensor, size) in zip(tensors, sizes) {
      try TensorSink.write(tensor.name, byteCount: size, to: file, tensor.content)
      // Behind the last one, too: ggml counts it to the data that it reads (gguf_init_from_file).
      try file.pad(to: alignment)
    }
    try file.commit()
  }

  /// The bytes that the file takes besides those of its tensors, at most: header and padding.
  package var overheadByteCount: Int {
    let keys = metadata.reduce(0) { $0 + 12 + $1.key.utf8.count + $1.value.bytes.count }
    let names = tensors.reduce(0) { $0 + 24 + $1.name.utf8.count + 8 * $1.shape.count }
    let alignment = (try? alignment("")) ?? GGUFFile.defaultAlignment
    return 24 + keys + names + (tensors.count + 1) * alignment
  }

  private func header(_ sizes: [Int], alignment: Int) -> [UInt8] {
    var header = GGUFFile.magic
    func append(_ number: some FixedWidthInteger) {
      for shift in stride(from: 0, to: number.bitWidth, by: 8) {
        header.append(UInt8(truncatingIfNeeded: number >> shift))
      }
    }
    func append(_ text: String) {
      append(UInt64(text.utf8.count))
      header += text.utf8
    }
    append(Self.version)
    append(UInt64(tensors.count))
    append(UInt64(metadata.count))
    for (key, value) in metadata {
      append(key)
      append(value.type.rawValue)
      header += value.bytes
    }
    var offset = 0
    for (tensor, size) in zip(tensors, sizes) {
      append(tensor.name)
      append(UInt32(tensor.shape.count))
      for dimension in tensor.shape.reversed() { append(UInt64(dimension)) }
      append(tensor.type.number)
      append(UInt64(offset))
      offset = (offset + size + alignment - 1) / alignment * alignment
    }
    return header
  }

  // MARK: What GGUF allows

  private func alignment(_ path: String) throws(ModelFilesError) -> Int {
    guard let value = metadata.first(where: { $0.key == GGUFFile.alignmentKey })?.value else {
      return GGUFFile.defaultAlignment
    }
    let number = value.bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    guard value.type == .uint32, GGUFFile.isAlignment(number) else {
      throw ModelFilesError(
        .config,
        "\(GGUFFile.alignmentKey) is \(value.type) \(value.bytes); a uint32 is expected, and a power of"
          + " two from 8 to 65536",
        context: path
      )
    }
    return number
  }

  private func checkKeys(_ path: String) throws(ModelFilesError) {
    var keys: Set<String> = []
    for (key, _) in metadata {
      guard (1...GGUFFile.keyLengthLimit).contains(key.utf8.count) else {
        throw ModelFilesError(
          .config,
          "metadata key \(key.prefix(40)) has \(key.utf8.count) bytes; 1 to"
            + " \(GGUFFile.keyLengthLimit) are possible",
          context: path
        )
      }
      guard keys.insert(key).inserted else {
        throw ModelFilesError(.config, "metadata key \(key) stands twice", context: path)
      }
    }
    guard max(metadata.count, tensors.count) <= GGUFFile.countLimit else {
      throw ModelFilesError(
        .config,
        "\(metadata.count) metadata keys and \(tensors.count) tensors; at most"
          + " \(GGUFFile.countLimit) of each are read",
        context: path
      )
    }
  }

  /// Returns the bytes of each tensor.
  private func byteCounts(_ path: String) throws(ModelFilesError) -> [Int] {
    var names: Set<String> = []
    var sizes: [Int] = []
    for tensor in tensors {
      guard (1...GGUFFile.nameLengthLimit).contains(tensor.name.utf8.count) else {
        throw ModelFilesError(
          .tensor,
          "tensor \(tensor.name.prefix(80)) has a name of \(tensor.name.utf8.count) bytes; 1 to"
            + " \(GGUFFile.nameLengthLimit) are possible",
          context: path
        )
      }
      guard names.insert(tensor.name).inserted else {
        throw ModelFilesError(.tensor, "tensor \(tensor.name) stands twice", context: path)
      }
      guard GGUFFile.ranks.contains(tensor.shape.count) else {
        throw ModelFilesError(
          .tensor,
          "tensor \(tensor.name) has shape \(tensor.shape), 1 to 4 dimensions are possible",
          context: path
        )
      }
      sizes.append(try tensor.type.byteCount(tensor.name, tensor.shape, .tensor, path))
    }
    return sizes
  }
}
