// From a design to the commands of a configuration: decides addresses, locks, descriptors and ways, and refuses what
// would not work.

/// A design with all that was decided for it.
package struct CompiledDesign: Sendable {
  /// What configures an array, in the order of published configurations.
  package var commands: [ConfigurationCommand]
  package var programs: [Tile: CoreProgram]
  /// Where each copy of a buffer begins, in words of its tile's memory.
  package var addresses: [DesignBuffer: [Int]]
  /// The locks of a buffer in its tile.
  package var locks: [DesignBuffer: (empty: Int, full: Int)]
  /// The ways of all streams.
  package var connections: [Connection]

  /// The words of an image for a driver.
  package var image: [UInt32] { DeviceImage.words(of: commands) }
}

extension Design {
  /// Compiles the design.
  ///
  /// - Throws: `NPUError` that names the tile, if something does not fit, is taken twice, would wait for ever, or
  ///   if the schedule of a program is wrong.
  package func compiled() throws(NPUError) -> CompiledDesign {
    var compiler = try DesignCompiler(self)
    return try compiler.compile()
  }
}

private struct DesignCompiler {
  private let design: Design
  private var addresses: [DesignBuffer: [Int]] = [:]
  private var locks: [DesignBuffer: (empty: Int, full: Int)] = [:]
  private var router = Router()
  private var programs: [Tile: CoreProgram] = [:]

  init(_ design: Design) throws(NPUError) {
    self.design = design
    try check()
    try place()
  }

  // MARK: Checks

  /// Checks that each buffer is filled and drained, and that no channel does two things.
  private func check() throws(NPUError) {
    var filled: [DesignBuffer: Int] = [:]
    var drained: [DesignBuffer: Int] = [:]
    var taken: Set<ChannelPlace> = []
    for transfer in design.transfers {
      let place = transfer.place
      guard !transfer.buffers.isEmpty, place.tile.kind != .shim,
        place.channel < RegisterMap.of(place.tile.kind).channelCount
      else { throw NPUError(.operand, "\(place) cannot pass a buffer") }
      guard taken.insert(place).inserted else {
        throw NPUError(.operand, "\(place) has two buffers")
      }
      for buffer in transfer.buffers {
        let first = transfer.buffers[0]
        guard buffer.tile == first.tile, buffer.copies == first.copies, buffer.words == first.words
        else { throw NPUError(.operand, "\(place) has buffers of two kinds") }
        if transfer.direction == .intoMemory {
          filled[buffer, default: 0] += 1
        } else {
          drained[buffer, default: 0] += 1
        }
      }
    }
    for program in design.programs {
      for buffer in program.fills + program.drains where buffer.tile != program.tile {
        throw NPUError(.operand, "buffer \(buffer.name) is in another tile", at: "\(program.tile)")
      }
      for buffer in program.fills { filled[buffer, default: 0] += 1 }
      for buffer in program.drains { drained[buffer, default: 0] += 1 }
    }
    for buffer in design.buffers {
      let (fills, drains) = (filled[buffer, default: 0], drained[buffer, default: 0])
      guard fills == 1, drains == 1 else {
        throw NPUError(
          .operand,
          "buffer \(buffer.name) is filled by \(fills) and drained by \(drains): one of each is needed",
          at: "\(buffer.tile)"
        )
      }
    }
    try checkStreams(taken)
  }

  private func checkStreams(_ taken: Set<ChannelPlace>) throws(NPUError) {
    var fed: Set<ChannelPlace> = []
    for stream in design.streams {
      guard stream.source.direction == .outOfMemory, !stream.sinks.isEmpty else {
        throw NPUError(.operand, "a stream from \(stream.source)")
      }
      for sink in stream.sinks {
        guard sink.direction == .intoMemory else { throw NPUError(.operand, "a stream to \(sink)") }
        guard fed.insert(sink).inserted else { throw NPUError(.operand, "two streams to \(sink)") }
      }
    }
    let sources = Set(design.streams.map(\.source))
    for place in taken where !fed.contains(place) && !sources.contains(place) {
      throw NPUError(.operand, "no stream leads to or from \(place)")
    }
    for place in fed.union(sources) where place.tile.kind != .shim && !taken.contains(place) {
      throw NPUError(.operand, "\(place) has a stream and no buffer")
    }
  }

