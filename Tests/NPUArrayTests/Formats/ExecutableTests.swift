// Executables of other compilers: what is loaded from a small one, and bad ones.

import TestSupport
import Testing

@testable import NPUArray

/// A small ELF file, header by header, in which a test can spoil anything.
struct ExecutableBuilder {
  struct Segment {
    var kind: UInt32 = 1
    var address: UInt32
    var bytes: [UInt8]
    /// The bytes in memory; as many as in the file if nil.
    var memoryCount: UInt32?
  }

  struct Section {
    var name: String
    var kind: UInt32 = 1
    /// As a program's bytes have.
    var flags: UInt32 = 2
    var bytes: [UInt8] = []
    var target: UInt32 = 0
  }

  var machine: UInt16 = 264
  var flags: UInt32 = 2
  var entry: UInt32 = 0
  var segments: [Segment] = []
  var sections: [Section] = []

  var bytes: [UInt8] {
    var names: [UInt8] = [0]
    var contents: [UInt8] = []
    let start = 52 + 32 * segments.count
    var programHeaders: [UInt32] = []
    for segment in segments {
      let count = UInt32(segment.bytes.count)
      programHeaders += [
        segment.kind, UInt32(start + contents.count), segment.address, segment.address, count,
        segment.memoryCount ?? count, 5, 16,
      ]
      contents += segment.bytes
    }
    var sectionHeaders = [UInt32](repeating: 0, count: 10)
    func add(_ section: Section) {
      sectionHeaders += [
        UInt32(names.count), section.kind, section.flags, 0, UInt32(start + contents.count),
        UInt32(section.bytes.count), 0, section.target, 1, 0,
      ]
      names += section.name.utf8 + [0]
      contents += section.bytes
    }
    for section in sections { add(section) }
    add(Section(name: ".shstrtab", kind: 3, flags: 0, bytes: names + Array(".shstrtab".utf8) + [0]))
    let sectionCount = sectionHeaders.count / 10
    return [0x7F, 0x45, 0x4C, 0x46, 1, 1, 1] + [UInt8](repeating: 0, count: 9)
      + littleEndian(UInt16(2)) + littleEndian(machine)
      + [1, entry, segments.isEmpty ? 0 : 52, UInt32(start + contents.count), flags].flatMap {
        littleEndian($0)
      }
      + [52, 32, UInt16(segments.count), 40, UInt16(sectionCount), UInt16(sectionCount - 1)]
      .flatMap { littleEndian($0) }
      + programHeaders.flatMap { littleEndian($0) } + contents
      + sectionHeaders.flatMap { littleEndian($0) }
  }
}

@Suite struct `Executables of a core` {
  private static let text: [UInt8] = [1, 0, 0x19, 8, 0, 0x10, 1, 0]
  private static let linked = ExecutableBuilder(
    segments: [
      .init(address: 0, bytes: text),
      .init(kind: 0x6474_E551, address: 0, bytes: []),
      .init(address: 0x70400, bytes: [1, 2, 3], memoryCount: 5),
      .init(address: 0x7FFFC, bytes: [4, 5, 6, 7]),
    ],
    sections: [.init(name: ".comment", flags: 0, bytes: [9, 9])]
  )
  private static let object = ExecutableBuilder(
    sections: [
      .init(name: ".text", flags: 6, bytes: text), .init(name: ".data", flags: 3),
      .init(name: ".rela.text", kind: 4, flags: 0, target: 1),
      .init(name: ".comment", flags: 0, bytes: [9, 9]),
    ]
  )

  @Test func `its segments come with their places`() throws {
    let file = try CoreExecutable(bytes: Self.linked.bytes)
    #expect(file.text == Self.text && file.entry == 0)
    #expect(file.data.map(\.offset) == [0x400, 0xFFFC])
    #expect(file.data.map(\.bytes) == [[1, 2, 3, 0, 0], [4, 5, 6, 7]])
    let program = try CoreProgram(bytes: file.text)
    #expect(program.bundles.map { "\($0)" } == ["nop", "done", "nop"])
  }

  @Test func `a program of several segments has zeros between them`() throws {
    var builder = Self.linked
    builder.segments.append(.init(address: 12, bytes: Self.text))
    builder.entry = 12
    let file = try CoreExecutable(bytes: builder.bytes)
    #expect(file.text == Self.text + [0, 0, 0, 0] + Self.text && file.entry == 12)
  }

