// Every field of a GGUF header, wrong.

import ModelFiles
import TestSupport
import Testing

@Suite struct `GGUF file under attack` {
  private let limit = UInt64.max

  /// A well-formed file of two tensors.
  private var builder: GGUFBuilder {
    var builder = GGUFBuilder()
    builder["name"] = .string("n")
    builder["list"] = .array([.string("ab"), .string("c")])
    builder.tensors = [
      .init(name: "a", dimensions: [8], type: 0, bytes: Array(repeating: 1, count: 32)),
      .init(name: "b", dimensions: [32, 2], type: 2, bytes: Array(repeating: 2, count: 36)),
    ]
    return builder
  }

  /// Expects that the file is refused after a change.
  private func refuse(
    _ code: ModelFilesError.Code,
    _ word: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout GGUFBuilder) -> Void
  ) {
    var builder = builder
    change(&builder)
    expectRefusal(code, word, sourceLocation: sourceLocation) {
      _ = try withTemporaryModel(builder.bytes) { try GGUFFile.open($0) }
    }
  }

  @Test func `the file is well-formed before the attack`() throws {
    let file = try withTemporaryModel(builder.bytes) { try GGUFFile.open($0) }
    #expect(file.tensors.count == 2 && file.keys.count == 2)
  }

  @Test func `magic and version`() {
    refuse(.format, "not a GGUF file") { $0.magic = Array("GGML".utf8) }
    refuse(.unsupported, "version 1") { $0.version = 1 }
    refuse(.unsupported, "version 4") { $0.version = 4 }
    refuse(.unsupported, "version 0") { $0.version = 0 }
    refuse(.unsupported, "big-endian") { $0.version = UInt32(3).byteSwapped }
  }

  @Test func `counts beyond what the bytes could hold`() {
    for count in [3, 1000, 1 << 32, UInt64(Int.max), limit] as [UInt64] {
      refuse(.format, "") { $0.claimedTensorCount = count }
      refuse(.format, "") { $0.claimedKeyCount = count }
    }
    refuse(.format, "tensor count is 18446744073709551615") { $0.claimedTensorCount = limit }
    refuse(.format, "metadata count is 18446744073709551615") { $0.claimedKeyCount = limit }
  }

  @Test func `a count too small leaves a wrong directory`() {
    refuse(.format, "") { $0.claimedKeyCount = 1 }
  }

  @Test func `string lengths`() {
    for length in [1 << 20, 1 << 32, UInt64(Int.max) - 7, UInt64(Int.max), limit] as [UInt64] {
      refuse(.format, "length of name") {
        $0["name"] = .init(type: 8, bytes: littleEndian(length) + [0x6E])
      }
      refuse(.format, "a string of list") {
        $0["list"] = .array([.init(type: 8, bytes: littleEndian(length) + [0x6E])])
      }
    }
  }

  @Test func `array counts and types`() {
    for count in [1 << 20, 1 << 32, UInt64(Int.max), limit] as [UInt64] {
      for type in [0, 4, 8, 10] as [UInt32] {
        refuse(.format, "list") { $0["list"] = .array([], type: type, count: count) }
      }
    }
    refuse(.unsupported, "array of arrays") { $0["list"] = .array([.array([.uint8(1)])]) }
    refuse(.format, "type 13") { $0["list"] = .array([], type: 13) }
  }

  @Test func `a value's type and a bool's byte`() {
    refuse(.format, "name has type 99") { $0["name"] = .init(type: 99, bytes: [1, 2, 3, 4]) }
    refuse(.format, "name is not a bool") { $0["name"] = .init(type: 7, bytes: [2]) }
  }

  @Test func `a key or tensor that stands twice`() {
    refuse(.format, "key name stands twice") { $0.metadata.append(("name", .uint8(1))) }
    refuse(.format, "tensor a stands twice") { $0.tensors[1].name = "a" }
  }

  @Test(arguments: [0, 1, 2, 4, 24, 33, 131_072, UInt32.max])
  func `an alignment that is no sane power of two`(alignment: UInt32) {
    refuse(.format, "general.alignment is \(alignment)") {
      $0["general.alignment"] = .uint32(alignment)
    }
  }

  @Test func `an alignment of another type`() {
    refuse(.format, "general.alignment is a string") { $0["general.alignment"] = .string("32") }
    refuse(.format, "general.alignment is an integer") { $0["general.alignment"] = .int32(32) }
  }

  @Test func `names too long`() {
    refuse(.format, "length of name of tensor 0") {
      $0.tensors[0].name = String(repeating: "x", count: 65)
    }
    refuse(.format, "length of metadata key 2") {
      $0[String(repeating: "k", count: 65_536)] = .uint8(1)
    }
  }

  @Test func `dimension counts`() {
    refuse(.format, "tensor a has 0 dimensions") { $0.tensors[0].dimensions = [] }
    refuse(.format, "tensor a has 5 dimensions") { $0.tensors[0].dimensions = [2, 2, 2, 1, 1] }
  }

  @Test func `absurd dimensions`() {
    refuse(.format, "tensor a has shape [0]") { $0.tensors[0].dimensions = [0] }
    refuse(.format, "tensor a has shape [0, 8]") { $0.tensors[0].dimensions = [8, 0] }
    for huge in [1 << 32, 1 << 62, UInt64(Int.max), limit] as [UInt64] {
      refuse(.format, "") { $0.tensors[0].dimensions = [huge] }
      refuse(.format, "") { $0.tensors[0].dimensions = [8, huge] }
      refuse(.format, "") { $0.tensors[0].dimensions = [huge, huge, huge, huge] }
      refuse(.format, "") { $0.tensors[1].dimensions = [32, huge] }
    }
    // 2^16 to the fourth is 2^64: 0 in 64 bits.
    refuse(.format, "tensor a has shape") {
      $0.tensors[0].dimensions = [1 << 16, 1 << 16, 1 << 16, 1 << 16]
    }
    refuse(.format, "no multiple of Q4_0's blocks of 32") { $0.tensors[1].dimensions = [31, 2] }
  }

  @Test func `unknown tensor types`() {
    for type in [4, 5, 31, 100, UInt32.max] {
      refuse(.unsupported, "tensor a has type \(type)") { $0.tensors[0].type = type }
    }
  }

  @Test func `offsets`() {
    for offset in [1, 31, 33] as [UInt64] {
      refuse(.format, "tensor b has offset \(offset), no multiple of 32") {
        $0.tensors[1].claimedOffset = offset
      }
    }
    refuse(.format, "tensor b") { $0.tensors[1].claimedOffset = 64 }
    for offset in [1 << 20, 1 << 62, UInt64(Int.max) - 31, UInt64(Int.max), limit] as [UInt64] {
      refuse(.format, "offset") { $0.tensors[1].claimedOffset = offset }
    }
    refuse(.format, "tensor b at") { $0.tensors[1].claimedOffset = 0 }
  }

  @Test func `a name with line breaks and escapes is refused in one plain line`() {
    refuse(.format, #"tensor a\n\u{1B}[2J has 0 dimensions"#) {
      $0.tensors[0].name = "a\n\u{1B}[2J"
      $0.tensors[0].dimensions = []
    }
  }

  @Test func `a file cut at any byte of the header is refused`() throws {
    var builder = builder
    builder["general.alignment"] = .uint32(32)
    builder["number"] = .uint64(7)
    builder["flag"] = .bool(true)
    builder["numbers"] = .array([.float32(1), .float32(2)])
    let header = builder.header
    try withTemporaryDirectory { directory in
      let path = "\(directory)/cut.gguf"
      for end in 1..<header.count {
        try Array(header[..<end]).write(to: path)
        expectRefusal(.format, path) { _ = try GGUFFile.open(path) }
      }
      // Of the tensors too, every byte is needed.
      let bytes = builder.bytes
      for end in header.count..<bytes.count {
        try Array(bytes[..<end]).write(to: path)
        expectRefusal(.format, path, "tensor") { _ = try GGUFFile.open(path) }
      }
      try bytes.write(to: path)
      #expect(try GGUFFile.open(path).tensors.count == 2)
    }
  }
}