  // MARK: Places

  /// Gives each buffer its memory and its locks.
  private mutating func place() throws(NPUError) {
    var ends: [Tile: Int] = [:]
    var lockCounts: [Tile: Int] = [:]
    for buffer in design.buffers {
      let map = RegisterMap.of(buffer.tile.kind)
      var starts: [Int] = []
      for _ in 0..<buffer.copies {
        let aligned = (ends[buffer.tile, default: 0] + buffer.alignment - 1) / buffer.alignment
        let start = aligned * buffer.alignment
        ends[buffer.tile] = start + buffer.words * 4
        starts.append(start / 4)
      }
      let end = ends[buffer.tile, default: 0]
      guard end <= Int(map.memoryBytes) else {
        throw NPUError(
          .operand,
          "buffers up to \(buffer.name) take \(end) bytes of \(map.memoryBytes)",
          at: "\(buffer.tile)"
        )
      }
      addresses[buffer] = starts
      let first = lockCounts[buffer.tile, default: 0]
      guard first + 2 <= map.lockCount else {
        throw NPUError(.operand, "more than \(map.lockCount) locks", at: "\(buffer.tile)")
      }
      lockCounts[buffer.tile] = first + 2
      locks[buffer] = (first, first + 1)
    }
  }

  // MARK: Commands

  mutating func compile() throws(NPUError) -> CompiledDesign {
    for (number, stream) in design.streams.enumerated() { try router.add(stream, number: number) }
    var commands: [ConfigurationCommand] = []
    for program in design.programs { commands += try load(program) }
    for buffer in design.buffers {
      guard let lock = locks[buffer] else { continue }
      let map = RegisterMap.of(buffer.tile.kind)
      commands += [
        .write(address: buffer.tile.address(map.lock(lock.empty)), value: UInt32(buffer.copies)),
        .write(address: buffer.tile.address(map.lock(lock.full)), value: 0),
      ]
    }
    commands += try rings()
    for connection in router.connections {
      commands += try connection.writes().map { .write(address: $0.address, value: $0.value) }
    }
    commands += shims()
    for tile in programs.keys.sorted() {
      commands.append(
        .maskedWrite(address: tile.address(RegisterMap.coreControl), mask: 1, value: 1)
      )
    }
    return CompiledDesign(
      commands: commands,
      programs: programs,
      addresses: addresses,
      locks: locks,
      connections: router.connections
    )
  }

  /// Assembles and checks a program, and puts it into its core, which is held in reset until the end.
  private mutating func load(_ program: DesignProgram) throws(NPUError) -> [ConfigurationCommand] {
    guard program.tile.kind == .core, programs[program.tile] == nil else {
      throw NPUError(
        .operand,
        "program \(program.name) has no core of its own",
        at: "\(program.tile)"
      )
    }
    var symbols = program.symbols
    for buffer in program.fills + program.drains {
      for (copy, word) in (addresses[buffer] ?? []).enumerated() {
        symbols["\(buffer.name)_\(copy)"] = Int(SimulatedCore.memoryBase) + 4 * word
      }
      // A core calls its own locks so.
      symbols["\(buffer.name)_empty"] = 48 + (locks[buffer]?.empty ?? 0)
      symbols["\(buffer.name)_full"] = 48 + (locks[buffer]?.full ?? 0)
    }
    let assembled = try CoreProgram(
      assembling: program.source,
      name: program.name,
      symbols: symbols
    )
    if let hazard = HazardChecker.hazards(in: assembled).first {
      throw NPUError(.bundle, "\(hazard)", at: "\(program.name) for \(program.tile)")
    }
    programs[program.tile] = assembled
    let control = program.tile.address(RegisterMap.coreControl)
    return [
      .maskedWrite(address: control, mask: 1, value: 0),
      .block(
        address: program.tile.address(RegisterMap.program),
        words: try WordReader.words(of: assembled.bytes)
      ),
      .maskedWrite(address: control, mask: 2, value: 2),
      .maskedWrite(address: control, mask: 2, value: 0),
    ]
  }

