// Files of importance data in both forms: laid out by hand as llama.cpp's tools write them, written and read
// again, and wrong in every place.

import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `Importance file` {
  private static let seed: UInt64 = 20_261_201

  private let query = "blk.0.attn_q.weight"
  private let experts = "blk.0.ffn_down_exps.weight"

  /// Two entries, one of them of three matrices, the second of which met no row.
  private var sample: ImportanceFile {
    var file = ImportanceFile()
    file.entries[query] = .init(sums: [2, 8, 0, 1], counts: [4])
    file.entries[experts] = .init(sums: [10, 20, 0, 0, 3, 1.5], counts: [5, 0, 1])
    file.datasets = ["a.txt", "Füße.txt"]
    file.chunkCount = 2
    file.chunkSize = 3
    return file
  }

  private func read(_ bytes: [UInt8]) throws -> ImportanceFile {
    try withTemporaryModel(bytes) { try ImportanceFile.read($0) }
  }

  /// Returns the bytes of a file that is written under a name.
  private func written(_ file: ImportanceFile, as name: String) throws -> [UInt8] {
    try withTemporaryDirectory { directory in
      try file.write(to: "\(directory)/\(name)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [name])
      return Array(try Data(contentsOf: URL(filePath: "\(directory)/\(name)")))
    }
  }

  // MARK: Laid out by hand

  private func floats(_ values: [Float]) -> [UInt8] {
    values.flatMap { littleEndian($0.bitPattern) }
  }

  private func tensor(
    _ name: String,
    _ dimensions: [UInt64],
    _ values: [Float]
  ) -> GGUFBuilder.Tensor {
    .init(name: name, dimensions: dimensions, type: 0, bytes: floats(values))
  }

  /// The sample as save_imatrix of llama.cpp writes it.
  private var builder: GGUFBuilder {
    var builder = GGUFBuilder()
    builder["general.type"] = .string("imatrix")
    builder["imatrix.datasets"] = .array([.string("a.txt"), .string("Füße.txt")])
    builder["imatrix.chunk_count"] = .uint32(2)
    builder["imatrix.chunk_size"] = .uint32(3)
    builder.tensors = [
      tensor("\(query).in_sum2", [4, 1], [2, 8, 0, 1]),
      tensor("\(query).counts", [1, 1], [4]),
      tensor("\(experts).in_sum2", [2, 3], [10, 20, 0, 0, 3, 1.5]),
      tensor("\(experts).counts", [1, 3], [5, 0, 1]),
    ]
    return builder
  }

  private func number(_ number: Int32) -> [UInt8] { littleEndian(number) }

  private func text(_ text: String) -> [UInt8] {
    number(Int32(text.utf8.count)) + Array(text.utf8)
  }

  /// An entry of the legacy form.
  private func entry(
    _ name: String,
    chunks: Int32,
    _ values: [Float],
    count: Int32? = nil
  )
    -> [UInt8]
  {
    text(name) + number(chunks) + number(count ?? Int32(values.count)) + floats(values)
  }

  @Test func `the GGUF form is read as llama.cpp writes it`() throws {
    #expect(try read(builder.bytes) == sample)
    var newer = builder
    newer.tensors.append(tensor("\(query).in_sum", [4, 1], [-1, 1, 0, 3]))
    newer.tensors.append(tensor("something.else", [2], [1, 2]))
    #expect(try read(newer.bytes) == sample)
  }

  @Test func `one count may stand for all matrices`() throws {
    var builder = builder
    builder.change("\(experts).in_sum2") { $0.dimensions = [6, 1] }
    builder.change("\(experts).counts") {
      $0.dimensions = [1]
      $0.bytes = floats([2])
    }
    #expect(try read(builder.bytes).entries[experts]?.meanSquares == [5, 10, 0, 0, 1.5, 0.75])
  }

  @Test func `numbers that llama-imatrix could do without are 0, and there need be no text`() throws
  {
    var builder = builder
    for key in ["datasets", "chunk_count", "chunk_size"] { builder["imatrix.\(key)"] = nil }
    let file = try read(builder.bytes)
    #expect(file.datasets.isEmpty && file.chunkCount == 0 && file.chunkSize == 0)
    #expect(file.entries == sample.entries)
  }

  @Test func `the GGUF form is written byte by byte as by hand`() throws {
    var builder = builder
    builder["trestle.importance.model"] = .string("abc")
    builder["trestle.importance.text"] = .string("")
    builder.tensors.sort { $0.name.prefix(16) < $1.name.prefix(16) }
    var file = sample
    file.notes = ["text": "", "model": "abc"]
    // Behind the last tensor too, the file is filled up to a multiple of 32.
    #expect(
      try written(file, as: "i.gguf") == builder.bytes + [UInt8](repeating: 0, count: 32 - 12)
    )
  }

  @Test func `the legacy form is read as llama.cpp writes it`() throws {
    let head = number(2) + entry(query, chunks: 2, [1, 4, 0, 0.5])
    // No chunks: the values are means.
    let entries = head + entry(experts, chunks: 0, [7, 8])
    let file = try read(entries + number(2) + text("a.txt"))
    #expect(file.entries[query] == .init(sums: [512, 2048, 0, 256], counts: [1024]))
    #expect(file.entries[query]?.meanSquares == [0.5, 2, 0, 0.25])
    #expect(file.entries[experts]?.meanSquares == [7, 8])
    #expect(file.entries.count == 2 && file.datasets == ["a.txt"] && file.notes.isEmpty)
    #expect(file.chunkCount == 2 && file.chunkSize == 512)
    // Older files end here or there.
    #expect(try read(entries).entries == file.entries)
    #expect(try read(entries + number(2)).chunkCount == 2)
    #expect(try read(entries + number(2) + text("")).datasets.isEmpty)
  }

  @Test func `the legacy form is written as llama.cpp does`() throws {
    var file = sample
    file.entries["unmet"] = .init(sums: [0, 0], counts: [0, 0])
    // 4 and 5 rows are two chunks of 3; the matrix that met no row has means of 1.
    let wanted =
      number(2) + entry(query, chunks: 2, [1, 4, 0, 0.5])
      + entry(experts, chunks: 2, [4, 8, 2, 2, 6, 3]) + number(2) + text("Füße.txt")
    #expect(try written(file, as: "i.dat") == wanted)
  }

  @Test func `a matrix that met no row weighs all columns alike`() {
    #expect(sample.entries[query]?.meanSquares == [0.5, 2, 0, 0.25])
    #expect(sample.entries[experts]?.meanSquares == [2, 4, 1, 1, 3, 1.5])
  }

  // MARK: Written and read again

  private func random(_ random: inout SeededRandom) -> ImportanceFile {
    var file = ImportanceFile()
    for index in 0..<Int.random(in: 1...6, using: &random) {
      let matrices = Int.random(in: 1...4, using: &random)
      let columns = Int.random(in: 1...40, using: &random)
      file.entries["blk.\(index).w"] = .init(
        sums: random.floats(matrices * columns, in: 0...1e6),
        counts: (0..<matrices).map { _ in Float(Int.random(in: 0...100_000, using: &random)) }
      )
    }
    file.datasets = (0..<Int.random(in: 0...2, using: &random)).map { "text \($0)" }
    file.chunkCount = Int.random(in: 0...1000, using: &random)
    file.chunkSize = Int.random(in: 1...4096, using: &random)
    file.notes = ["model": "\(random.next())"]
    return file
  }

  @Test(.seeded(default: seed)) func `random files come back equal from GGUF`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 20) {
      let file = self.random(&random)
      #expect(try read(written(file, as: "i.imatrix")) == file)
    }
  }

  @Test(.seeded(default: seed)) func `means come back from the legacy form`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 20) {
      var file = self.random(&random)
      file.entries["blk.0.w"]?.counts[0] = 1
      let back = try read(written(file, as: "i.dat"))
      #expect(back.chunkCount == file.chunkCount && back.datasets == file.datasets.suffix(1))
      let met = file.entries.filter { $0.value.counts.contains { $0 > 0 } }
      #expect(back.entries.keys == met.keys)
      for (name, entry) in met {
        for (mean, wanted) in zip(back.entries[name]?.meanSquares ?? [], entry.meanSquares) {
          // Multiplied by the chunks and divided by them again: two roundings.
          #expect(abs(mean - wanted) <= wanted * 2 * .ulpOfOne)
        }
      }
    }
  }

  // MARK: What is not read

  @Test func `another file is told apart`() throws {
    var model = builder
    model["general.type"] = .string("model")
    expectRefusal(.unsupported, "general.type is model") { _ = try read(model.bytes) }
    model["general.type"] = nil
    expectRefusal(.unsupported, "general.type is absent") { _ = try read(model.bytes) }
    for text in ["<html>", "PK\u{3}\u{4}", "x", "text of a length"] {
      expectRefusal(.format, "not a file of importance data") { _ = try read(Array(text.utf8)) }
    }
    expectRefusal(.file, "cannot open") { _ = try ImportanceFile.read("no/such/file") }
  }

  private func refuse(
    _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout GGUFBuilder) -> Void
  ) {
    var builder = builder
    change(&builder)
    expectRefusal(.format, words, sourceLocation: sourceLocation) { _ = try read(builder.bytes) }
  }

  @Test func `entries of the GGUF form that are none`() {
    refuse("without an entry") { $0.tensors = [] }
    refuse("entry \(query) has no tensor \(query).counts") { $0.tensors.remove(at: 1) }
    refuse("entry \(query) has no tensor \(query).in_sum2") { $0.tensors.remove(at: 0) }
    for (value, words) in [
      (Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf"), (-1, "-1.0"),
    ] {
      refuse("entry \(query) has sum \(words) at 2") {
        $0.tensors[0].bytes = floats([1, 2, value, 3])
      }
      refuse("entry \(experts) has count \(words) at 1") {
        $0.tensors[3].bytes = floats([1, value, 3])
      }
    }
    refuse("count 1.5 at 0") { $0.tensors[1].bytes = floats([1.5]) }
    refuse("entry \(experts) has 6 sums for 4 counts") {
      $0.tensors[3] = tensor("\(experts).counts", [1, 4], [1, 2, 3, 4])
    }
    refuse("entry \(query) has 4 sums for 8 counts") {
      $0.tensors[1] = tensor("\(query).counts", [8], [1, 2, 3, 4, 5, 6, 7, 8])
    }
    refuse("tensor \(query).counts has type I32, F32 is expected") { $0.tensors[1].type = 26 }
    refuse("imatrix.chunk_count is -1") { $0["imatrix.chunk_count"] = .int32(-1) }
    refuse("imatrix.chunk_size is 4294967296") { $0["imatrix.chunk_size"] = .uint64(1 << 32) }
  }

  @Test func `metadata of another type`() {
    for (key, words) in [
      ("general.type", "a string"), ("imatrix.datasets", "an array of strings"),
      ("imatrix.chunk_count", "an integer"), ("trestle.importance.text", "a string"),
    ] {
      var builder = builder
      builder[key] = .bool(true)
      expectRefusal(.config, "\(key) is a bool, \(words) is expected") {
        _ = try read(builder.bytes)
      }
    }
  }

  @Test func `numbers of the legacy form that are none`() throws {
    let good = entry(query, chunks: 2, [1, 4])
    func refuse(_ words: String, _ bytes: [UInt8]) {
      expectRefusal(.format, words) { _ = try read(bytes) }
    }
    #expect(try read(number(1) + good).entries.count == 1)
    for count in [0, -1, 3, 65_537, .min, .max] as [Int32] {
      refuse("not a file of importance data", number(count) + good)
    }
    refuse("truncated", number(2) + good)
    for length in [0, -1, 65, .min, .max] as [Int32] {
      let start = number(1) + number(length) + Array("abc".utf8)
      refuse("length of the name of entry 0", start + [UInt8](repeating: 0, count: 200))
    }
    refuse("chunk count of w is -1", number(1) + entry("w", chunks: -1, [1]))
    for count in [0, -1, .min] as [Int32] {
      refuse("value count of w is \(count)", number(1) + entry("w", chunks: 1, [1], count: count))
    }
    for count in [2, 1 << 29, 1 << 30, .max] as [Int32] {
      refuse("values of w need", number(1) + entry("w", chunks: 1, [1], count: count))
    }
    for (value, words) in [(Float.nan, "nan"), (.infinity, "inf"), (-1, "-512.0"), (3e38, "inf")] {
      refuse("entry w has sum \(words) at 1", number(1) + entry("w", chunks: 1, [1, value]))
    }
    refuse("entry \(query) stands twice", number(2) + good + good)
    refuse("chunk count is -1", number(1) + good + number(-1))
    for length in [-1, 6, .min, .max] as [Int32] {
      let end = number(2) + number(length) + Array("a.txt".utf8)
      refuse("length of the name of the text", number(1) + good + end)
    }
    refuse(
      "3 bytes after the name of the text",
      number(1) + good + number(2) + text("") + [1, 2, 3]
    )
  }

  @Test func `a file cut at any byte is refused`() throws {
    let gguf = builder.bytes
    for end in 1..<gguf.count {
      #expect(throws: ModelFilesError.self, "\(end)") { try read(Array(gguf[..<end])) }
    }
    let entries = number(2) + entry("a", chunks: 1, [1]) + entry("b", chunks: 1, [1, 2])
    let legacy = entries + number(7) + text("a.txt")
    for end in 1..<legacy.count where end != entries.count && end != entries.count + 4 {
      #expect(throws: ModelFilesError.self, "\(end)") { try read(Array(legacy[..<end])) }
    }
    #expect(try read(legacy).chunkCount == 7)
  }

  @Test(.seeded(default: seed)) func `corrupted files are refused or sound`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    var sound = 0
    let iterations = fuzzIterations(default: 2000)
    try withTemporaryDirectory { directory in
      let legacy = try written(sample, as: "i.dat")
      for round in 0..<iterations {
        let path = "\(directory)/corrupted"
        let good = round.isMultiple(of: 2) ? builder.bytes : legacy
        try random.corrupted(good).write(to: path)
        do {
          let file = try ImportanceFile.read(path)
          sound += 1
          for entry in file.entries.values {
            #expect(entry.meanSquares.allSatisfy { $0 >= 0 && $0.isFinite }, "\(random)")
          }
          // A write waits for the disk: some are enough.
          guard sound.isMultiple(of: 20) else { continue }
          let copy = "\(directory)/copy.gguf"
          try file.write(to: copy)
          #expect(try ImportanceFile.read(copy) == file, "\(random)")
        } catch is ModelFilesError {}
      }
    }
    // Else the faults would not reach behind the first check.
    #expect(sound >= iterations / 50, "\(random)")
  }

  // MARK: What is not written

  @Test func `what could not be read again is refused, and what was there stays`() throws {
    func refuse(
      _ code: ModelFilesError.Code,
      _ words: String,
      as names: [String] = ["i.gguf", "i.dat"],
      _ change: (inout ImportanceFile) -> Void
    ) throws {
      var file = sample
      change(&file)
      for name in names {
        try withTemporaryDirectory { directory in
          let path = "\(directory)/\(name)"
          try Array("before".utf8).write(to: path)
          expectRefusal(code, words, path) { try file.write(to: path) }
          #expect(try String(contentsOfFile: path, encoding: .utf8) == "before")
          #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [name])
        }
      }
    }
    try refuse(.tensor, "without an entry") { $0.entries = [:] }
    try refuse(.tensor, "entry \(query) has 0 sums for 1 counts") { $0.entries[query]?.sums = [] }
    try refuse(.tensor, "has 4 sums for 0 counts") { $0.entries[query]?.counts = [] }
    try refuse(.tensor, "has sum nan at 0") { $0.entries[query]?.sums[0] = .nan }
    try refuse(.tensor, "has count -1.0 at 0") { $0.entries[query]?.counts[0] = -1 }
    // ggml would cut the name of the tensor NAME.in_sum2 at 63 bytes.
    let long = String(repeating: "x", count: 56)
    try refuse(.tensor, "a name of 56 bytes; 1 to 55") { $0.entries[long] = $0.entries[query] }
    try refuse(.tensor, "a name of 0 bytes") { $0.entries[""] = $0.entries[query] }
    for count in [-1, 1 << 32] {
      try refuse(.config, "\(count)", as: ["i.gguf"]) { $0.chunkCount = count }
      try refuse(.config, "\(count)", as: ["i.gguf"]) { $0.chunkSize = count }
      try refuse(.config, "\(count)", as: ["i.dat"]) { $0.chunkCount = count }
    }
    try refuse(.config, "chunks of \(query)", as: ["i.dat"]) { $0.entries[query]?.counts = [1e12] }
    for (sums, counts) in [([3e38], [6]), ([1], [1e30])] as [([Float], [Float])] {
      try refuse(.tensor, "too large for the legacy form", as: ["i.dat"]) {
        $0.entries[query] = .init(sums: sums + [0], counts: [1] + counts)
      }
    }
    try refuse(.tensor, "without a row", as: ["i.dat"]) {
      $0.entries = [query: .init(sums: [0], counts: [0])]
    }
  }

  @Test func `the longest name is written and read`() throws {
    var file = sample
    let long = String(repeating: "x", count: 55)
    file.entries[long] = file.entries[query]
    #expect(try read(written(file, as: "i.gguf")) == file)
  }
}
