// Importance data: how large the inputs of each product were while a model read a text, column by column,
// so that a quantiser errs where it costs least. Here is the GGUF form that llama.cpp's tools write and
// read, and what both forms have in common; the older form stands in ImportanceFile+Legacy.swift.
//
// https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/imatrix.cpp, save_imatrix and load_imatrix

import Compute

/// A file of importance data.
///
///     var file = ImportanceFile()
///     file.entries["blk.0.attn_q.weight"] = .init(sums: squares, counts: [Float(rowCount)])
///     file.chunkCount = 64
///     file.chunkSize = 512
///     try file.write(to: "importance.gguf")
///     let means = try ImportanceFile.read("importance.gguf").entries["blk.0.attn_q.weight"]?.meanSquares
package struct ImportanceFile: Sendable, Hashable {
  /// What is known of the inputs of one tensor's products.
  package struct Entry: Sendable, Hashable {
    /// Sums of the squares of each column of the input.
    package var sums: [Float]  // [matrices, columns]
    /// The rows that were summed: one number a matrix, or a single one for all.
    package var counts: [Float]  // [matrices] or [1]

    package init(sums: [Float], counts: [Float]) {
      self.sums = sums
      self.counts = counts
    }
  }

  /// By the tensor's name in GGUF, for example `blk.0.attn_q.weight`.
  package var entries: [String: Entry] = [:]
  /// The texts that were read, as paths or names.
  package var datasets: [String] = []
  /// The windows of text that were read.
  package var chunkCount = 0
  /// The tokens of such a window.
  package var chunkSize = 0
  /// What else whoever made the file noted, such as digests of the model and the text; llama.cpp reads
  /// over it, and the legacy form has no place for it.
  package var notes: [String: String] = [:]

  package init() {}

  /// Reads a file of either form.
  ///
  /// What newer files of llama.cpp hold besides, sums of the inputs themselves (`NAME.in_sum`), is not kept.
  ///
  /// - Throws: `ModelFilesError` if it cannot be read, or is no well-formed file of importance data.
  package static func read(_ path: String) throws(ModelFilesError) -> ImportanceFile {
    let file = try MappedFile.open(path)
    let magic = GGUFFile.magic
    guard try file.read(offset: 0, count: min(file.size, magic.count)) == magic else {
      return try ImportanceFile(legacy: file)
    }
    return try ImportanceFile(GGUFFile.open(path))
  }

  /// Whether a file of this name gets the legacy form, which has no notes.
  package static func isLegacy(_ path: String) -> Bool { path.hasSuffix(".dat") }

  /// Writes the file and replaces what is at the path, once all of it is on disk.
  ///
  /// - Parameter path: Where to; one that ends in `.dat` gets the legacy form, any other the GGUF form.
  /// - Throws: `ModelFilesError.tensor` or `.config` if an entry or a number is none that could be read
  ///   again, `.file` if the system fails. Then what was at the path is there still.
  package func write(to path: String) throws {
    try checkEntries(path)
    guard Self.isLegacy(path) else { return try gguf(path).write(to: path) }
    try writeLegacy(to: path)
  }
}

extension ImportanceFile.Entry {
  /// The mean square of each column; 1 in each column of a matrix that met no row, since nothing is known
  /// of its columns, and a quantiser must weigh them alike (load_imatrix in tools/quantize/quantize.cpp).
  ///
  /// - Precondition: There are counts, and as many sums as one or more columns a count have.
  package var meanSquares: [Float] {
    precondition(
      !counts.isEmpty && sums.count >= counts.count && sums.count.isMultiple(of: counts.count),
      "\(sums.count) sums for \(counts.count) counts"
    )
    let columnCount = sums.count / counts.count
    return sums.indices.map { index in
      let count = counts[index / columnCount]
      return count > 0 ? sums[index] / count : 1
    }
  }

  /// What is wrong with it; nil if nothing is.
  var fault: String? {
    guard !counts.isEmpty, !sums.isEmpty, sums.count.isMultiple(of: counts.count) else {
      return "has \(sums.count) sums for \(counts.count) counts"
    }
    // Finite sums over counts of 1 or more give finite means.
    if let index = counts.firstIndex(where: { !($0 >= 0 && $0.isFinite && $0 == $0.rounded()) }) {
      return "has count \(counts[index]) at \(index), which is no number of rows"
    }
    if let index = sums.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
      return "has sum \(sums[index]) at \(index), which no sum of squares is"
    }
    return nil
  }
}

extension ImportanceFile {
  /// The most bytes of an entry's name: ggml stores names in 64 bytes, a zero and the suffix included
  /// (GGML_MAX_NAME).
  static let nameLengthLimit = 63 - sumsSuffix.utf8.count

  private static let sumsSuffix = ".in_sum2"
  private static let countsSuffix = ".counts"
  private static let typeKey = "general.type"
  private static let type = "imatrix"
  private static let datasetsKey = "imatrix.datasets"
  private static let chunkCountKey = "imatrix.chunk_count"
  private static let chunkSizeKey = "imatrix.chunk_size"
  private static let notePrefix = "trestle.importance."

  /// Refuses entries that could not be read again.
  private func checkEntries(_ path: String) throws(ModelFilesError) {
    guard !entries.isEmpty else {
      throw ModelFilesError(.tensor, "importance data without an entry", context: path)
    }
    for (name, entry) in entries {
      guard (1...Self.nameLengthLimit).contains(name.utf8.count) else {
        throw ModelFilesError(
          .tensor,
          "entry \(name.prefix(80)) has a name of \(name.utf8.count) bytes; 1 to"
            + " \(Self.nameLengthLimit) are possible",
          context: path
        )
      }
      try Self.check(entry, name, .tensor, path)
    }
  }