  /// The descriptors of each transfer, one a copy, each followed by the next and the last by the first.
  private func rings() throws(NPUError) -> [ConfigurationCommand] {
    var commands: [ConfigurationCommand] = []
    var used: [Tile: [Bool: Int]] = [:]
    for transfer in design.transfers {
      let tile = transfer.buffers[0].tile
      let map = RegisterMap.of(tile.kind)
      // Every buffer's first copy, then every one's second.
      let turns = (0..<transfer.buffers[0].copies).flatMap { copy in
        transfer.buffers.map { (buffer: $0, copy: copy) }
      }
      // In a memory tile odd channels have the descriptors of the upper half.
      let isUpper = tile.kind == .memory && !transfer.channel.isMultiple(of: 2)
      let half = tile.kind == .memory ? map.descriptorCount / 2 : map.descriptorCount
      let first = used[tile, default: [:]][isUpper, default: 0]
      guard first + turns.count <= half else {
        throw NPUError(.operand, "more than \(half) descriptors", at: "\(tile)")
      }
      used[tile, default: [:]][isUpper] = first + turns.count
      let base = first + (isUpper ? half : 0)
      for (index, turn) in turns.enumerated() {
        let descriptor = try descriptor(transfer, turn, next: base + (index + 1) % turns.count)
        commands.append(
          .block(
            address: tile.address(map.descriptor(base + index)),
            words: try descriptor.words(in: tile.kind)
          )
        )
      }
      commands.append(
        .write(
          address: tile.address(map.queue(transfer.direction, transfer.channel)),
          value: try QueuedTask(base).word()
        )
      )
    }
    return commands
  }

  /// The descriptor of one copy of a buffer.
  private func descriptor(
    _ transfer: DesignTransfer,
    _ turn: (buffer: DesignBuffer, copy: Int),
    next: Int
  ) throws(NPUError) -> BufferDescriptor {
    let isFilling = transfer.direction == .intoMemory
    let (empty, full) = locks[turn.buffer] ?? (0, 0)
    let descriptor = BufferDescriptor(
      base: addresses[turn.buffer]?[turn.copy] ?? 0,
      length: turn.buffer.words,
      dimensions: transfer.dimensions,
      next: next,
      acquire: LockUse(isFilling ? empty : full, -1),
      release: LockUse(isFilling ? full : empty, 1)
    )
    if turn.copy == 0 { try checkRange(of: descriptor, turn.buffer, transfer) }
    return descriptor
  }

  /// Checks that a walk stays in its buffer, and visits no word twice.
  private func checkRange(
    of descriptor: BufferDescriptor,
    _ buffer: DesignBuffer,
    _ transfer: DesignTransfer
  ) throws(NPUError) {
    var seen: Set<Int> = []
    for offset in descriptor.offsets {
      guard (0..<buffer.words).contains(offset), seen.insert(offset).inserted else {
        throw NPUError(
          .operand,
          "the walk of \(transfer.place) through \(buffer.name) leaves it or meets word \(offset) twice",
          at: "\(buffer.tile)"
        )
      }
    }
  }

  /// What joins the channels of shims to their switches, and the ways of tokens.
  private func shims() -> [ConfigurationCommand] {
    var commands: [ConfigurationCommand] = []
    var seen: Set<Tile> = []
    for place in design.streams.flatMap({ [$0.source] + $0.sinks }) where place.tile.kind == .shim {
      let join = Connection.shimPort(place.direction, place.channel)
      commands.append(
        .maskedWrite(address: place.tile.address(join.offset), mask: join.mask, value: join.value)
      )
      guard seen.insert(place.tile).inserted else { continue }
      commands += Connection.tokenRoute.map {
        .write(address: place.tile.address($0.offset), value: $0.value)
      }
    }
    return commands
  }
}

extension DesignTransfer {
  /// The channel.
  fileprivate var place: ChannelPlace {
    ChannelPlace(tile: buffers.first?.tile ?? Tile(0, 0), direction: direction, channel: channel)
  }
}
