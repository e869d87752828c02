// From a design to the commands of a configuration: decides addresses, locks, descriptors and ways, and refuses what
// would not work.

/// A design with all that was decided for it.
package struct CompiledDesign: Sendable {
  /// What configures an array, in the order of published configurations.
  package var commands: [ConfigurationCommand]
  package var programs: [Tile: CoreProgram]
  /// Where each copy of a buffer begins, in words of its tile's memory.
  package var addresses: [DesignBuffer: [Int]]
  /// Where areas begin, in words.
  package var areas: [DesignArea: Int]
  /// The locks of a buffer in its tile.
  package var locks: [DesignBuffer: (empty: Int, full: Int)]
  /// Descriptors that calls may write: of a memory tile the first half for even channels, the second for odd ones.
  package var freeDescriptors: [Tile: [Int]]
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
  private let placement: Placement
  private var router = Router()
  private var programs: [Tile: CoreProgram] = [:]
  /// How many descriptors are taken: of a memory tile those for even channels, and those for odd ones.
  private var taken: [Tile: [Bool: Int]] = [:]

  init(_ design: Design) throws(NPUError) {
    self.design = design
    let streams = design.streams.flatMap { [$0.source] + $0.sinks }
    let tiles =
      streams.map(\.tile) + design.programs.map(\.tile) + design.buffers.map(\.tile)
      + design.areas.map(\.tile)
    if let tile = tiles.first(where: { !$0.exists }) {
      throw NPUError(.operand, "there is no such tile", at: "\(tile)")
    }
    placement = try Placement(design)
    try check()
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
      if let mark = transfer.mark {
        guard !transfer.isPerCall else {
          throw NPUError(
            .operand,
            "\(place) makes marks, and each call has its own descriptors for it"
          )
        }
        let own = ChannelPlace(tile: place.tile, direction: .outOfMemory, channel: mark.channel)
        guard mark.channel < RegisterMap.of(place.tile.kind).channelCount,
          taken.insert(own).inserted
        else { throw NPUError(.operand, "\(own) has two buffers, or is none") }
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
      for area in program.areas where area.tile != program.tile {
        throw NPUError(.operand, "area \(area.name) is in another tile", at: "\(program.tile)")
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
    for place in (design.streams.flatMap { [$0.source] + $0.sinks })
    where !(0..<RegisterMap.of(place.tile.kind).channelCount).contains(place.channel) {
      throw NPUError(.operand, "a stream to or from \(place), which there is not")
    }
    for place in taken.sorted() where !fed.contains(place) && !sources.contains(place) {
      throw NPUError(.operand, "no stream leads to or from \(place)")
    }
    for place in fed.union(sources).sorted()
    where place.tile.kind != .shim && !taken.contains(place) {
      throw NPUError(.operand, "\(place) has a stream and no buffer")
    }
  }

  // MARK: Commands

  mutating func compile() throws(NPUError) -> CompiledDesign {
    for (number, stream) in design.streams.enumerated() { try router.add(stream, number: number) }
    var commands: [ConfigurationCommand] = []
    for program in design.programs { commands += try load(program) }
    for buffer in design.buffers {
      guard let lock = placement.locks[buffer] else { continue }
      let map = RegisterMap.of(buffer.tile.kind)
      commands += [
        .write(address: buffer.tile.address(map.lock(lock.empty)), value: UInt32(buffer.copies)),
        .write(address: buffer.tile.address(map.lock(lock.full)), value: 0),
      ]
    }
    for area in design.areas where !area.contents.isEmpty {
      let address = area.tile.address(4 * UInt32(placement.areas[area] ?? 0))
      commands.append(.block(address: address, words: area.contents))
    }
    for (area, lock) in placement.markLocks.sorted(by: { $0.key.tile < $1.key.tile }) {
      let address = area.tile.address(RegisterMap.of(area.tile.kind).lock(lock))
      commands.append(.write(address: address, value: 0))
    }
    for transfer in design.transfers where !transfer.isPerCall { commands += try ring(transfer) }
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
      addresses: placement.addresses,
      areas: placement.areas,
      locks: placement.locks,
      freeDescriptors: freeDescriptors(),
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
    let symbols = try symbols(of: program)
    let tokens = Set(
      program.source.split(whereSeparator: \.isNewline).flatMap { AssemblyLexer.tokens($0) }
    )
    for buffer in program.fills + program.drains {
      let copies = (0..<buffer.copies).map { "\(buffer.name)_\($0)" }
      // It would wait for ever, or take one copy's words for another's.
      for name in copies + ["\(buffer.name)_empty", "\(buffer.name)_full"]
      where !tokens.contains(name) {
        throw NPUError(
          .operand,
          "program \(program.name) never uses \(name)",
          at: "\(program.tile)"
        )
      }
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

  /// The names that a program may use.
  private func symbols(of program: DesignProgram) throws(NPUError) -> Symbols {
    var own: [(String, Int)] = []
    for buffer in program.fills + program.drains {
      for (copy, word) in (placement.addresses[buffer] ?? []).enumerated() {
        own.append(("\(buffer.name)_\(copy)", Int(SimulatedCore.memoryBase) + 4 * word))
      }
      // A core calls its own locks so.
      own.append(("\(buffer.name)_empty", 48 + (placement.locks[buffer]?.empty ?? 0)))
      own.append(("\(buffer.name)_full", 48 + (placement.locks[buffer]?.full ?? 0)))
    }
    for area in program.areas {
      own.append((area.name, Int(SimulatedCore.memoryBase) + 4 * (placement.areas[area] ?? 0)))
    }
    var symbols = program.symbols
    for (name, value) in own where symbols.updateValue(value, forKey: name) != nil {
      throw NPUError(.operand, "the name \(name) is there twice", at: "\(program.tile)")
    }
    return symbols
  }

  /// The descriptors of a transfer, one a copy, each followed by the next and the last by the first.
  private mutating func ring(_ transfer: DesignTransfer) throws(NPUError) -> [ConfigurationCommand]
  {
    var descriptors: [BufferDescriptor] = []
    // Every buffer's first copy, then every one's second.
    for copy in 0..<transfer.buffers[0].copies {
      for buffer in transfer.buffers {
        let descriptor = descriptor(transfer, buffer, copy)
        if copy == 0 { try checkRange(of: descriptor, buffer, transfer) }
        descriptors += try split(descriptor, transfer)
      }
    }
    var commands = try start(descriptors, transfer.place)
    if let mark = transfer.mark {
      let send = BufferDescriptor(
        base: placement.areas[mark.area] ?? 0,
        length: mark.area.words,
        acquire: placement.markLocks[mark.area].map { LockUse($0, -1) }
      )
      commands += try start(
        [send],
        ChannelPlace(tile: mark.area.tile, direction: .outOfMemory, channel: mark.channel)
      )
    }
    return commands
  }

  /// Writes descriptors that follow each other in a ring, and puts the first into a channel's queue.
  private mutating func start(
    _ descriptors: [BufferDescriptor],
    _ place: ChannelPlace
  ) throws(NPUError) -> [ConfigurationCommand] {
    let tile = place.tile
    let map = RegisterMap.of(tile.kind)
    // In a memory tile odd channels have the descriptors of the upper half.
    let isUpper = tile.kind == .memory && !place.channel.isMultiple(of: 2)
    let half = tile.kind == .memory ? map.descriptorCount / 2 : map.descriptorCount
    let first = taken[tile, default: [:]][isUpper, default: 0]
    guard first + descriptors.count <= half else {
      throw NPUError(.operand, "more than \(half) descriptors", at: "\(tile)")
    }
    taken[tile, default: [:]][isUpper] = first + descriptors.count
    let base = first + (isUpper ? half : 0)
    var commands: [ConfigurationCommand] = []
    for (index, descriptor) in descriptors.enumerated() {
      var ring = descriptor
      ring.next = base + (index + 1) % descriptors.count
      commands.append(
        .block(
          address: tile.address(map.descriptor(base + index)),
          words: try ring.words(in: tile.kind)
        )
      )
    }
    let queue = tile.address(map.queue(place.direction, place.channel))
    return commands + [.write(address: queue, value: try QueuedTask(base).word())]
  }

  private func freeDescriptors() -> [Tile: [Int]] {
    var free: [Tile: [Int]] = [:]
    for tile in Set(design.transfers.map(\.place.tile)) {
      let count = RegisterMap.of(tile.kind).descriptorCount
      let half = tile.kind == .memory ? count / 2 : count
      let used = taken[tile, default: [:]]
      free[tile] =
        Array(used[false, default: 0]..<half) + (half + used[true, default: 0]..<max(half, count))
    }
    return free
  }

  /// The descriptor of one copy of a buffer, without what follows it.
  private func descriptor(
    _ transfer: DesignTransfer,
    _ buffer: DesignBuffer,
    _ copy: Int
  ) -> BufferDescriptor {
    let isFilling = transfer.direction == .intoMemory
    let (empty, full) = placement.locks[buffer] ?? (0, 0)
    return BufferDescriptor(
      base: placement.addresses[buffer]?[copy] ?? 0,
      length: buffer.words,
      dimensions: transfer.dimensions,
      acquire: LockUse(isFilling ? empty : full, -1),
      release: LockUse(isFilling ? full : empty, 1)
    )
  }

  /// Two descriptors instead of one where half of a copy makes a mark: each releases one lock.
  private func split(
    _ descriptor: BufferDescriptor,
    _ transfer: DesignTransfer
  ) throws(NPUError) -> [BufferDescriptor] {
    guard let mark = transfer.mark else { return [descriptor] }
    guard descriptor.dimensions.isEmpty, descriptor.length > 1,
      mark.area.tile == transfer.place.tile
    else {
      throw NPUError(
        .operand,
        "\(transfer.place) cannot make marks half way",
        at: "\(mark.area.tile)"
      )
    }
    var (first, second) = (descriptor, descriptor)
    first.length = descriptor.length / 2
    first.release = placement.markLocks[mark.area].map { LockUse($0, 1) }
    second.base += first.length
    second.length -= first.length
    second.acquire = nil
    return [first, second]
  }

  /// Checks that a walk stays in its buffer, and visits no word twice.
  private func checkRange(
    of descriptor: BufferDescriptor,
    _ buffer: DesignBuffer,
    _ transfer: DesignTransfer
  ) throws(NPUError) {
    try descriptor.checkCounts()
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
  var place: ChannelPlace {
    ChannelPlace(tile: buffers.first?.tile ?? Tile(0, 0), direction: direction, channel: channel)
  }
}
