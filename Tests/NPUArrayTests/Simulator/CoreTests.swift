// Single instructions in a simulated core, against what integers say.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct `A simulated core` {
  /// Runs a program on a memory that begins with some bytes, and returns the memory's first bytes.
  private func run(_ source: String, _ bytes: [UInt8]) throws -> [UInt8] {
    let program = try CoreProgram(assembling: source + "\ndone\n")
    #expect(HazardChecker.hazards(in: program).isEmpty, "\(HazardChecker.hazards(in: program))")
    let memory = TileMemory(count: 64 << 10, pattern: 0)
    for (place, byte) in bytes.enumerated() { memory.store(byte, at: place) }
    let core = try SimulatedCore(program, memory: memory)
    var locks = NoLocks()
    _ = try core.run(cycles: 10_000, &locks)
    #expect(core.status == .done)
    return (0..<256).map { memory.load(UInt8.self, at: $0) }
  }

  private func word(_ bytes: [UInt8], _ index: Int) -> UInt32 {
    (0..<4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[index * 4 + $1]) }
  }

  private let nops = String(repeating: "\nnop", count: 6) + "\n"

  @Test func `parts of words are loaded with their sign or without, and stored`() throws {
    let source =
      "movxm p0, #0x70000\nmovxm p1, #0x70040\nmovxm p2, #0x70060\nlda.s8 r1, [p0], #1\nlda.u8 r2, [p0], #1\n"
      + "lda.s16 r3, [p0], #2\nlda.u16 r4, [p0], #4" + nops
      + "st r1, [p1], #4\nst r2, [p1], #4\nst r3, [p1], #4\nst r4, [p1], #4\nst.s8 r1, [p1], #1"
      + nops + "st.s16 r3, [p2], #2" + nops
    let bytes = try run(source, [0x85, 0x86, 0x12, 0x93, 0x34, 0xA5])
    #expect((16..<20).map { word(bytes, $0) } == [0xFFFF_FF85, 0x86, 0xFFFF_9312, 0xA534])
    #expect(bytes[80...81] == [0x85, 0] && bytes[96...98] == [0x12, 0x93, 0])
  }

  @Test func `numbers are extended`() throws {
    let source =
      "movxm p1, #0x70000\nmovxm r0, #0x12348586\nextend.s8 r1, r0\nextend.u8 r2, r0\nextend.s16 r3, r0\n"
      + "extend.u16 r4, r0\nst r1, [p1], #4\nst r2, [p1], #4\nst r3, [p1], #4\nst r4, [p1], #4"
    let bytes = try run(source, [])
    #expect((0..<4).map { word(bytes, $0) } == [0xFFFF_FF86, 0x86, 0xFFFF_8586, 0x8586])
  }

  @Test(arguments: [1, 2, 4]) func `lanes of vectors are added and subtracted`(
    _ size: Int
  ) throws {
    var random = SeededRandom(UInt64(size))
    let bytes = (0..<128).map { _ in UInt8.random(in: 0...255, using: &random) }
    for (name, sign) in [("vadd", 1), ("vsub", -1)] {
      let source =
        "movxm p0, #0x70000\nvlda wl1, [p0], #32\nvlda wh1, [p0], #32\nvlda wl2, [p0], #32\n"
        + "vlda wh2, [p0], #32" + nops + "\(name).\(8 * size) x0, x1, x2\nnop\n"
        + "vst wl0, [p0], #32\nvst wh0, [p0], #32"
      let result = try run(source, bytes)
      for lane in stride(from: 0, to: 64, by: size) {
        func number(_ bytes: [UInt8], _ first: Int) -> Int {
          (0..<size).reversed().reduce(0) { $0 << 8 | Int(bytes[first + lane + $1]) }
        }
        let want = number(bytes, 0) + sign * number(bytes, 64)
        #expect(number(result, 128) == want & (1 << (8 * size) - 1), "\(name), lane \(lane)")
      }
    }
  }

  @Test func `a routine is called by a pointer`() throws {
    let source =
      "movxm p0, #0x70000\nmovxm p1, #routine\njl p1\nmova r1, #1\nnop\nnop\nnop\nnop\nst r1, [p0], #4\ndone\n"
      + "routine:\nret lr\nadd r1, r1, #41\nnop\nnop\nnop\nnop\n"
    #expect(word(try run(source, []), 0) == 42)
  }
}
