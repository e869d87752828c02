// Bundles of fewer than sixteen bytes, and programs that have them: published bytes, and what nobody has written.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct `Short bundles` {
  private var vectors: [CoreVector] { CoreVector.all.filter { $0.size != Bundle.byteCount } }

  @Test func `published ones read as their text, and are written again as they were`() throws {
    #expect(vectors.count >= 130)
    for vector in vectors {
      let bundle = try Bundle(bytes: vector.bytes)
      #expect(bundle.byteCount == vector.size)
      #expect(bundle.bytes == vector.bytes, "\(vector.asm): \(bundle.bytes)")
      #expect(CoreVector.instructions("\(bundle)") == vector.instructions, "\(bundle)")
      for (name, digits) in vector.slots ?? [:] {
        // A slot `nop` is a bit without a meaning.
        guard let slot = Slot(rawValue: name) else { continue }
        let field = bundle[slot]?.field ?? slot.nop
        #expect(field == UInt64(digits.dropFirst(2), radix: 16), "\(name) of \(vector.asm)")
      }
    }
  }

  @Test func `the first byte tells the length, and all bytes tell one format`() {
    #expect(BundleFormat.all.count == 78)
    for format in BundleFormat.all {
      let first = UInt8(truncatingIfNeeded: format.fixed)
      #expect(Bundle.length(ofFirst: first) == format.byteCount)
      for other in BundleFormat.all where other.byteCount == format.byteCount {
        let both = format.fixedMask & other.fixedMask
        let isSame = format.fixed == other.fixed && format.fixedMask == other.fixedMask
        #expect(isSame || format.fixed & both != other.fixed & both, "\(format), \(other)")
      }
    }
    #expect(Set((0...255).map { Bundle.length(ofFirst: $0) }) == [2, 4, 6, 8, 10, 12, 14, 16])
  }

  @Test(.seeded(default: 31))
  func `every format holds any instructions, and bits without a meaning change nothing`() throws {
    var random = SeededRandom(testSeed(default: 31))
    for round in 0..<fuzzIterations(default: 2_000) {
      let format = BundleFormat.all[round % BundleFormat.all.count]
      var wanted: [Slot: Instruction] = [:]
      for field in format.fields where Bool.random(using: &random) {
        wanted[field.slot] = Self.instruction(of: field.slot, &random)
      }
      let bits = format.bits { wanted[$0]?.field }
      let usual = Self.bytes(bits, format)
      var meaning = format.fixedMask
      for field in format.fields {
        meaning |= ((1 << UInt128(field.slot.width)) - 1) << UInt128(field.shift)
      }
      let noise = UInt128.random(in: 0...UInt128.max, using: &random) & ~meaning
      for bytes in [usual, Self.bytes(bits | noise, format)] {
        let bundle = try Bundle(bytes: bytes)
        #expect(bundle.bytes == usual)
        for slot in Slot.allCases {
          #expect(bundle[slot].map { "\($0)" } == wanted[slot].map { "\($0)" }, "\(bundle)")
        }
      }
    }
  }

  @Test(.seeded(default: 32))
  func `bytes of any kind are refused or read, and what is read is written`() {
    var random = SeededRandom(testSeed(default: 32))
    let good = CoreVector.all.map(\.bytes)
    var readCount = 0
    for round in 0..<fuzzIterations(default: 20_000) {
      var bytes = good[round % good.count]
      if round.isMultiple(of: 2) {
        bytes = random.bytes(Int.random(in: 0...17, using: &random))
        if let first = bytes.first { bytes += random.bytes(Bundle.length(ofFirst: first)) }
        if let first = bytes.first { bytes = Array(bytes[..<Bundle.length(ofFirst: first)]) }
      } else {
        let place = Int.random(in: bytes.indices, using: &random)
        bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
      }
      guard let bundle = try? Bundle(bytes: bytes) else { continue }
      readCount += 1
      // Bits without a meaning are zero in what is written; all others are as they were.
      let written = bundle.bytes
      let again = try? Bundle(bytes: written)
      #expect(written.count == bytes.count && again?.bytes == written)
      #expect(again.map { "\($0)" } == "\(bundle)")
      #expect(zip(written, bytes).allSatisfy { $0 & ~$1 == 0 }, "\(bytes) as \(written)")
    }
    #expect(readCount > 1_000)
  }

  /// An instruction that its field tells again: what a form of few operands covers is another's.
  private static func instruction(of slot: Slot, _ random: inout SeededRandom) -> Instruction? {
    while let form = InstructionTable.bySlot[slot]?.randomElement(using: &random) {
      let codes = form.operands.map { operand in
        UInt64.random(in: 0..<(1 << UInt64(operand.bits.count)), using: &random)
      }
      let found = try? Instruction.decode(form.field(codes), in: slot)
      if let found { return found }
    }
    return nil
  }

  private static func bytes(_ bits: UInt128, _ format: BundleFormat) -> [UInt8] {
    (0..<format.byteCount).map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
  }
}

