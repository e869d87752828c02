// An array that runs the bytes that a driver would send: a configuration, and control code for each call.
//
// Time goes on in quanta of some cycles: in each, a channel moves as many words at most, and a core issues as many
// bundles. So cycles are an estimate, and what is computed is exact. Streams hold few words, so that a design that
// needs more stands still here as on silicon; then it is said who waits for what.

/// Memory of the machine that control code refers to by the number of an argument.
package struct HostBuffer: Sendable {
  /// Words of 32 bits.
  package var words: [UInt32]

  package init(_ words: [UInt32]) { self.words = words }
  package init(count: Int) { words = Array(repeating: 0xA5A5_A5A5, count: count) }
}

/// What a call took.
package struct CallReport: Sendable {
  /// An estimate.
  package var cycles: Int
  /// Words that channels have put into streams.
  package var wordsMoved: Int
}

/// A simulated array of four columns.
package final class SimulatedArray {
  private var tiles: [Tile: SimulatedTile] = [:]
  /// All tiles, in one order.
  private let places: [Tile]
  private var circuits: [ChannelPlace: Circuit] = [:]
  /// Words on their way to a channel.
  private var streams: [ChannelPlace: [UInt32]] = [:]
  private var tokens: [ChannelPlace: Int] = [:]
  private var lostTokens: [ChannelPlace] = []
  private var buffers: [HostBuffer] = []
  private var cycles = 0
  private var wordsMoved = 0

  private static let quantum = 64
  /// The most words between two channels.
  private static let streamDepth = 64
  /// Where the first argument is for the array, and how far it is to the next.
  private static let bufferBase = 0x10_0000_0000
  private static let bufferStride = 0x1_0000_0000

  /// - Parameter pattern: What is in all memories before somebody writes there.
  package init(pattern: UInt8 = 0xA5) {
    places = (0..<Tile.columns).flatMap { column in (0..<Tile.rows).map { Tile(column, $0) } }
    for tile in places { tiles[tile] = SimulatedTile(tile, pattern: pattern) }
  }

  // MARK: Configuration

  /// Configures the array.
  ///
  /// - Parameter image: The words of a PDI.
  /// - Throws: `NPUError` for bytes that are no image, registers that there are not, or programs that are none.
  package func configure(_ image: [UInt32]) throws(NPUError) {
    for command in try DeviceImage.commands(in: image) {
      switch command {
      case .write(let address, let value): try write(address, value)
      case .maskedWrite(let address, let mask, let value): try write(address, value, mask: mask)
      case .block(let address, let words): try write(address, words)
      case .poll: throw NPUError(.bytes, "a configuration that polls")
      }
    }
    try findCircuits()
    for tile in places where tiles[tile]?.isEnabled == true {
      guard let state = tiles[tile] else { continue }
      // What is behind the program is no bundle.
      let end = state.program.lastIndex { $0 != 0 } ?? 0
      let count = (end / Bundle.byteCount + 1) * Bundle.byteCount
      let program = try CoreProgram(bytes: Array(state.program[..<count]))
      state.core = try SimulatedCore(program, memory: state.memory)
      // The core has the memory from here on.
      state.memory = []
    }
  }

  private func write(
    _ address: UInt32,
    _ value: UInt32,
    mask: UInt32 = .max
  ) throws(NPUError) {
    guard let (tile, offset) = Tile.at(address) else {
      throw NPUError(.operand, "no tile has address \(address.hexadecimal)")
    }
    try tiles[tile]?.write(offset, value, mask: mask)
  }

  private func write(_ address: UInt32, _ words: [UInt32]) throws(NPUError) {
    for (index, word) in words.enumerated() { try write(address + 4 * UInt32(index), word) }
  }

  private func findCircuits() throws(NPUError) {
    circuits = [:]
    for tile in places {
      guard let state = tiles[tile] else { continue }
      for channel in 0..<state.map.channelCount {
        let place = ChannelPlace(tile: tile, direction: .outOfMemory, channel: channel)
        circuits[place] = try Circuit(from: place, in: tiles)
      }
    }
  }

  // MARK: Calls

  /// Runs control code to its end.
  ///
  /// - Parameters:
  ///   - code: The words of a TXN.
  ///   - arguments: The memory that it refers to; what the array writes is there afterwards.
  /// - Returns: What it took.
  /// - Throws: `NPUError` for code that is none, for what a real array would not survive, and if all stands still.
  @discardableResult
  package func call(
    _ code: [UInt32],
    _ arguments: inout [HostBuffer]
  ) throws(NPUError) -> CallReport {
    buffers = arguments
    defer { arguments = buffers }
    (cycles, wordsMoved) = (0, 0)
    for operation in try ControlCode.operations(in: code) {
      switch operation {
      case .write(let address, let value): try write(address, value)
      case .maskedWrite(let address, let mask, let value): try write(address, value, mask: mask)
      case .block(let address, let words): try write(address, words)
      case .patch(let address, let argument, let offset): try patch(address, argument, offset)
      case .wait(let direction, let column, let row, let channel, let columns, let rows):
        for column in column..<column + columns {
          for row in row..<row + rows {
            try wait(
              ChannelPlace(tile: Tile(column, row), direction: direction, channel: channel)
            )
          }
        }
      }
    }
    return CallReport(cycles: cycles, wordsMoved: wordsMoved)
  }

  private func patch(
    _ address: UInt32,
    _ argument: Int,
    _ offset: UInt32
  ) throws(NPUError) {
    guard buffers.indices.contains(argument) else {
      throw NPUError(.operand, "argument \(argument), of which there are \(buffers.count)")
    }
    guard let (tile, place) = Tile.at(address), tile.kind == .shim, let state = tiles[tile],
      place >= state.map.descriptors, (place - state.map.descriptors) % 0x20 == 4
    else { throw NPUError(.operand, "no address in a descriptor is at \(address.hexadecimal)") }
    let index = Int(place - state.map.descriptors) / 0x20
    guard index < state.map.descriptorCount else {
      throw NPUError(.operand, "descriptor \(index)", at: "\(tile)")
    }
    let words = state.descriptors[index]
    let base = Int(words[1]) | Int(words[2] & 0xFFFF) << 32
    let own = base + Self.bufferBase + argument * Self.bufferStride + Int(offset)
    try write(address, UInt32(truncatingIfNeeded: own))
    try write(address + 4, words[2] & ~0xFFFF | UInt32(own >> 32))
  }

  private func wait(_ place: ChannelPlace) throws(NPUError) {
    while tokens[place, default: 0] == 0 {
      guard try advance() else { throw standstill(waitingFor: place) }
    }
    tokens[place, default: 0] -= 1
  }

  /// Lets a quantum pass, and returns whether anything happened.
  private func advance() throws(NPUError) -> Bool {
    var isMoving = false
    for tile in places {
      guard let count = tiles[tile]?.map.channelCount else { continue }
      for channel in 0..<count {
        if try send(ChannelPlace(tile: tile, direction: .outOfMemory, channel: channel)) {
          isMoving = true
        }
        if try receive(ChannelPlace(tile: tile, direction: .intoMemory, channel: channel)) {
          isMoving = true
        }
      }
      if try runCore(tile) { isMoving = true }
    }
    cycles += Self.quantum
    return isMoving
  }

  // MARK: Channels

  /// Moves words from a memory into a stream.
  private func send(_ place: ChannelPlace) throws(NPUError) -> Bool {
    guard let state = tiles[place.tile], state.outOfMemory[place.channel].isBusy else {
      return false
    }
    guard let circuit = circuits[place], !circuit.sinks.isEmpty else {
      throw NPUError(.operand, "\(place) leads nowhere")
    }
    var (budget, isMoving) = (Self.quantum, false)
    while budget > 0 {
      guard try prepare(state, place, &isMoving) else { break }
      guard var running = state.outOfMemory[place.channel].running, var walk = running.walk else {
        break
      }
      let room = circuit.sinks.map { Self.streamDepth - (streams[$0]?.count ?? 0) }.min() ?? 0
      let count = min(budget, room, walk.left)
      if count == 0, walk.left > 0 { break }
      var words: [UInt32] = []
      for _ in 0..<count {
        words.append(try read(state, walk.word))
        walk.advance()
      }
      for sink in circuit.sinks { streams[sink, default: []] += words }
      budget -= count
      wordsMoved += count
      if count > 0 { isMoving = true }
      running.walk = walk
      state.outOfMemory[place.channel].running = running
      if walk.left == 0 { try finish(state, place) }
    }
    return isMoving
  }

  /// Moves words from a stream into a memory.
  private func receive(_ place: ChannelPlace) throws(NPUError) -> Bool {
    guard let state = tiles[place.tile], state.intoMemory[place.channel].isBusy else {
      return false
    }
    var (budget, isMoving) = (Self.quantum, false)
    while budget > 0 {
      guard try prepare(state, place, &isMoving) else { break }
      guard var running = state.intoMemory[place.channel].running, var walk = running.walk else {
        break
      }
      var words = streams[place] ?? []
      let count = min(budget, words.count, walk.left)
      if count == 0, walk.left > 0 { break }
      for word in words.prefix(count) {
        try write(state, walk.word, word)
        walk.advance()
      }
      words.removeFirst(count)
      streams[place] = words
      budget -= count
      if count > 0 { isMoving = true }
      running.walk = walk
      state.intoMemory[place.channel].running = running
      if walk.left == 0 { try finish(state, place) }
    }
    return isMoving
  }

  /// Sees to it that a transfer is under way; false if there is none, or if it has to wait for a lock.
  private func prepare(
    _ state: SimulatedTile,
    _ place: ChannelPlace,
    _ isMoving: inout Bool
  ) throws(NPUError) -> Bool {
    var channel = state.channels(place.direction)[place.channel]
    defer { state.set(channel, place) }
    if channel.running == nil {
      guard !channel.queue.isEmpty else { return false }
      let task = channel.queue.removeFirst()
      channel.running = SimulatedChannel.Running(
        task: task,
        repeatsLeft: task.repeats,
        descriptor: task.descriptor
      )
      isMoving = true
    }
    guard var running = channel.running, running.walk == nil else { return true }
    guard state.descriptors.indices.contains(running.descriptor) else {
      throw NPUError(.operand, "descriptor \(running.descriptor)", at: "\(place)")
    }
    let value: BufferDescriptor
    do throws(NPUError) {
      value = try BufferDescriptor(
        words: state.descriptors[running.descriptor],
        in: state.tile.kind
      )
    } catch {
      throw NPUError(
        error.code,
        "descriptor \(running.descriptor): \(error.message)",
        at: "\(place)"
      )
    }
    if let use = value.acquire, !state.acquire(use.lock, use.value) { return false }
    let iteration = value.iteration.map { $0.current * $0.step } ?? 0
    let base = state.tile.kind == .shim ? value.base / 4 : value.base
    running.value = value
    running.walk = Walk(value, from: base + iteration)
    channel.running = running
    isMoving = true
    return true
  }

  /// Ends a transfer, and goes on to the next of its task.
  private func finish(
    _ state: SimulatedTile,
    _ place: ChannelPlace
  ) throws(NPUError) {
    var channel = state.channels(place.direction)[place.channel]
    guard var running = channel.running, let value = running.value else { return }
    if let use = value.release { try state.release(use.lock, use.value) }
    if var iteration = value.iteration {
      iteration.current = (iteration.current + 1) % iteration.count
      var next = value
      next.iteration = iteration
      state.descriptors[running.descriptor] = try next.words(in: state.tile.kind)
    }
    (running.walk, running.value) = (nil, nil)
    if let next = value.next {
      running.descriptor = next
      channel.running = running
    } else if running.repeatsLeft > 1 {
      running.repeatsLeft -= 1
      running.descriptor = running.task.descriptor
      channel.running = running
    } else {
      channel.running = nil
      if running.task.issuesToken {
        if state.hasTokenRoute(place.direction, place.channel) {
          tokens[place, default: 0] += 1
        } else {
          lostTokens.append(place)
        }
      }
    }
    state.set(channel, place)
  }

  // MARK: Memory

  /// Where a word of the machine's memory is, by its address in words.
  private func host(
    _ word: Int,
    _ state: SimulatedTile
  ) throws(NPUError) -> (buffer: Int, word: Int) {
    let bytes = word * 4 - Self.bufferBase
    let (buffer, offset) = (bytes / Self.bufferStride, bytes % Self.bufferStride)
    guard bytes >= 0, buffers.indices.contains(buffer), offset / 4 < buffers[buffer].words.count
    else {
      throw NPUError(
        .operand,
        "an access to the machine's memory outside of the arguments",
        at: "\(state.tile)"
      )
    }
    return (buffer, offset / 4)
  }

  private func read(_ state: SimulatedTile, _ word: Int) throws(NPUError) -> UInt32 {
    if state.tile.kind == .shim {
      let place = try host(word, state)
      return buffers[place.buffer].words[place.word]
    }
    return try state.word(word)
  }

  private func write(
    _ state: SimulatedTile,
    _ word: Int,
    _ value: UInt32
  ) throws(NPUError) {
    if state.tile.kind == .shim {
      let place = try host(word, state)
      buffers[place.buffer].words[place.word] = value
    } else {
      try state.setWord(word, value)
    }
  }

  // MARK: Cores

  private func runCore(_ tile: Tile) throws(NPUError) -> Bool {
    guard let state = tiles[tile], var core = state.core, core.status != .done else { return false }
    // Else each step would copy the memory.
    state.core = nil
    defer { state.core = core }
    var locks = TileLocks(state)
    let before = core.cycle
    for _ in 0..<Self.quantum {
      do throws(NPUError) {
        try core.step(&locks)
      } catch {
        throw NPUError(error.code, error.message, at: "\(tile), \(error.place)")
      }
      if core.status != .running { break }
    }
    if let fault = locks.fault { throw fault }
    return core.cycle > before
  }

  // MARK: Standstill

  private func standstill(waitingFor place: ChannelPlace) -> NPUError {
    var reasons: [String] = []
    for tile in places {
      guard let state = tiles[tile] else { continue }
      for direction in Direction.allCases {
        for (index, channel) in state.channels(direction).enumerated() where channel.isBusy {
          let own = ChannelPlace(tile: tile, direction: direction, channel: index)
          reasons.append("\(own) waits for \(reason(channel, own, state))")
        }
      }
      if case .waiting(let lock)? = state.core?.status {
        reasons.append(
          "the core of \(tile) waits for its lock \(lock) at bundle \(state.core?.pc ?? 0)"
        )
      }
    }
    for lost in Set(lostTokens) { reasons.append("a token of \(lost) had no route") }
    let all = reasons.isEmpty ? "nothing is under way" : reasons.joined(separator: "; ")
    return NPUError(.bundle, "all stands still, and no token of \(place) comes: \(all)")
  }

  private func reason(
    _ channel: SimulatedChannel,
    _ place: ChannelPlace,
    _ state: SimulatedTile
  ) -> String {
    guard let running = channel.running else { return "nothing" }
    if running.walk != nil {
      return place.direction == .intoMemory ? "words" : "room in its stream"
    }
    let descriptor = try? BufferDescriptor(
      words: state.descriptors[running.descriptor],
      in: state.tile.kind
    )
    return "lock \(descriptor?.acquire?.lock ?? 0) for descriptor \(running.descriptor)"
  }
}

