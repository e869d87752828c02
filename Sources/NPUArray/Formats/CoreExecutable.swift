// Executables of other compilers for one core: ELF files of 32 bits, from which come a program and its data.
//
// Layout: "Tool Interface Standard: Executable and Linking Format", version 1.2, book I. The machine's number and the
// flags are those of Xilinx/llvm-aie (EM_AIE, EF_AIE_AIE2). A linked file has its program at address 0 and its data
// where the core sees its own memory, and says so in program headers. One without them is an object file: it is read
// if it has code alone, and nothing in it waits for a linker.

/// What a core is to have in its memories before it starts.
package struct CoreExecutable: Sendable {
  /// Bytes of the core's own memory.
  package struct Segment: Sendable, Hashable {
    /// Where they begin, from the beginning of the memory.
    package let offset: Int
    package let bytes: [UInt8]
  }

  /// The bytes of program memory, from address 0.
  package let text: [UInt8]
  /// In the order of the file; no two overlap.
  package let data: [Segment]
  /// The address where the program begins.
  package let entry: Int

  /// Where a core sees its own memory.
  package static let dataBase = 0x70000

  /// Reads a file.
  ///
  /// - Throws: `NPUError.bytes` that names what is not as it should be, and the header at fault.
  package init(bytes: [UInt8]) throws(NPUError) {
    let file = ExecutableFile(bytes: bytes)
    try file.checkIdentity()
    let segments = try file.segments()
    let segmentsOfText: [ExecutableFile.Loaded]
    if segments.isEmpty {
      (segmentsOfText, data) = ([try file.textSection()], [])
    } else {
      segmentsOfText = segments.filter { $0.range.upperBound <= RegisterMap.programBytes }
      data = segments.filter { $0.range.lowerBound >= Self.dataBase }.map { segment in
        Segment(offset: segment.range.lowerBound - Self.dataBase, bytes: segment.bytes)
      }
    }
    var text = [UInt8](repeating: 0, count: segmentsOfText.map(\.range.upperBound).max() ?? 0)
    for segment in segmentsOfText { text.replaceSubrange(segment.range, with: segment.bytes) }
    guard text.contains(where: { $0 != 0 }) else {
      throw NPUError(
        .bytes,
        "no program at addresses below \(RegisterMap.programBytes.asAddress)"
      )
    }
    self.text = text
    entry = Int(try file.word(at: 24, "the entry"))
    guard entry < text.count else {
      throw NPUError(.bytes, "the entry \(entry.asAddress) is not in the program")
    }
  }
}

/// The headers of a file, none of which is trusted.
private struct ExecutableFile {
  /// Bytes that have a place in the core's memories.
  struct Loaded {
    /// The core's addresses.
    var range: Range<Int>
    /// As many.
    var bytes: [UInt8]
  }

  let bytes: [UInt8]

  private static let loadable: UInt32 = 1
  private static let programHeader = 32  // bytes
  private static let sectionHeader = 40  // bytes
  /// Compilers write less than ten.
  private static let mostSegments = 64
  /// Machines that a file is likely for if it is not for a core.
  private static let foreign = [
    3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC", 40: "Arm", 62: "x86-64", 183: "AArch64",
    224: "an AMD GPU", 243: "RISC-V", 247: "BPF", 258: "LoongArch",
  ]
  /// Cores of other generations, by the flags of a file.
  private static let generations: [UInt32: String] = [1: "AIE1", 3: "AIE2P"]

  // MARK: Numbers

