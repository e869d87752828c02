// The simulated array: words that pass through a memory tile, and a core that copies.

import TestSupport
import Testing

@testable import NPUArray

/// The bytes of small designs.
enum SmallDesign {
  static func write(_ connection: Connection) throws -> [ConfigurationCommand] {
    try connection.writes().map { .write(address: $0.address, value: $0.value) }
  }

  static func descriptor(
    _ descriptor: BufferDescriptor,
    _ tile: Tile,
    _ index: Int
  ) throws -> ConfigurationCommand {
    .block(
      address: tile.address(RegisterMap.of(tile.kind).descriptor(index)),
      words: try descriptor.words(in: tile.kind)
    )
  }

  static func lock(_ tile: Tile, _ index: Int, _ value: UInt32) -> ConfigurationCommand {
    .write(address: tile.address(RegisterMap.of(tile.kind).lock(index)), value: value)
  }

  static func start(
    _ tile: Tile,
    _ direction: Direction,
    _ channel: Int,
    _ descriptor: Int
  ) throws -> ConfigurationCommand {
    .write(
      address: tile.address(RegisterMap.of(tile.kind).queue(direction, channel)),
      value: try QueuedTask(descriptor).word()
    )
  }

  /// What joins the first channels of a shim to its switch, and brings its tokens home.
  static func shim(_ tile: Tile) -> [ConfigurationCommand] {
    let joins = [Direction.outOfMemory, .intoMemory].map { Connection.shimPort($0, 0) }
    return joins.map {
      .maskedWrite(address: tile.address($0.offset), mask: $0.mask, value: $0.value)
    }
      + Connection.tokenRoute.map { .write(address: tile.address($0.offset), value: $0.value) }
  }

  /// A call that sends `count` words of argument 0 and takes as many into argument 1.
  static func call(_ column: Int, _ count: Int) throws -> [ControlOperation] {
    let shim = Tile(column, 0)
    let map = RegisterMap.of(.shim)
    var operations: [ControlOperation] = []
    for (index, direction) in [Direction.outOfMemory, .intoMemory].enumerated() {
      let descriptor = BufferDescriptor(base: 0, length: count)
      operations += [
        .block(
          address: shim.address(map.descriptor(index)),
          words: try descriptor.words(in: .shim)
        ),
        .patch(address: shim.address(map.descriptor(index) + 4), argument: index, offset: 0),
      ]
      if direction == .intoMemory {
        let controller = Connection.tokenController
        operations.append(
          .maskedWrite(
            address: shim.address(map.control(direction, 0)),
            mask: controller.mask,
            value: controller.value
          )
        )
      }
      let task = QueuedTask(index, issuesToken: direction == .intoMemory)
      operations.append(
        .write(address: shim.address(map.queue(direction, 0)), value: try task.word())
      )
    }
    operations.append(
      .wait(.intoMemory, column: column, row: 0, channel: 0, columns: 1, rows: 1)
    )
    return operations
  }

  /// From the shim to the memory tile, through two buffers by turns, and back.
  static func passThrough(_ column: Int, words: Int) throws -> [ConfigurationCommand] {
    let (shim, memory) = (Tile(column, 0), Tile(column, 1))
    var commands = Self.shim(shim)
    for connection in [
      Connection(shim, Port(.south, 3), Port(.north, 0)),
      Connection(memory, Port(.south, 0), Port(.dma, 0)),
      Connection(memory, Port(.dma, 0), Port(.south, 2)),
      Connection(shim, Port(.north, 2), Port(.south, 2)),
    ] { commands += try write(connection) }
    // Lock 0: empty buffers; lock 1: full ones.
    commands += [lock(memory, 0, 2), lock(memory, 1, 0)]
    for index in 0..<2 {
      let base = index * words
      let into = BufferDescriptor(
        base: base,
        length: words,
        next: 1 - index,
        acquire: LockUse(0, -1),
        release: LockUse(1, 1)
      )
      let out = BufferDescriptor(
        base: base,
        length: words,
        next: 3 - index,
        acquire: LockUse(1, -1),
        release: LockUse(0, 1)
      )
      commands += [try descriptor(into, memory, index), try descriptor(out, memory, index + 2)]
    }
    return commands + [
      try start(memory, .intoMemory, 0, 0), try start(memory, .outOfMemory, 0, 2),
    ]
  }

  /// From the shim through the memory tile to a core, which copies, and back.
  static func copyByCore(words count: Int) throws -> [ConfigurationCommand] {
    let (memory, core) = (Tile(0, 1), Tile(0, 2))
    var commands = shim(Tile(0, 0))
    for connection in [
      Connection(Tile(0, 0), Port(.south, 3), Port(.north, 0)),
      Connection(memory, Port(.south, 0), Port(.dma, 0)),
      Connection(memory, Port(.dma, 0), Port(.north, 1)),
      Connection(core, Port(.south, 1), Port(.dma, 0)),
      Connection(core, Port(.dma, 0), Port(.south, 1)),
      Connection(memory, Port(.north, 1), Port(.dma, 1)),
      Connection(memory, Port(.dma, 1), Port(.south, 2)),
      Connection(Tile(0, 0), Port(.north, 2), Port(.south, 2)),
    ] { commands += try write(connection) }
    // In the memory tile a buffer each way: locks 0 and 1, and 2 and 3.
    for (way, base) in [(0, 0), (1, 1024)] {
      // Odd channels have descriptors from 24 on.
      commands += try buffer(memory, way, first: way * 24, base: base, words: count)
    }
    return try commands + copyingCore(core, words: count)
  }

