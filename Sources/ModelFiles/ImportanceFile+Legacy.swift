// Importance data in the form that llama.cpp wrote before it had one in GGUF, named .dat or .imatrix, and can
// write still (save_imatrix_legacy in tools/imatrix/imatrix.cpp). All numbers are little-endian:
//
//   entry count i32
//   entry count × { length i32, name | chunks i32 | value count i32 | each f32: mean square × chunks }
//   chunks i32 | length i32, name of the text            which older files end without

extension ImportanceFile {
  /// The tokens of a chunk, which the form does not tell: what llama-imatrix takes by default.
  ///
  /// Sums and counts are multiplied by it, so that they weigh as rows where they are added to others; the
  /// means do not depend on it.
  private static let legacyChunkSize = 512

  init(legacy file: MappedFile) throws(ModelFilesError) {
    var reader = ByteReader(try file.region(offset: 0, count: file.size), path: file.path)
    // The least entry: an empty name, two numbers and a value.
    guard let entryCount: Int32 = try? reader.integer("entry count"), entryCount > 0,
      entryCount <= GGUFFile.countLimit, entryCount <= reader.left / 16
    else { throw file.foreign("file of importance data") }
    chunkSize = Self.legacyChunkSize
    for index in 0..<entryCount {
      let (name, entry) = try Self.readEntry(&reader, index)
      try Self.check(entry, name, .format, file.path)
      guard entries.updateValue(entry, forKey: name) == nil else {
        throw ModelFilesError(.format, "entry \(name) stands twice", context: file.path)
      }
    }
    guard reader.left > 0 else { return }
    chunkCount = try Self.readCount(&reader, "chunk count", 0...Int(Int32.max))
    guard reader.left > 0 else { return }
    let most = max(0, reader.left - 4)
    let dataset = try Self.readText(&reader, "name of the text", atLeast: 0, atMost: most)
    datasets = dataset.isEmpty ? [] : [dataset]
    guard reader.left == 0 else {
      throw ModelFilesError(
        .format,
        "\(reader.left) bytes after the name of the text belong to nothing",
        context: file.path
      )
    }
  }

  private static func readEntry(
    _ reader: inout ByteReader,
    _ index: Int32
  ) throws(ModelFilesError) -> (String, Entry) {
    let limit = GGUFFile.nameLengthLimit
    let name = try readText(&reader, "name of entry \(index)", atLeast: 1, atMost: limit)
    let chunkCount = try readCount(&reader, "chunk count of \(name)", 0...Int(Int32.max))
    let valueCount = try readCount(&reader, "value count of \(name)", 1...Int(Int32.max))
    guard valueCount <= reader.left / 4 else {
      throw ModelFilesError(
        .format,
        "truncated: \(valueCount) values of \(name) need \(valueCount * 4) bytes, \(reader.left) are"
          + " left; \(cutShort)",
        context: "\(reader.path), byte \(reader.offset)"
      )
    }
    var values: [Float] = []
    values.reserveCapacity(valueCount)
    for _ in 0..<valueCount {
      values.append(Float(bitPattern: try reader.integer("a value of \(name)")))
    }
    // Without chunks, the values are means (load_imatrix in tools/quantize/quantize.cpp).
    guard chunkCount > 0 else { return (name, Entry(sums: values, counts: [1])) }
    let rows = Float(legacyChunkSize)
    return (name, Entry(sums: values.map { $0 * rows }, counts: [Float(chunkCount) * rows]))
  }

  private static func readCount(
    _ reader: inout ByteReader,
    _ what: String,
    _ possible: ClosedRange<Int>
  ) throws(ModelFilesError) -> Int {
    let start = reader.offset
    let number: Int32 = try reader.integer(what)
    guard possible.contains(Int(number)) else {
      throw ModelFilesError(
        .format,
        "\(what) is \(number), \(possible.lowerBound) to \(possible.upperBound) is possible here",
        context: "\(reader.path), byte \(start)"
      )
    }
    return Int(number)
  }

  private static func readText(
    _ reader: inout ByteReader,
    _ what: String,
    atLeast least: Int,
    atMost most: Int
  ) throws(ModelFilesError) -> String {
    let length = try readCount(&reader, "length of the \(what)", least...most)
    let start = reader.offset
    try reader.skip(length, what)
    return reader.text(start..<reader.offset)
  }

  /// Writes the legacy form, as llama-imatrix does: without entries that met no row, and with a mean square of
  /// 1 in the columns of a matrix that met none.
  func writeLegacy(to path: String) throws(ModelFilesError) {
    let known = entries.filter { $0.value.counts.contains { $0 > 0 } }.sorted { $0.key < $1.key }
    guard !known.isEmpty else {
      throw ModelFilesError(.tensor, "importance data without a row", context: path)
    }
    let file = try NewFile(replacing: path)
    try file.append(Self.number(known.count, "entries", path))
    for (name, entry) in known {
      try file.append(Self.text(name, path))
      // Rounded up, so that no entry with rows has no chunk.
      let rows = entry.counts.max() ?? 0
      let chunks = (rows / Float(max(1, chunkSize))).rounded(.up)
      let values = entry.meanSquares.map { $0 * chunks }
      guard let chunkCount = Int(exactly: chunks), values.allSatisfy(\.isFinite) else {
        throw ModelFilesError(
          .tensor,
          "entry \(name) has sums or counts too large for the legacy form; write GGUF",
          context: path
        )
      }
      try file.append(Self.number(chunkCount, "chunks of \(name)", path))
      try file.append(Self.number(values.count, "values of \(name)", path))
      try file.append(Self.bytes(values))
    }
    try file.append(Self.number(chunkCount, "chunks", path))
    // There is room for one.
    try file.append(Self.text(datasets.last ?? "", path))
    try file.commit()
  }

  private static func text(_ text: String, _ path: String) throws(ModelFilesError) -> [UInt8] {
    try number(text.utf8.count, "bytes of a name", path) + Array(text.utf8)
  }

  private static func number(
    _ number: Int,
    _ what: String,
    _ path: String
  ) throws(ModelFilesError) -> [UInt8] {
    guard number >= 0, let number = Int32(exactly: number) else {
      throw ModelFilesError(
        .config,
        "\(number) \(what); the legacy form holds up to \(Int32.max)",
        context: path
      )
    }
    return (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
  }
}