extension SimulatedChannel {
  fileprivate var isBusy: Bool { running != nil || !queue.isEmpty }
}

extension SimulatedTile {
  fileprivate func set(_ channel: SimulatedChannel, _ place: ChannelPlace) {
    if place.direction == .intoMemory {
      intoMemory[place.channel] = channel
    } else {
      outOfMemory[place.channel] = channel
    }
  }
}

/// The locks of a core's own tile, as the core numbers them.
private struct TileLocks: CoreSurroundings {
  let tile: SimulatedTile
  private(set) var fault: NPUError?

  init(_ tile: SimulatedTile) { self.tile = tile }

  private static let own = 48

  private mutating func place(_ lock: Int) -> Int? {
    guard lock >= Self.own, lock < Self.own + tile.map.lockCount else {
      fault = NPUError(
        .operand,
        "lock \(lock) of another tile, which is not simulated",
        at: "\(tile.tile)"
      )
      return nil
    }
    return lock - Self.own
  }

  mutating func acquire(_ lock: Int, _ value: Int) -> Bool {
    place(lock).map { tile.acquire($0, value) } ?? false
  }

  mutating func release(_ lock: Int, _ value: Int) {
    guard let place = place(lock) else { return }
    do throws(NPUError) { try tile.release(place, value) } catch { fault = error }
  }
}
