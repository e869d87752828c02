// Reading GGUF files as they should be; GGUFAttackTests.swift has those that should not.

import Compute
import ModelFiles
import TestSupport
import Testing

@Suite struct `GGUF file` {
  private func open(_ builder: GGUFBuilder) throws -> GGUFFile {
    try withTemporaryModel(builder.bytes) { try GGUFFile.open($0) }
  }

  private func file(_ key: String, _ value: GGUFBuilder.Value) throws -> GGUFFile {
    var builder = GGUFBuilder()
    builder[key] = value
    return try open(builder)
  }

  // MARK: Metadata

  @Test(arguments: [
    (GGUFBuilder.Value.uint8(200), 200), (.int8(-100), -100), (.uint16(60_000), 60_000),
    (.int16(-30_000), -30_000), (.uint32(4_000_000_000), 4_000_000_000),
    (.int32(-2_000_000_000), -2_000_000_000), (.uint64(1 << 62), 1 << 62), (.int64(.min), .min),
  ])
  func `an integer of every width is read`(value: GGUFBuilder.Value, expected: Int) throws {
    #expect(try file("k", value).integer("k") == expected)
  }

  @Test func `floats, bools and strings are read`() throws {
    #expect(try file("k", .float32(0.1)).double("k") == Double(Float(0.1)))
    #expect(try file("k", .float64(0.1)).double("k") == 0.1)
    #expect(try file("k", .bool(true)).bool("k") == true)
    #expect(try file("k", .bool(false)).bool("k") == false)
    #expect(try file("k", .string("Füße 🪜")).string("k") == "Füße 🪜")
    #expect(try file("k", .string("")).string("k") == "")
  }