  static func check(
    _ entry: Entry,
    _ name: String,
    _ code: ModelFilesError.Code,
    _ path: String
  ) throws(ModelFilesError) {
    guard let fault = entry.fault else { return }
    throw ModelFilesError(code, "entry \(name) \(fault)", context: path)
  }

  // MARK: The GGUF form

  private init(_ file: GGUFFile) throws(ModelFilesError) {
    // llama.cpp writes the type from the first such file on.
    let type = try file.string(Self.typeKey)
    guard type == Self.type else {
      throw ModelFilesError(
        .unsupported,
        "\(Self.typeKey) is \(type ?? "absent"), no importance data; make some of the model, or give an"
          + " imatrix file",
        context: file.path
      )
    }
    datasets = try file.strings(Self.datasetsKey) ?? []
    chunkCount = try Self.count(file, Self.chunkCountKey)
    chunkSize = try Self.count(file, Self.chunkSizeKey)
    for key in file.keys where key.hasPrefix(Self.notePrefix) {
      notes[String(key.dropFirst(Self.notePrefix.count))] = try file.string(key)
    }
    var sums: [String: StoredTensor] = [:]
    var counts: [String: StoredTensor] = [:]
    for tensor in file.tensors {
      if tensor.name.hasSuffix(Self.sumsSuffix) {
        sums[String(tensor.name.dropLast(Self.sumsSuffix.count))] = tensor
      } else if tensor.name.hasSuffix(Self.countsSuffix) {
        counts[String(tensor.name.dropLast(Self.countsSuffix.count))] = tensor
      }
    }
    guard !sums.isEmpty || !counts.isEmpty else {
      throw ModelFilesError(.format, "importance data without an entry", context: file.path)
    }
    for name in Set(sums.keys).union(counts.keys).sorted() {
      guard let sums = sums[name], let counts = counts[name] else {
        let missing = name + (sums[name] == nil ? Self.sumsSuffix : Self.countsSuffix)
        throw ModelFilesError(
          .format,
          "entry \(name) has no tensor \(missing); \(cutShort)",
          context: file.path
        )
      }
      let entry = Entry(sums: try Self.floats(sums), counts: try Self.floats(counts))
      try Self.check(entry, name, .format, file.path)
      entries[name] = entry
    }
  }

  /// Returns a number of the file, which a `UInt32` holds; 0 if it is absent.
  private static func count(_ file: GGUFFile, _ key: String) throws(ModelFilesError) -> Int {
    let number = try file.integer(key) ?? 0
    guard UInt32(exactly: number) != nil else {
      throw ModelFilesError(.format, "\(key) is \(number), which is absurd", context: file.path)
    }
    return number
  }

  private static func floats(_ tensor: StoredTensor) throws(ModelFilesError) -> [Float] {
    guard tensor.type == .f32 else {
      throw ModelFilesError(
        .format,
        "tensor \(tensor.name) has type \(tensor.typeName), F32 is expected",
        context: tensor.file.path
      )
    }
    let bytes = try tensor.file.read(offset: tensor.offset, count: tensor.byteCount)
    return unsafe bytes.withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 4).map { offset in
        let bits = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        return Float(bitPattern: UInt32(littleEndian: bits))
      }
    }
  }

  /// Returns the file as GGUF: general.type, imatrix.datasets, imatrix.chunk_count and imatrix.chunk_size
  /// (the last three, llama-quantize insists on), and of each entry NAME.in_sum2 [matrices, columns] and
  /// NAME.counts [matrices, 1].
  private func gguf(_ path: String) throws(ModelFilesError) -> GGUFWriter {
    guard let chunkCount = UInt32(exactly: chunkCount), let chunkSize = UInt32(exactly: chunkSize)
    else {
      throw ModelFilesError(
        .config,
        "\(chunkCount) chunks of \(chunkSize) tokens; 0 to \(UInt32.max) are possible",
        context: path
      )
    }
    var writer = GGUFWriter()
    writer.metadata = [
      (Self.typeKey, .string(Self.type)),
      (Self.datasetsKey, .array(of: .string, datasets.map { .string($0) })),
      (Self.chunkCountKey, .uint32(chunkCount)),
      (Self.chunkSizeKey, .uint32(chunkSize)),
    ]
    for (name, text) in notes.sorted(by: { $0.key < $1.key }) {
      writer.metadata.append((Self.notePrefix + name, .string(text)))
    }
    for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
      let matrixCount = entry.counts.count
      let columnCount = entry.sums.count / matrixCount
      for (suffix, columnCount, values) in [
        (Self.sumsSuffix, columnCount, entry.sums), (Self.countsSuffix, 1, entry.counts),
      ] {
        writer.tensors.append(
          .init(name + suffix, shape: [matrixCount, columnCount], type: GGUFTensorType(.f32)) {
            try $0.append(Self.bytes(values))
          }
        )
      }
    }
    return writer
  }

  /// Returns numbers as files store them.
  static func bytes(_ values: [Float]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(values.count * 4)
    for value in values {
      let bits = value.bitPattern
      for shift in stride(from: 0, to: 32, by: 8) {
        bytes.append(UInt8(truncatingIfNeeded: bits >> shift))
      }
    }
    return bytes
  }
}