@Suite struct `Programs of short bundles` {
  @Test func `each bundle has its address, and branches find it`() throws {
    let vectors = CoreVector.all
    let bytes = vectors.flatMap(\.bytes)
    let program = try CoreProgram(bytes: bytes)
    #expect(program.bytes == bytes)
    var address = 0
    for (index, vector) in vectors.enumerated() {
      #expect(program.addresses[index] == address)
      #expect(program.index(at: address) == index)
      #expect(program.index(at: address + 1) == nil)
      address += vector.size
    }
    #expect(program.addresses.count == vectors.count + 1 && program.addresses.last == address)
    for nowhere in [address, -2, .min, .max] { #expect(program.index(at: nowhere) == nil) }
  }

  @Test func `one that was assembled has addresses too`() throws {
    let program = try CoreProgram(assembling: "nop\nloop: nop\n  done")
    #expect(program.addresses == [0, 16, 32, 48])
    #expect(program.labels["loop"].flatMap(program.index) == 1)
    #expect(try CoreProgram(assembling: "").addresses == [0])
  }

  @Test func `zeros behind it are no part of it`() throws {
    let nop: [UInt8] = [1, 0]
    let done: [UInt8] = [0x19, 8, 0, 0x10]
    for count in [0, 1, 2, 15, 16, 4_000] {
      let zeros = [UInt8](repeating: 0, count: count)
      let program = try CoreProgram(bytes: nop + done + nop + zeros)
      #expect(program.addresses == [0, 2, 6, 8])
      #expect(program.bundles.map { "\($0)" } == ["nop", "done", "nop"])
      #expect(try CoreProgram(bytes: zeros).bundles.isEmpty)
    }
  }

  @Test(arguments: [
    ([1, 0, 0x19, 8, 0], "address 2: a bundle of 4 bytes, of which 3 are there"),
    ([1, 0, 2], "address 2: a bundle of 16 bytes, of which 1 are there"),
    ([1, 0, 0x19, 0, 0, 0x70], "address 2: no known bundle of 4 bytes"),
    ([0x89, 0, 0, 0], "address 0: no known instruction of slot vec is 0x2"),
    ([UInt8](repeating: 1, count: 16_386), "16386 bytes of a program; a core holds 16384"),
  ])
  func `a fault has its address`(bytes: [UInt8], message: String) {
    do throws(NPUError) {
      _ = try CoreProgram(bytes: bytes)
      Issue.record("accepted")
    } catch {
      #expect("\(error)".contains(message), "\(error)")
    }
  }

  @Test func `it runs as the same program of long bundles does`() throws {
    // Four times round a loop that counts down, a call, and four times round one that the core counts.
    let nops = Array(repeating: "nop", count: 10)
    let source =
      ["movxm p0, #0x70000", "movxm p1, #at5", "mova r0, #3", "mova r1, #0; movx r2, #1", "nop"]
      + ["jnzd r0, r0, p1", "add r1, r1, #2"] + nops[..<4]
      + ["jl #at40"] + nops[..<5]
      + ["movxm ls, #at31", "movxm le, #at32", "mova lc, #4"] + nops
      + ["nop", "add r1, r1, #1", "st r1, [p0], #4"] + nops[..<5] + ["done", "nop"]
      + ["ret lr", "add r1, r1, #10"] + nops[..<4]
    let long = try Self.memory(after: Self.program(source) { $0.bytes })
    let short = try Self.memory(after: Self.program(source, Self.shortest))
    #expect(long == [19, 20, 21, 22, 0xA5A5_A5A5] && short == long)
    #expect(try Self.program(source, Self.shortest).bytes.count < 16 * source.count / 2)
  }

  /// The program of bundles, at whose addresses the symbols `at0`, `at1` and so on are.
  private static func program(
    _ source: [String],
    _ bytes: (Bundle) -> [UInt8]
  ) throws -> CoreProgram {
    var symbols: Symbols = [:]
    for index in source.indices { symbols["at\(index)"] = 0 }
    // Numbers change no length: what the first round finds is right in the second.
    var program = try CoreProgram(bytes: [])
    for _ in 0..<2 {
      program = try CoreProgram(bytes: source.flatMap { bytes(try Bundle($0, symbols)) })
      for index in source.indices { symbols["at\(index)"] = program.addresses[index] }
    }
    return program
  }

  private static func shortest(_ bundle: Bundle) -> [UInt8] {
    let format = BundleFormat.all.filter { format in
      bundle.instructions.keys.allSatisfy { slot in format.fields.contains { $0.slot == slot } }
    }
    .min { $0.byteCount < $1.byteCount }
    guard let format else { return bundle.bytes }
    let bits = format.bits { bundle[$0]?.field }
    return (0..<format.byteCount).map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
  }

  private static func memory(after program: CoreProgram) throws -> [UInt32] {
    let memory = TileMemory(count: 64 << 10, pattern: 0xA5)
    let core = try SimulatedCore(program, memory: memory)
    var locks = NoLocks()
    _ = try core.run(cycles: 1_000, &locks)
    #expect(core.status == .done)
    return (0..<5).map { memory.load(UInt32.self, at: $0 * 4) }
  }

  @Test(.seeded(default: 33))
  func `bytes of any kind are refused or read`() {
    var random = SeededRandom(testSeed(default: 33))
    let good = CoreVector.all.flatMap(\.bytes)
    for _ in 0..<fuzzIterations(default: 300) {
      guard let program = try? CoreProgram(bytes: random.corrupted(good)) else { continue }
      #expect(program.addresses.count == program.bundles.count + 1)
      #expect(program.addresses.last == program.bytes.count)
    }
  }
}
