// A product of bytes by hand-written assembly: its bytes against a published listing's rules, its schedule, and its
// results against integers.

import Foundation
import TestSupport
import Testing

@testable import NPUArray

/// No locks at all.
struct NoLocks: CoreSurroundings {
  mutating func acquire(_ lock: Int, _ value: Int) -> Bool { true }
  mutating func release(_ lock: Int, _ value: Int) {}
}

enum NPUKernels {
  static func source(_ name: String) throws -> String {
    let path = Goldens.directory.appending(path: "../../kernels/npu/\(name).aie2s")
    return try String(contentsOf: path, encoding: .utf8)
  }
}

@Suite struct `A block of a product` {
  private func program(kTiles: Int, columnTiles: Int = 2) throws -> CoreProgram {
    try CoreProgram(
      assembling: NPUKernels.source("int8_block"),
      symbols: ["k_tiles": kTiles, "column_tiles": columnTiles]
    )
  }

  @Test func `it has the bytes that were checked by another assembler and interpreter`() throws {
    let text = try String(
      contentsOf: Goldens.directory.appending(path: "npu/int8_block.txt"),
      encoding: .utf8
    )
    let program = try program(kTiles: 8)
    let listing = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
    #expect(listing.count == 68 && program.bundles.count == 68)
    for (line, bundle) in zip(listing, program.bundles) {
      let bytes = bundle.bytes.map { byte in
        let digits = String(byte, radix: 16)
        return digits.count < 2 ? "0" + digits : digits
      }.joined()
      #expect(bytes == String(line[0]), "\(line[1])")
    }
    #expect(try CoreProgram(bytes: program.bytes).bytes == program.bytes)
  }

  @Test func `its schedule keeps the rules`() throws {
    for kTiles in [4, 8, 32] {
      let hazards = HazardChecker.hazards(in: try program(kTiles: kTiles, columnTiles: 3))
      #expect(hazards.isEmpty, "\(hazards.prefix(3))")
    }
  }

  @Test(arguments: [(3, 2), (8, 2), (8, 4), (32, 3)])
  func `its results are those of integers`(_ kTiles: Int, _ columnTiles: Int) throws {
    var random = SeededRandom(UInt64(kTiles))
    let k = kTiles * 8
    func bytes(_ count: Int) -> [Int8] {
      (0..<count).map { _ in Int8.random(in: .min ... .max, using: &random) }
    }
    let a = bytes(8 * k)
    let b = bytes(k * columnTiles * 8)
    let c = (0..<8 * 16).map { _ in Int32.random(in: -1_000_000...1_000_000, using: &random) }
    // Tiles of A from 0, of B from 0x2000, of C from 0xC000.
    var memory = [UInt8](repeating: 0xA5, count: 64 << 10)
    for row in 0..<8 {
      for column in 0..<k {
        let tile = row / 4 * kTiles + column / 8
        memory[tile * 32 + row % 4 * 8 + column % 8] = UInt8(bitPattern: a[row * k + column])
      }
    }
    for row in 0..<k {
      for column in 0..<columnTiles * 8 {
        let tile = row / 8 * columnTiles + column / 8
        memory[0x2000 + tile * 64 + row % 8 * 8 + column % 8] =
          UInt8(bitPattern: b[row * columnTiles * 8 + column])
      }
    }
    func place(_ row: Int, _ column: Int) -> Int {
      0xC000 + (row / 4 * 2 + column / 8) * 128 + (row % 4 * 8 + column % 8) * 4
    }
    for row in 0..<8 {
      for column in 0..<16 {
        let value = UInt32(bitPattern: c[row * 16 + column])
        for byte in 0..<4 {
          memory[place(row, column) + byte] = UInt8(truncatingIfNeeded: value >> UInt32(byte * 8))
        }
      }
    }
    let own = TileMemory(count: memory.count, pattern: 0)
    for (place, byte) in memory.enumerated() { own.store(byte, at: place) }
    let core = try SimulatedCore(
      try program(kTiles: kTiles, columnTiles: columnTiles),
      memory: own
    )
    let arguments: [UInt32] = [
      0x70000, 0x72000, 0x70000 + UInt32(kTiles * 32), 0x7C000, 0x7C100, 0x72020,
    ]
    for (index, value) in arguments.enumerated() { core.set(Register(.p, index), value) }
    // A caller that does not exist: the program ends there.
    core.set(Register(.lr), UInt32(CoreProgram.mostBundles * Bundle.byteCount))
    var locks = NoLocks()
    while core.pc < 68 { try core.step(&locks) }
    #expect(core.cycle == 68 + 4 * (kTiles - 3))
    for row in 0..<8 {
      for column in 0..<16 {
        let products = (0..<k).map { Int(a[row * k + $0]) * Int(b[$0 * columnTiles * 8 + column]) }
        let want = Int(c[row * 16 + column]) + products.reduce(0, +)
        let got = UInt32(littleEndian: own.load(UInt32.self, at: place(row, column)))
        #expect(Int(Int32(bitPattern: got)) == want, "row \(row), column \(column)")
      }
    }
  }
}
