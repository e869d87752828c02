// Descriptors, switches and queues against the words of published designs.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct `Registers of the array` {
  @Test(arguments: [
    (
      Tile.Kind.core, "core BD S2MM0 #0",
      BufferDescriptor(
        base: 3904,
        length: 512,
        next: 1,
        acquire: LockUse(0, -1),
        release: LockUse(1, 1)
      )
    ),
    (
      .core, "core BD S2MM1 #2",
      BufferDescriptor(
        base: 2880,
        length: 512,
        next: 3,
        acquire: LockUse(2, -1),
        release: LockUse(3, 1)
      )
    ),
    (
      .core, "core BD MM2S0 #4",
      BufferDescriptor(
        base: 832,
        length: 1024,
        next: 5,
        acquire: LockUse(5, -1),
        release: LockUse(4, 1)
      )
    ),
    (
      .memory, "memtile BD linear",
      BufferDescriptor(
        base: 0xC00,
        length: 512,
        next: 1,
        acquire: LockUse(2, -1),
        release: LockUse(3, 1)
      )
    ),
    (
      .memory, "memtile BD 4-D retile",
      BufferDescriptor(
        base: 0xC00,
        length: 512,
        dimensions: [Dimension(2, 1), Dimension(4, 16), Dimension(8, 2), Dimension(nil, 64)],
        next: 3,
        acquire: LockUse(3, -1),
        release: LockUse(2, 1)
      )
    ),
    (
      .memory, "memtile BD 4-D (C operand",
      BufferDescriptor(
        base: 0,
        length: 1024,
        dimensions: [Dimension(4, 1), Dimension(8, 16), Dimension(4, 4), Dimension(nil, 128)],
        next: 7,
        acquire: LockUse(1, -1),
        release: LockUse(0, 1)
      )
    ),
    (
      .shim, "shim BD (A read, 3-D)",
      BufferDescriptor(
        base: 0,
        length: 4096,
        dimensions: [Dimension(16, 1), Dimension(32, 128), Dimension(nil, 16)]
      )
    ),
    (
      .shim, "shim BD with iteration",
      BufferDescriptor(
        base: 0,
        length: 4096,
        dimensions: [Dimension(16, 1), Dimension(32, 128), Dimension(nil, 4096)],
        iteration: Iteration(8, 16)
      )
    ),
    (.shim, "shim BD 1-D", BufferDescriptor(base: 0, length: 2048)),
  ])
  func `descriptors are those of published designs`(
    _ kind: Tile.Kind,
    _ name: String,
    _ descriptor: BufferDescriptor
  ) throws {
    let words = try FormatVector.words("bd", name)
    #expect(try descriptor.words(in: kind) == words)
    #expect(try BufferDescriptor(words: words, in: kind) == descriptor)
  }

  @Test func `a walk visits the words that its dimensions say`() {
    // Tiles of 4 x 8 bytes of rows of 64 bytes.
    let descriptor = BufferDescriptor(
      base: 0,
      length: 64,
      dimensions: [Dimension(2, 1), Dimension(4, 16), Dimension(nil, 2)]
    )
    #expect(Array(descriptor.offsets.prefix(10)) == [0, 1, 16, 17, 32, 33, 48, 49, 2, 3])
    #expect(Array(BufferDescriptor(base: 0, length: 3).offsets) == [0, 1, 2])
    #expect(Set(descriptor.offsets).count == 64)
  }

  @Test func `what does not fit a descriptor is refused`() {
    for (descriptor, kind) in [
      (BufferDescriptor(base: 0, length: 1 << 14), Tile.Kind.core),
      (
        BufferDescriptor(base: 0, length: 4, dimensions: [Dimension(256, 1), Dimension(nil, 1)]),
        .core
      ),
      (BufferDescriptor(base: 0, length: 4, dimensions: [Dimension(nil, 0)]), .core),
      (BufferDescriptor(base: 0, length: 4, acquire: LockUse(16, -1)), .core),
      (BufferDescriptor(base: 0, length: 4, release: LockUse(0, 64)), .core),
      (BufferDescriptor(base: -1, length: 4), .core),
      (BufferDescriptor(base: 1 << 48, length: 4), .shim),
      (
        BufferDescriptor(
          base: 0,
          length: 4,
          dimensions: Array(repeating: Dimension(2, 1), count: 4)
        ),
        .shim
      ),
    ] {
      #expect(throws: NPUError.self, "\(descriptor)") { try descriptor.words(in: kind) }
    }
    #expect(throws: NPUError.self) { try BufferDescriptor(words: [1, 0, 0, 0, 0, 0], in: .core) }
    // A packet.
    #expect(throws: NPUError.self) {
      try BufferDescriptor(words: [1, 1 << 30, 0, 0, 0, 1 << 25], in: .core)
    }
  }

  @Test(arguments: [
    (Tile.Kind.shim, "shim", Port(.south, 3), Port(.north, 3)),
    (.shim, "shim", Port(.south, 7), Port(.north, 5)),
    (.shim, "shim", Port(.north, 2), Port(.south, 2)),
    (.memory, "memtile", Port(.south, 3), Port(.dma, 0)),
    (.memory, "memtile", Port(.dma, 0), Port(.north, 1)),
    (.memory, "memtile", Port(.south, 5), Port(.dma, 1)),
    (.memory, "memtile", Port(.dma, 1), Port(.north, 5)),
    (.memory, "memtile", Port(.north, 1), Port(.dma, 2)),
    (.memory, "memtile", Port(.dma, 2), Port(.south, 2)),
    (.core, "core", Port(.south, 1), Port(.dma, 0)),
    (.core, "core", Port(.south, 5), Port(.dma, 1)),
    (.core, "core", Port(.dma, 0), Port(.south, 1)),
  ])
  func `circuits are those of published designs`(
    _ kind: Tile.Kind,
    _ name: String,
    _ from: Port,
    _ to: Port
  ) throws {
    let tile = Tile(0, kind == .shim ? 0 : kind == .memory ? 1 : 2)
    let writes = try Connection(tile, from, to).writes()
    let master = try FormatVector.words("stream_switch", "\(name) master \(to) from slave \(from)")
    #expect(writes[0].address == tile.address(master[0]) && writes[0].value == master[1])
    let slave = "\(name) slave \(from) enable"
    if FormatVector.all.contains(where: { $0.name == slave }) {
      let words = try FormatVector.words("stream_switch", slave)
      #expect(writes[1].address == tile.address(words[0]) && writes[1].value == words[1])
    }
  }

  @Test func `channels of shims, tokens and tasks are those of published designs`() throws {
    for (direction, channel, name) in [
      (Direction.outOfMemory, 0, "shim MUX: MM2S0"), (.outOfMemory, 1, "shim MUX: MM2S1"),
      (.intoMemory, 0, "shim DEMUX: SOUTH2"), (.intoMemory, 1, "shim DEMUX: SOUTH3"),
    ] {
      let own = Connection.shimPort(direction, channel)
      #expect([own.offset, own.mask, own.value] == (try FormatVector.words("stream_switch", name)))
    }
    let routes = [
      "shim master SOUTH0", "shim slave TILE_CTRL packet", "shim slave TILE_CTRL slot0",
    ]
    for (own, name) in zip(Connection.tokenRoute, routes) {
      #expect([own.offset, own.value] == (try FormatVector.words("stream_switch", name)))
    }
    for (task, name) in [
      (QueuedTask(0, repeats: 2, issuesToken: true), "task queue word, shim S2MM"),
      (QueuedTask(1, repeats: 8), "task queue word, shim MM2S"),
      (QueuedTask(26), "memtile start queue"),
    ] {
      #expect([try task.word()] == (try FormatVector.words("queue", name)))
      #expect(QueuedTask(word: try task.word()) == task)
    }
    #expect(throws: NPUError.self) { try QueuedTask(0, repeats: 257).word() }
    #expect(throws: NPUError.self) {
      try Connection(Tile(0, 1), Port(.west, 0), Port(.dma, 0)).writes()
    }
  }

  @Test func `addresses name tiles`() {
    #expect(Tile(1, 0).address(0x1D000) == 0x0201_D000)
    #expect(Tile.at(0x0023_2000)?.tile == Tile(0, 2) && Tile.at(0x0023_2000)?.offset == 0x32000)
    #expect(Tile.at(0x0800_0000) == nil && Tile.at(0x0060_0000) == nil)
  }
}