  @Test func `an object file is read if it waits for no linker`() throws {
    let file = try CoreExecutable(bytes: Self.object.bytes)
    #expect(file.text == Self.text && file.data.isEmpty && file.entry == 0)
    var builder = Self.object
    builder.sections[2].bytes = [UInt8](repeating: 0, count: 12)
    #expect(Self.refusal(builder.bytes).contains("section .rela.text waits for a linker"))
    builder = Self.object
    builder.sections[1].bytes = [1]
    #expect(Self.refusal(builder.bytes).contains("section .data waits for a linker"))
    builder = Self.object
    builder.sections[0].name = ".code"
    #expect(Self.refusal(builder.bytes).contains("neither segments nor a section .text"))
    builder.sections[0] = .init(name: ".text", bytes: .init(repeating: 1, count: 16_385))
    #expect(Self.refusal(builder.bytes).contains("16385 bytes; a core holds 16384"))
  }

  @Test func `what is no program of such a core is said`() {
    func refusal(_ change: (inout ExecutableBuilder) -> Void) -> String {
      var builder = Self.linked
      change(&builder)
      return Self.refusal(builder.bytes)
    }
    #expect(refusal { $0.machine = 62 }.contains("for x86-64, machine 62; a core's has 264"))
    #expect(refusal { $0.machine = 0x1234 } == "accepted")
    #expect(refusal { $0.flags = 1 }.contains("cores of AIE1, not of AIE2"))
    #expect(refusal { $0.flags = 3 }.contains("cores of AIE2P, not of AIE2"))
    #expect(refusal { $0.entry = 8 }.contains("the entry 0x8 is not in the program"))
    #expect(
      refusal { $0.segments[0].address = 0x3FFC }.contains("segment 0 is at 0x3ffc to 0x4004")
    )
    #expect(refusal { $0.segments[0].address = .max }.contains("0xffffffff to 0x100000007"))
    #expect(refusal { $0.segments[2].address = 0x60000 }.contains("segment 2 is at 0x60000"))
    #expect(refusal { $0.segments[3].address = 0x7FFFD }.contains("0x7fffd to 0x80001"))
    #expect(refusal { $0.segments[2].memoryCount = .max }.contains("segment 2 is at 0x70400"))
    #expect(refusal { $0.segments[2].memoryCount = 2 }.contains("3 bytes for a memory of 2"))
    #expect(refusal { $0.segments[3].address = 0x70404 }.contains("overlaps one at 0x70400"))
    #expect(refusal { $0.segments[0].kind = 2 }.contains("no program at addresses below 0x4000"))
    #expect(
      refusal { $0.segments += (0..<61).map { _ in .init(address: 0, bytes: []) } }
        .contains("65 program headers; at most 64")
    )
  }

  @Test(
    arguments: [
      (0, [0x7E], "no ELF file"), (4, [2], "class 2; a core's has 1, for 32 bits"),
      (5, [2], "byte order 2"), (28, [255, 255, 255, 255], "4 program headers of 32 bytes"),
      (42, [56], "a program header has 56 bytes, not 32"),
      (56, [255, 255, 255, 255], "segment 0 has 8 bytes at 4294967295 of a file"),
    ] as [(Int, [UInt8], String)]
  )
  func `a header that lies is named`(place: Int, spoilt: [UInt8], message: String) {
    var bytes = Self.linked.bytes
    bytes.replaceSubrange(place..<place + spoilt.count, with: spoilt)
    #expect(Self.refusal(bytes).contains(message), "\(Self.refusal(bytes))")
  }

  @Test(
    arguments: [
      (32, [255, 255, 255, 255], "6 section headers of 40 bytes"),
      (46, [64], "a section header has 64 bytes, not 40"),
      (50, [99], "section 99 of names is none of 6"),
    ] as [(Int, [UInt8], String)]
  )
  func `so is one of sections`(place: Int, spoilt: [UInt8], message: String) {
    var bytes = Self.object.bytes
    bytes.replaceSubrange(place..<place + spoilt.count, with: spoilt)
    #expect(Self.refusal(bytes).contains(message), "\(Self.refusal(bytes))")
  }

  @Test func `a file that ends too soon is refused wherever it ends`() {
    let bytes = Self.object.bytes
    for count in bytes.indices {
      #expect(Self.refusal(Array(bytes[..<count])) != "accepted", "\(count) bytes")
    }
  }

  @Test(.seeded(default: 41))
  func `bytes of any kind are refused or read, and nothing crashes`() {
    var random = SeededRandom(testSeed(default: 41))
    let good = [Self.linked.bytes, Self.object.bytes]
    for round in 0..<fuzzIterations(default: 20_000) {
      guard let file = try? CoreExecutable(bytes: random.corrupted(good[round % 2])) else {
        continue
      }
      #expect(file.text.count <= RegisterMap.programBytes && file.entry < file.text.count)
      for segment in file.data {
        #expect(segment.offset >= 0 && segment.offset + segment.bytes.count <= 0x10000)
      }
    }
  }

  private static func refusal(_ bytes: [UInt8]) -> String {
    do throws(NPUError) {
      _ = try CoreExecutable(bytes: bytes)
      return "accepted"
    } catch {
      return "\(error)"
    }
  }
}