  @Test func `arrays of every type are read`() throws {
    let integers: [(GGUFBuilder.Value, [Int])] = [
      (.array([.uint8(1), .uint8(255)]), [1, 255]), (.array([.int8(-1), .int8(2)]), [-1, 2]),
      (.array([.uint16(65_535)]), [65_535]), (.array([.int16(-2)]), [-2]),
      (.array([.uint32(.max), .uint32(0)]), [4_294_967_295, 0]),
      (.array([.int32(-7), .int32(8)]), [-7, 8]), (.array([.uint64(9)]), [9]),
      (.array([.int64(.min)]), [.min]), (.array([], type: 5), []),
    ]
    for (value, expected) in integers {
      #expect(try file("k", value).integers("k") == expected)
    }
    #expect(
      try file("k", .array([.float32(-.infinity), .float32(1.5)])).doubles("k") == [
        -.infinity, 1.5,
      ]
    )
    #expect(try file("k", .array([.float64(0.1)])).doubles("k") == [0.1])
    #expect(try file("k", .array([.bool(true), .bool(false)])).bools("k") == [true, false])
    #expect(
      try file("k", .array([.string("a"), .string(""), .string("ß")])).strings("k") == [
        "a", "", "ß",
      ]
    )
  }

  @Test func `a token that is no UTF-8 keeps its bytes`() throws {
    let broken = GGUFBuilder.Value(type: 8, bytes: littleEndian(UInt64(3)) + [0x61, 0xE2, 0x96])
    let file = try file("k", .array([broken, .string("b")]))
    #expect(try file.bytes("k") == [[0x61, 0xE2, 0x96], [0x62]])
    #expect(try file.strings("k") == ["a\u{FFFD}", "b"])
  }

  @Test func `an absent key is nil in every type`() throws {
    let file = try file("k", .uint32(1))
    #expect(try file.value("x") == nil && file.string("x") == nil && file.integer("x") == nil)
    #expect(try file.double("x") == nil && file.bool("x") == nil && file.strings("x") == nil)
    #expect(try file.bytes("x") == nil && file.integers("x") == nil && file.doubles("x") == nil)
    #expect(try file.bools("x") == nil)
  }

  @Test func `a value of another type is refused by key and both types`() throws {
    let text = try file("some.key", .string("x"))
    expectRefusal(.config, "some.key", "a string", "an integer") {
      _ = try text.integer("some.key")
    }
    expectRefusal(.config, "some.key", "a string", "a float") { _ = try text.double("some.key") }
    expectRefusal(.config, "some.key", "a string", "a bool") { _ = try text.bool("some.key") }
    expectRefusal(.config, "some.key", "array of strings") { _ = try text.strings("some.key") }
    expectRefusal(.config, "some.key", "array of strings") { _ = try text.bytes("some.key") }
    expectRefusal(.config, "some.key", "array of integers") { _ = try text.integers("some.key") }
    expectRefusal(.config, "some.key", "array of floats") { _ = try text.doubles("some.key") }
    expectRefusal(.config, "some.key", "array of bools") { _ = try text.bools("some.key") }
    let number = try file("some.key", .uint32(1))
    expectRefusal(.config, "some.key", "an integer", "a string") {
      _ = try number.string("some.key")
    }
    // Converters write whole numbers as integers, and truth values as 0 and 1.
    #expect(try number.double("some.key") == 1 && number.bool("some.key") == true)
    expectRefusal(.config, "some.key", "a bool") {
      _ = try file("some.key", .uint32(2)).bool("some.key")
    }
    #expect(try file("some.key", .float32(3)).integer("some.key") == 3)
    expectRefusal(.config, "some.key", "1.5") {
      _ = try file("some.key", .float32(1.5)).integer("some.key")
    }
    let array = try file("some.key", .array([.string("x")]))
    expectRefusal(.config, "array of 1 string", "an integer") { _ = try array.integer("some.key") }
    expectRefusal(.config, "array of 1 string", "integers") { _ = try array.integers("some.key") }
    expectRefusal(.config, "array of 1 string", "floats") { _ = try array.doubles("some.key") }
    expectRefusal(.config, "array of 1 string", "bools") { _ = try array.bools("some.key") }
    let floats = try file("some.key", .array([.float32(1)]))
    expectRefusal(.config, "array of 1 float", "strings") { _ = try floats.strings("some.key") }
    expectRefusal(.config, "array of 1 float", "integers") { _ = try floats.integers("some.key") }
  }

  @Test func `an integer too large for ours is refused`() throws {
    let single = try file("k", .uint64(.max))
    expectRefusal(.config, "k", "18446744073709551615") { _ = try single.integer("k") }
    let array = try file("k", .array([.uint64(1), .uint64(.max)]))
    expectRefusal(.config, "k") { _ = try array.integers("k") }
  }

  // MARK: Tensors

  @Test func `a tensor's shape is turned outermost first, and its bytes lie where it says`() throws
  {
    var builder = GGUFBuilder()
    builder.tensors = [
      .init(name: "a", dimensions: [3], type: 0, bytes: Array(repeating: 1, count: 12)),
      .init(name: "b", dimensions: [64, 2, 5], type: 8, bytes: Array(repeating: 2, count: 680)),
    ]
    for alignment in [8, 32, 256] {
      builder.alignment = alignment
      builder["general.alignment"] = alignment == 32 ? nil : .uint32(UInt32(alignment))
      try withTemporaryModel(builder.bytes) { path in
        let file = try GGUFFile.open(path)
        #expect(file.alignment == alignment && file.version == 3)
        #expect(file.tensors.map(\.name) == ["a", "b"])
        #expect(file.tensors.map(\.shape) == [[3], [5, 2, 64]])
        #expect(file.tensors.map(\.type) == [.f32, .q8_0])
        #expect(file.tensors.map(\.typeName) == ["F32", "Q8_0"])
        for (tensor, expected) in zip(file.tensors, builder.tensors) {
          #expect(tensor.offset.isMultiple(of: alignment))
          let bytes = try tensor.file.read(offset: tensor.offset, count: tensor.byteCount)
          #expect(bytes == expected.bytes)
        }
      }
    }
  }

  // Bytes of one block of 32 or 256: the block structs of ggml/src/ggml-common.h.
  @Test(arguments: [
    (UInt32(0), "F32", 256, 1024), (1, "F16", 256, 512), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (30, "BF16", 32, 64), (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110), (16, "IQ2_XXS", 256, 66), (20, "IQ4_NL", 32, 18),
    (23, "IQ4_XS", 256, 136), (39, "MXFP4", 32, 17),
  ])
  func `each type has its number, name and size`(
    number: UInt32,
    name: String,
    columns: Int,
    byteCount: Int
  ) throws {
    var builder = GGUFBuilder()
    let bytes = [UInt8](repeating: 0, count: byteCount * 3)
    builder.tensors = [
      .init(name: "t", dimensions: [UInt64(columns), 3], type: number, bytes: bytes)
    ]
    let tensor = try #require(try open(builder).tensors.first)
    #expect(tensor.typeName == name && tensor.byteCount == bytes.count)
    #expect(tensor.type.map { $0.rawValue.uppercased() == name } ?? true)
    // One byte less, and the tensor does not fit.
    expectRefusal(.format, "tensor t", "cut short") {
      _ = try withTemporaryModel(Array(builder.bytes.dropLast())) { try GGUFFile.open($0) }
    }
  }
}
