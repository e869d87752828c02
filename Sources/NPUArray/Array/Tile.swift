// The tiles of the array, and where the registers of each are.
//
// Sources of all addresses: Xilinx/mlir-aie, lib/Dialect/AIE/Util/aie_registers_aie2.json, and published
// configurations (Tests/Goldens/npu/txn_cdo_vectors.json).

/// A place in the array, counted from the first column of a partition.
package struct Tile: Sendable, Hashable, Comparable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable, CaseIterable {
    /// Row 0: streams from and to the memory of the machine.
    case shim
    /// Row 1: 512 KiB of memory.
    case memory
    /// Rows 2 to 5: a core with 64 KiB of data and 16 KiB of program.
    case core
  }

  package var column: Int
  package var row: Int

  package init(_ column: Int, _ row: Int) {
    self.column = column
    self.row = row
  }

  package static let columns = 4
  package static let rows = 6

  /// Whether there is such a tile.
  package var exists: Bool {
    (0..<Self.columns).contains(column) && (0..<Self.rows).contains(row)
  }

  package var kind: Kind { row == 0 ? .shim : row == 1 ? .memory : .core }

  /// The address of one of its registers or bytes.
  package func address(_ offset: UInt32) -> UInt32 {
    UInt32(column) << 25 | UInt32(row) << 20 | offset
  }

  /// The tile and the offset that an address names; nil if there is no such tile.
  package static func at(_ address: UInt32) -> (tile: Tile, offset: UInt32)? {
    let tile = Tile(Int(address >> 25), Int(address >> 20 & 31))
    guard tile.column < columns, tile.row < rows else { return nil }
    return (tile, address & 0xFFFFF)
  }

  package static func < (a: Tile, b: Tile) -> Bool { (a.column, a.row) < (b.column, b.row) }

  package var description: String { "\(kind) tile (\(column), \(row))" }
}

/// A direction of a channel between memory and streams.
package enum Direction: Sendable, Hashable, CaseIterable, CustomStringConvertible {
  /// From streams to memory: S2MM.
  case intoMemory
  /// From memory to streams: MM2S.
  case outOfMemory

  package var description: String { self == .intoMemory ? "S2MM" : "MM2S" }
}

/// Where the registers of a kind of tile are, as offsets, and how many there are of each.
package struct RegisterMap: Sendable {
  /// Bytes of memory; 0 for a shim.
  package var memoryBytes: UInt32
  package var descriptors: UInt32
  package var descriptorCount: Int
  package var descriptorWords: Int
  /// Of the first channel of each direction; eight bytes further is the next one's, four the queue.
  package var intoMemory: UInt32
  package var outOfMemory: UInt32
  package var channelCount: Int
  package var locks: UInt32
  package var lockCount: Int
  package var masters: UInt32
  package var slaves: UInt32
  package var slots: UInt32

  package static func of(_ kind: Tile.Kind) -> RegisterMap {
    switch kind {
    case .shim: shim
    case .memory: memory
    case .core: core
    }
  }

  private static let shim = RegisterMap(
    memoryBytes: 0,
    descriptors: 0x1D000,
    descriptorCount: 16,
    descriptorWords: 8,
    intoMemory: 0x1D200,
    outOfMemory: 0x1D210,
    channelCount: 2,
    locks: 0x14000,
    lockCount: 16,
    masters: 0x3F000,
    slaves: 0x3F100,
    slots: 0x3F200
  )
  private static let memory = RegisterMap(
    memoryBytes: 512 << 10,
    descriptors: 0xA0000,
    descriptorCount: 48,
    descriptorWords: 8,
    intoMemory: 0xA0600,
    outOfMemory: 0xA0630,
    channelCount: 6,
    locks: 0xC0000,
    lockCount: 64,
    masters: 0xB0000,
    slaves: 0xB0100,
    slots: 0xB0200
  )
  private static let core = RegisterMap(
    memoryBytes: 64 << 10,
    descriptors: 0x1D000,
    descriptorCount: 16,
    descriptorWords: 6,
    intoMemory: 0x1DE00,
    outOfMemory: 0x1DE10,
    channelCount: 2,
    locks: 0x1F000,
    lockCount: 16,
    masters: 0x3F000,
    slaves: 0x3F100,
    slots: 0x3F200
  )

  /// Whether a channel may use a descriptor: in a memory tile even channels have the lower half, odd ones the upper.
  func mayUse(_ descriptor: Int, channel: Int) -> Bool {
    guard descriptor < descriptorCount else { return false }
    let half = descriptorCount / 2
    return memoryBytes != RegisterMap.memory.memoryBytes
      || (descriptor < half) == channel.isMultiple(of: 2)
  }

  /// Parts of memory that serve one access a cycle each; as a core sees them.
  package var bankCount: Int { 4 }
  package var bankBytes: Int { Int(memoryBytes) / bankCount }

  package func descriptor(_ index: Int) -> UInt32 { descriptors + 0x20 * UInt32(index) }
  package func lock(_ index: Int) -> UInt32 { locks + 0x10 * UInt32(index) }

  package func control(_ direction: Direction, _ channel: Int) -> UInt32 {
    (direction == .intoMemory ? intoMemory : outOfMemory) + 8 * UInt32(channel)
  }

  package func queue(_ direction: Direction, _ channel: Int) -> UInt32 {
    control(direction, channel) + 4
  }

  // Of cores alone.
  package static let program: UInt32 = 0x20000
  package static let programBytes = 16 << 10
  package static let coreControl: UInt32 = 0x32000
  // Of shims alone: what drives the southern slaves of the switch, and where its southern masters go.
  package static let mux: UInt32 = 0x1F000
  package static let demux: UInt32 = 0x1F004
}