  private func number(at place: Int, _ count: Int, _ what: String) throws(NPUError) -> UInt32 {
    guard place >= 0, place <= bytes.count - count else {
      throw NPUError(.bytes, "the file of \(bytes.count) bytes ends before \(what) at \(place)")
    }
    return bytes[place..<place + count].reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  func word(at place: Int, _ what: String) throws(NPUError) -> UInt32 {
    try number(at: place, 4, what)
  }

  private func half(at place: Int, _ what: String) throws(NPUError) -> Int {
    Int(try number(at: place, 2, what))
  }

  /// The bytes of a range that a header gives.
  private func part(_ start: UInt32, _ count: UInt32, _ what: String) throws(NPUError) -> [UInt8] {
    guard Int(start) + Int(count) <= bytes.count else {
      throw NPUError(
        .bytes,
        "\(what) has \(count) bytes at \(start) of a file of \(bytes.count)"
      )
    }
    return Array(bytes[Int(start)..<Int(start) + Int(count)])
  }

  // MARK: Headers

  func checkIdentity() throws(NPUError) {
    guard bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46]), bytes.count >= 16 else {
      throw NPUError(.bytes, "no ELF file")
    }
    guard bytes[4] == 1 else {
      throw NPUError(.bytes, "an ELF file of class \(bytes[4]); a core's has 1, for 32 bits")
    }
    guard bytes[5] == 1 else {
      throw NPUError(.bytes, "an ELF file of byte order \(bytes[5]); a core's has 1, little-endian")
    }
    let machine = try half(at: 18, "the machine")
    // Numbers that nobody else has are let pass: compilers of a core may have their own.
    if let name = Self.foreign[machine] {
      throw NPUError(.bytes, "an ELF file for \(name), machine \(machine); a core's has 264")
    }
    if machine == 264, let name = Self.generations[try word(at: 36, "the flags")] {
      throw NPUError(.bytes, "an ELF file for cores of \(name), not of AIE2")
    }
    _ = try number(at: 48, 4, "the end of its header")
  }

  /// The places of a table of headers.
  private func table(
    _ what: String,
    start: UInt32,
    size: Int,
    count: Int,
    wanted: Int
  ) throws(NPUError) -> [Int] {
    guard count > 0 else { return [] }
    guard size == wanted else {
      throw NPUError(.bytes, "a \(what) has \(size) bytes, not \(wanted)")
    }
    guard Int(start) + count * size <= bytes.count else {
      throw NPUError(
        .bytes,
        "\(count) \(what)s of \(size) bytes at \(start) in a file of \(bytes.count)"
      )
    }
    return (0..<count).map { Int(start) + $0 * size }
  }

  /// What the program headers load, without what is empty.
  func segments() throws(NPUError) -> [Loaded] {
    let places = try table(
      "program header",
      start: word(at: 28, "the place of program headers"),
      size: half(at: 42, "the size of program headers"),
      count: half(at: 44, "the number of program headers"),
      wanted: Self.programHeader
    )
    guard places.count <= Self.mostSegments else {
      throw NPUError(
        .bytes,
        "\(places.count) program headers; at most \(Self.mostSegments) are read"
      )
    }
    var all: [Loaded] = []
    for (index, place) in places.enumerated() {
      let name = "segment \(index)"
      guard try word(at: place, name) == Self.loadable else { continue }
      let (held, wanted) = (try word(at: place + 16, name), try word(at: place + 20, name))
      guard held <= wanted else {
        throw NPUError(.bytes, "\(name) has \(held) bytes for a memory of \(wanted)")
      }
      guard wanted > 0 else { continue }
      let start = Int(try word(at: place + 8, name))
      let range = start..<start + Int(wanted)
      try Self.checkPlace(range, name)
      if let other = all.first(where: { $0.range.overlaps(range) }) {
        throw NPUError(
          .bytes,
          "\(name) at \(start.asAddress) overlaps one at \(other.range.lowerBound.asAddress)"
        )
      }
      let own = try part(word(at: place + 4, name), held, name)
      // Memory that the file has no bytes for is zero.
      let zeros = [UInt8](repeating: 0, count: Int(wanted - held))
      all.append(Loaded(range: range, bytes: own + zeros))
    }
    return all
  }

  private static func checkPlace(_ range: Range<Int>, _ name: String) throws(NPUError) {
    let base = CoreExecutable.dataBase
    let end = base + Int(RegisterMap.of(.core).memoryBytes)
    guard
      range.upperBound <= RegisterMap.programBytes
        || range.lowerBound >= base && range.upperBound <= end
    else {
      throw NPUError(
        .bytes,
        "\(name) is at \(range.lowerBound.asAddress) to \(range.upperBound.asAddress), "
          + "in neither the program's memory nor the core's own"
      )
    }
  }

  // MARK: Object files

  private struct Section {
    var name: String
    var kind: UInt32
    var flags: UInt32
    var start: UInt32
    var count: UInt32
    /// For relocations, the section that they change.
    var target: UInt32

    /// Whether the program wants it in memory.
    var isLoaded: Bool { flags & 2 != 0 && count > 0 }
    var hasRelocations: Bool { [4, 9].contains(kind) && count > 0 }
    /// Whether the file has no bytes of it.
    var isBlank: Bool { kind == 8 }
  }

  /// The code of a file without program headers.
  func textSection() throws(NPUError) -> Loaded {
    let all = try sections()
    guard let index = all.firstIndex(where: { $0.name == ".text" && $0.isLoaded && !$0.isBlank })
    else {
      throw NPUError(.bytes, "neither segments nor a section .text")
    }
    for (place, section) in all.enumerated() where place != index {
      let waits = section.hasRelocations && Int(section.target) == index
      guard !section.isLoaded, !waits else {
        throw NPUError(.bytes, "section \(section.name) waits for a linker: an object file")
      }
    }
    let section = all[index]
    guard section.count <= UInt32(RegisterMap.programBytes) else {
      throw NPUError(
        .bytes,
        "section .text has \(section.count) bytes; a core holds \(RegisterMap.programBytes)"
      )
    }
    return Loaded(
      range: 0..<Int(section.count),
      bytes: try part(section.start, section.count, "section .text")
    )
  }

  private func sections() throws(NPUError) -> [Section] {
    let places = try table(
      "section header",
      start: word(at: 32, "the place of section headers"),
      size: half(at: 46, "the size of section headers"),
      count: half(at: 48, "the number of section headers"),
      wanted: Self.sectionHeader
    )
    let index = try half(at: 50, "the section of names")
    guard places.indices.contains(index) else {
      throw NPUError(.bytes, "section \(index) of names is none of \(places.count)")
    }
    let names = try part(
      word(at: places[index] + 16, "the section of names"),
      word(at: places[index] + 20, "the section of names"),
      "the section of names"
    )
    var sections: [Section] = []
    for (index, place) in places.enumerated() {
      let what = "section \(index)"
      let start = Int(try word(at: place, what))
      guard start <= names.count else {
        throw NPUError(.bytes, "the name of \(what) is behind the section of names")
      }
      sections.append(
        Section(
          name: String(decoding: names[start...].prefix { $0 != 0 }, as: UTF8.self),
          kind: try word(at: place + 4, what),
          flags: try word(at: place + 8, what),
          start: try word(at: place + 16, what),
          count: try word(at: place + 20, what),
          target: try word(at: place + 28, what)
        )
      )
    }
    return sections
  }
}

extension Int {
  // Addresses that a file claims may be longer than those of a core.
  fileprivate var asAddress: String { "0x" + String(self, radix: 16) }
}