  /// A buffer of a memory tile that one channel fills and the other of its number empties.
  private static func buffer(
    _ memory: Tile,
    _ channel: Int,
    first: Int,
    base: Int,
    words: Int
  ) throws -> [ConfigurationCommand] {
    let (empty, full) = (2 * channel, 2 * channel + 1)
    let into = BufferDescriptor(
      base: base,
      length: words,
      next: first,
      acquire: LockUse(empty, -1),
      release: LockUse(full, 1)
    )
    let out = BufferDescriptor(
      base: base,
      length: words,
      next: first + 1,
      acquire: LockUse(full, -1),
      release: LockUse(empty, 1)
    )
    return [
      lock(memory, empty, 1), try descriptor(into, memory, first),
      try descriptor(out, memory, first + 1), try start(memory, .intoMemory, channel, first),
      try start(memory, .outOfMemory, channel, first + 1),
    ]
  }

  /// A core with an input at 0 and an output at 0x1000, and locks 0 to 3.
  private static func copyingCore(_ core: Tile, words: Int) throws -> [ConfigurationCommand] {
    let into = BufferDescriptor(
      base: 0,
      length: words,
      next: 0,
      acquire: LockUse(0, -1),
      release: LockUse(1, 1)
    )
    let out = BufferDescriptor(
      base: 0x400,
      length: words,
      next: 1,
      acquire: LockUse(3, -1),
      release: LockUse(2, 1)
    )
    let program = try CoreProgram(
      assembling: NPUKernels.source("copy"),
      symbols: [
        "vectors": words / 8, "into_0": 0x70000, "out_0": 0x71000, "into_empty": 48,
        "into_full": 49, "out_empty": 50, "out_full": 51,
      ]
    )
    #expect(HazardChecker.hazards(in: program).isEmpty, "\(HazardChecker.hazards(in: program))")
    return [
      lock(core, 0, 1), lock(core, 2, 1), try descriptor(into, core, 0),
      try descriptor(out, core, 1), try start(core, .intoMemory, 0, 0),
      try start(core, .outOfMemory, 0, 1),
      .block(
        address: core.address(RegisterMap.program),
        words: try WordReader.words(of: program.bytes)
      ),
      .maskedWrite(address: core.address(RegisterMap.coreControl), mask: 1, value: 1),
    ]
  }
}

@Suite struct `The simulated array` {
  private func run(
    _ commands: [ConfigurationCommand],
    _ operations: [ControlOperation],
    _ words: [UInt32]
  ) throws -> (result: [UInt32], report: CallReport) {
    let array = SimulatedArray()
    try array.configure(DeviceImage.words(of: commands))
    var arguments = [HostBuffer(words), HostBuffer(count: words.count)]
    let report = try array.call(ControlCode.words(of: operations), &arguments)
    return (arguments[1].words, report)
  }

  private func words(_ count: Int) -> [UInt32] {
    var random = SeededRandom(UInt64(count))
    return (0..<count).map { _ in .random(in: .min ... .max, using: &random) }
  }

  @Test(arguments: [0, 1, 3]) func `words pass through a memory tile`(_ column: Int) throws {
    let words = words(4096)
    let (result, report) = try run(
      SmallDesign.passThrough(column, words: 256),
      SmallDesign.call(column, words.count),
      words
    )
    #expect(result == words)
    // A word a cycle each way, side by side.
    #expect((4096..<8 * 4096).contains(report.cycles) && report.wordsMoved == 2 * words.count)
  }

  @Test func `calls follow each other on one configuration`() throws {
    let array = SimulatedArray()
    try array.configure(DeviceImage.words(of: SmallDesign.passThrough(0, words: 64)))
    for count in [64, 128, 512] {
      let words = words(count)
      var arguments = [HostBuffer(words), HostBuffer(count: count)]
      try array.call(ControlCode.words(of: SmallDesign.call(0, count)), &arguments)
      #expect(arguments[1].words == words)
    }
  }

  @Test func `a core copies`() throws {
    let words = words(64 * 5)
    let (result, _) = try run(
      SmallDesign.copyByCore(words: 64),
      SmallDesign.call(0, words.count),
      words
    )
    #expect(result == words)
  }

  @Test func `what stands still says who waits for what`() throws {
    func message(_ change: (inout [ConfigurationCommand]) throws -> Void) throws -> String {
      var commands = try SmallDesign.passThrough(0, words: 64)
      try change(&commands)
      do {
        _ = try run(commands, SmallDesign.call(0, 128), words(128))
        return "it ran"
      } catch let error as NPUError {
        return "\(error)"
      }
    }
    let memory = Tile(0, 1)
    // No buffer is empty.
    let locked = try message { $0.append(SmallDesign.lock(memory, 0, 0)) }
    #expect(
      locked.contains("S2MM 0 of memory tile (0, 1) waits for lock 0 for descriptor 0"),
      "\(locked)"
    )
    #expect(locked.contains("MM2S 0 of shim tile (0, 0) waits for room in its stream"), "\(locked)")
    // The token has no way home.
    let lost = try message { $0.append(.write(address: 0x3F200, value: 0xC000_0000)) }
    #expect(lost.contains("a token of S2MM 0 of shim tile (0, 0) had no route"), "\(lost)")
    // A slave port that nobody switched on.
    let off = try message { $0.append(.write(address: memory.address(0xB0100), value: 0)) }
    #expect(off.contains("slave port DMA0 feeds others and is not on"), "\(off)")
    // A stream that leads nowhere.
    let cut = try message { $0.append(.write(address: 0x3F000 + 4 * 12, value: 0)) }
    #expect(cut.contains("leads nowhere"), "\(cut)")
    // Memory that nobody gave.
    #expect(throws: NPUError.self) {
      _ = try run(SmallDesign.passThrough(0, words: 64), SmallDesign.call(0, 256), words(128))
    }
  }
}
