// What the GGUF writer writes: read back, compared with a file laid out by hand, and what it refuses.

import Compute
import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `GGUF writer` {
  private static let seed: UInt64 = 20_261_130

  /// Writes a file into a new directory and calls the body with its path.
  private func written<Result>(
    _ writer: GGUFWriter,
    _ body: (String) throws -> Result
  ) throws -> Result {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/model.gguf"
      try writer.write(to: path)
      return try body(path)
    }
  }

  private func contents(_ tensor: StoredTensor) throws -> [UInt8] {
    try tensor.file.read(offset: tensor.offset, count: tensor.byteCount)
  }

  private func tensor(_ name: String, _ shape: [Int], _ bytes: [UInt8]) -> GGUFWriter.Tensor {
    GGUFWriter.Tensor(name, shape: shape, type: GGUFTensorType(.f32)) { try $0.append(bytes) }
  }

  // MARK: What is written is read

  @Test(.seeded(default: seed)) func `random metadata and tensors come back equal`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    for round in 0..<fuzzIterations(default: 60) {
      var writer = GGUFWriter()
      let alignment = [8, 32, 64, 4096].randomElement(using: &random) ?? 32
      if alignment != 32 || round.isMultiple(of: 2) {
        writer.metadata = [("general.alignment", .uint32(UInt32(alignment)))]
      }
      for index in 0..<Int.random(in: 0...12, using: &random) {
        writer.metadata.append(("key.\(index)", value(&random)))
      }
      var expected: [String: [UInt8]] = [:]
      for index in 0..<Int.random(in: 0...6, using: &random) {
        let type = GGUFTensorType(TensorType.allCases.randomElement(using: &random) ?? .f32)
        let rows = Int.random(in: 1...5, using: &random)
        let blocks = Int.random(in: 1...3, using: &random)
        let bytes = random.bytes(rows * blocks * type.blockByteCount)
        expected["t\(index)"] = bytes
        let shape = [rows, blocks * type.blockLength]
        let pieces = Int.random(in: 1...4, using: &random)
        writer.tensors.append(
          GGUFWriter.Tensor("t\(index)", shape: shape, type: type) { sink in
            let size = bytes.count / pieces + 1
            for start in stride(from: 0, to: bytes.count, by: size) {
              try sink.append(Array(bytes[start..<min(start + size, bytes.count)]))
            }
            #expect(sink.left == 0)
          }
        )
      }
      try written(writer) { path in
        let file = try GGUFFile.open(path)
        #expect(file.version == 3 && file.alignment == alignment)
        #expect(file.metadata.map(\.key) == writer.metadata.map(\.key))
        #expect(file.metadata.map(\.value) == writer.metadata.map(\.value))
        #expect(file.tensors.map(\.name) == writer.tensors.map(\.name))
        for (tensor, wanted) in zip(file.tensors, writer.tensors) {
          #expect(tensor.shape == wanted.shape && tensor.type == wanted.type.type)
          #expect(tensor.offset.isMultiple(of: alignment))
          #expect(try contents(tensor) == expected[tensor.name])
        }
      }
    }
  }

  private func value(_ random: inout SeededRandom) -> GGUFMetadataValue {
    let type = GGUFType.allCases.randomElement(using: &random) ?? .bool
    guard type == .array else { return value(type, &random) }
    var element = type
    while element == .array { element = GGUFType.allCases.randomElement(using: &random) ?? .bool }
    let count = Int.random(in: 0...5, using: &random)
    return .array(of: element, (0..<count).map { _ in value(element, &random) })
  }

  private func value(_ type: GGUFType, _ random: inout SeededRandom) -> GGUFMetadataValue {
    let bits = random.next()
    switch type {
    case .uint8: return .uint8(UInt8(truncatingIfNeeded: bits))
    case .int8: return .int8(Int8(truncatingIfNeeded: bits))
    case .uint16: return .uint16(UInt16(truncatingIfNeeded: bits))
    case .int16: return .int16(Int16(truncatingIfNeeded: bits))
    case .uint32: return .uint32(UInt32(truncatingIfNeeded: bits))
    case .int32: return .int32(Int32(truncatingIfNeeded: bits))
    case .uint64: return .uint64(bits)
    case .int64: return .int64(Int64(bitPattern: bits))
    case .float32: return .float32(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
    case .float64: return .float64(Double(bitPattern: bits))
    case .bool: return .bool(bits & 1 == 1)
    case .string, .array: return .string(random.bytes(Int(bits % 20)))
    }
  }

  @Test func `every type is read as the value it was`() throws {
    var writer = GGUFWriter()
    writer.metadata = [
      ("u8", .uint8(200)), ("i8", .int8(-100)), ("u16", .uint16(60_000)), ("i16", .int16(-30_000)),
      ("u32", .uint32(4_000_000_000)), ("i32", .int32(-2_000_000_000)), ("u64", .uint64(1 << 62)),
      ("i64", .int64(.min)), ("f32", .float32(0.1)), ("f64", .float64(0.1)), ("yes", .bool(true)),
      ("text", .string("Füße 🪜")), ("texts", .array(of: .string, [.string("a"), .string("")])),
      ("numbers", .array(of: .int32, [.int32(-1), .int32(2)])),
      ("floats", .array(of: .float32, [.float32(0.5)])),
      ("bools", .array(of: .bool, [.bool(true), .bool(false)])), ("none", .array(of: .uint8, [])),
    ]
    try written(writer) { path in
      let file = try GGUFFile.open(path)
      for (key, value) in [
        ("u8", 200), ("i8", -100), ("u16", 60_000), ("i16", -30_000), ("u32", 4_000_000_000),
        ("i32", -2_000_000_000), ("u64", 1 << 62), ("i64", .min),
      ] { #expect(try file.integer(key) == value) }
      #expect(try file.double("f32") == Double(Float(0.1)) && file.double("f64") == 0.1)
      #expect(try file.bool("yes") == true && file.string("text") == "Füße 🪜")
      #expect(try file.strings("texts") == ["a", ""] && file.integers("numbers") == [-1, 2])
      #expect(try file.doubles("floats") == [0.5] && file.bools("bools") == [true, false])
      #expect(try file.integers("none") == [])
    }
  }

  /// `GGUFBuilder` shares no code with the writer.
  @Test func `the bytes are those of a file laid out by hand`() throws {
    var builder = GGUFBuilder()
    builder["general.name"] = .string("n")
    builder["list"] = .array([.string("ab"), .string("c")])
    builder.tensors = [
      .init(name: "a", dimensions: [5], type: 0, bytes: Array(repeating: 1, count: 20)),
      .init(name: "b", dimensions: [32, 2], type: 2, bytes: Array(repeating: 2, count: 36)),
    ]
    var writer = GGUFWriter()
    writer.metadata = [
      ("general.name", .string("n")),
      ("list", .array(of: .string, [.string("ab"), .string("c")])),
    ]
    writer.tensors = [
      tensor("a", [5], Array(repeating: 1, count: 20)),
      GGUFWriter.Tensor("b", shape: [2, 32], type: GGUFTensorType(.q4_0)) { sink in
        for _ in 0..<36 { try sink.append([2]) }
      },
    ]
    let bytes = try written(writer) { try Data(contentsOf: URL(filePath: $0)) }
    // 20 bytes and padding, then 36, filled up to 64 as ggml does.
    #expect(Array(bytes) == builder.bytes + [UInt8](repeating: 0, count: 28))
  }

  @Test func `a file that is read and written again is the same file`() throws {
    let source = Goldens.directory.appending(path: "tokenizer/small.gguf").path
    let original = try GGUFFile.open(source)
    var writer = GGUFWriter()
    writer.metadata = original.metadata
    writer.tensors = original.tensors.compactMap { GGUFWriter.Tensor(copying: $0) }
    try written(writer) { path in
      let copy = try GGUFFile.open(path)
      #expect(copy.metadata.map(\.key) == original.metadata.map(\.key))
      #expect(copy.metadata.map(\.value) == original.metadata.map(\.value))
      #expect(try copy.bytes("tokenizer.ggml.tokens") == original.bytes("tokenizer.ggml.tokens"))
    }
  }

  // MARK: What is not written

  @Test func `what the reader would refuse is refused before a byte is written`() throws {
    func refuse(
      _ code: ModelFilesError.Code,
      _ words: String,
      _ change: (inout GGUFWriter) -> Void
    ) throws {
      try withTemporaryDirectory { directory in
        var writer = GGUFWriter()
        writer.tensors = [tensor("a", [2], Array(repeating: 0, count: 8))]
        change(&writer)
        expectRefusal(code, words, directory) { try writer.write(to: "\(directory)/m.gguf") }
        let left = try FileManager.default.contentsOfDirectory(atPath: directory)
        #expect(left.isEmpty)
      }
    }
    let long = String(repeating: "x", count: 65)
    try refuse(.tensor, "a name of 65 bytes") { $0.tensors[0].name = long }
    try refuse(.tensor, "a name of 0 bytes") { $0.tensors[0].name = "" }
    try refuse(.tensor, "tensor a stands twice") { $0.tensors.append($0.tensors[0]) }
    for shape in [[], [1, 1, 1, 1, 2], [0], [-1], [Int.max, 2]] {
      try refuse(.tensor, "tensor a has shape") { $0.tensors[0].shape = shape }
    }
    try refuse(.tensor, "Q4_0's blocks of 32") { $0.tensors[0].type = GGUFTensorType(.q4_0) }
    try refuse(.tensor, "8 bytes by its shape and type, but 9") {
      $0.tensors[0].content = { try $0.append([UInt8](repeating: 0, count: 9)) }
    }
    try refuse(.tensor, "8 bytes by its shape and type, but 3 were") {
      $0.tensors[0].content = { try $0.append([1, 2, 3]) }
    }
    try refuse(.config, "key k stands twice") {
      $0.metadata = [("k", .bool(true)), ("k", .uint8(1))]
    }
    try refuse(.config, "has 65536 bytes") {
      $0.metadata = [(String(repeating: "k", count: 65_536), .bool(true))]
    }
    for value in [GGUFMetadataValue.uint32(24), .uint32(4), .uint64(32), .string("32")] {
      try refuse(.config, "general.alignment") { $0.metadata = [("general.alignment", value)] }
    }
  }

  @Test func `a content that fails leaves what was there, and nothing else`() throws {
    struct Stop: Error {}
    try withTemporaryDirectory { directory in
      let path = "\(directory)/m.gguf"
      try Array("before".utf8).write(to: path)
      var writer = GGUFWriter()
      writer.tensors = [
        GGUFWriter.Tensor("a", shape: [1 << 20], type: GGUFTensorType(.f32)) { sink in
          try sink.append([UInt8](repeating: 0, count: 3 << 20))
          throw Stop()
        }
      ]
      #expect(throws: Stop.self) { try writer.write(to: path) }
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "before")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["m.gguf"])
    }
  }

  @Test func `a file is replaced while it is open, and who has it open keeps it`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/m.gguf"
      var writer = GGUFWriter()
      writer.tensors = [tensor("a", [2], Array(repeating: 1, count: 8))]
      try writer.write(to: path)
      let old = try GGUFFile.open(path)
      writer.tensors = [tensor("a", [2], Array(repeating: 2, count: 8))]
      try writer.write(to: path)
      #expect(try contents(old.tensors[0]) == Array(repeating: 1, count: 8))
      #expect(try contents(GGUFFile.open(path).tensors[0]) == Array(repeating: 2, count: 8))
    }
  }

  @Test func `a directory that is not there is named`() {
    expectRefusal(.file, "cannot create", "no/such/m.gguf", "No such file") {
      try GGUFWriter().write(to: "no/such/m.gguf")
    }
  }
}
