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
  package var cycles = 0
  /// Words that channels have put into streams.
  package var wordsMoved = 0
  /// Words that shims have moved from and to the machine's memory.
  package var wordsRead = 0
  package var wordsWritten = 0
  /// Of all cores that have a program.
  package var activity = CoreActivity()
}

/// What is estimated beside the array itself.
package struct SimulatedTiming: Sendable {
  /// Cycles that the controller takes for an operation of control code, and for one that begins a task.
  package var operationCycles = 112
  package var taskCycles = 2_800
  /// Bytes a cycle from the machine's memory, and as many to it.
  package var memoryBytes: Double

  /// Published measurements: 26 to 28 GB/s each way, and the controller's cycles.
  ///
  /// - Parameter clock: Of the array, in Hz.
  package init(clock: Double = 1.6e9) {
    precondition(clock >= 1e6, "a clock of \(clock) Hz")
    memoryBytes = 26e9 / clock
  }
}

/// A simulated array of four columns.
package final class SimulatedArray {
  private let tiles: [SimulatedTile]
  private let channels: [SimulatedChannel]
  private let shims: [SimulatedChannel]
  private var cores: [(tile: SimulatedTile, core: SimulatedCore)] = []
  private var lostTokens: [ChannelPlace] = []
  private var buffers: [HostBuffer] = []
  private var report = CallReport()
  /// Cycles that control code has taken and that the array has not yet.
  private var debt = 0
  private let timing: SimulatedTiming

  private static let quantum = 64
  /// The most words between two channels.
  private static let streamDepth = 64
  /// So many quanta cores may compute while no word moves: thousands of times what any step takes.
  private static let mostQuiet = 50_000
  /// Where the first argument is for the array, and how far it is to the next.
  private static let bufferBase = 0x10_0000_0000
  private static let bufferStride = 0x1_0000_0000

  /// - Parameters:
  ///   - pattern: What is in all memories before somebody writes there.
  ///   - timing: What is estimated beside the array.
  package init(pattern: UInt8 = 0xA5, timing: SimulatedTiming = SimulatedTiming()) {
    self.timing = timing
    let places = (0..<Tile.columns).flatMap { column in (0..<Tile.rows).map { Tile(column, $0) } }
    tiles = places.map { SimulatedTile($0, pattern: pattern) }
    channels = tiles.flatMap { tile in
      zip(tile.outOfMemory, tile.intoMemory).flatMap { [$0, $1] }
    }
    shims = channels.filter { $0.place.tile.kind == .shim }
  }

  private func tile(_ tile: Tile) -> SimulatedTile { tiles[tile.column * Tile.rows + tile.row] }

  // MARK: Configuration

  /// Configures the array.
  ///
  /// - Parameter image: The words of a PDI.
  /// - Throws: `NPUError` for bytes that are no image, registers that there are not, or programs that are none.
  package func configure(_ image: [UInt32]) throws(NPUError) {
    guard tiles.allSatisfy({ !$0.isConfigured }) else {
      throw NPUError(.operand, "the array is configured already: take a new one")
    }
    for command in try DeviceImage.commands(in: image) {
      switch command {
      case .write(let address, let value): try write(address, value)
      case .maskedWrite(let address, let mask, let value): try write(address, value, mask: mask)
      case .block(let address, let words): try write(address, words)
      case .poll: throw NPUError(.bytes, "a configuration that polls")
      }
    }
    for tile in tiles { tile.isConfigured = true }
    try findCircuits()
    cores = []
    for state in tiles where state.isEnabled {
      let core: SimulatedCore
      do throws(NPUError) {
        core = try SimulatedCore(CoreProgram(bytes: state.program), memory: state.memory)
      } catch {
        throw NPUError(error.code, error.message, at: "\(state.tile), \(error.place)")
      }
      state.core = core
      cores.append((state, core))
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
    try self.tile(tile).write(offset, value, mask: mask)
  }

  private func write(_ address: UInt32, _ words: [UInt32]) throws(NPUError) {
    for (index, word) in words.enumerated() { try write(address + 4 * UInt32(index), word) }
  }

  private func findCircuits() throws(NPUError) {
    let places = Dictionary(uniqueKeysWithValues: tiles.map { ($0.tile, $0) })
    for channel in channels where channel.place.direction == .outOfMemory {
      let circuit = try Circuit(from: channel.place, in: places)
      channel.sinks =
        circuit.sinks.isEmpty
        ? nil
        : circuit.sinks.map { sink in
          tile(sink.tile).intoMemory[sink.channel]
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
    defer {
      arguments = buffers
      buffers = []
    }
    (report, debt) = (CallReport(), 0)
    let before = cores.reduce(CoreActivity()) { $0 + $1.core.activity }
    for operation in try ControlCode.operations(in: code) {
      try pass(for: operation)
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
    try checkRest()
    report.activity = cores.reduce(CoreActivity()) { $0 + $1.core.activity } - before
    return report
  }

  /// Checks that a call has left nothing behind that the next one would get.
  private func checkRest() throws(NPUError) {
    for channel in channels {
      let begun = channel.walk.map { $0.left < (channel.running?.value?.length ?? 0) } ?? false
      guard channel.stream.isEmpty, !begun,
        channel.place.tile.kind != .shim || !channel.isBusy
      else {
        throw NPUError(
          .operand,
          "the call ends while words are on their way: does it move multiples of what buffers hold?",
          at: "\(channel.place)"
        )
      }
    }
  }

  /// Lets the time pass that the controller takes for an operation.
  private func pass(for operation: ControlOperation) throws(NPUError) {
    debt += timing.operationCycles
    if case .write(let address, _) = operation, let (place, offset) = Tile.at(address),
      tile(place).isQueue(offset)
    {
      debt += timing.taskCycles
    }
    while debt >= Self.quantum {
      debt -= Self.quantum
      _ = try advance()
    }
  }

  private func patch(
    _ address: UInt32,
    _ argument: Int,
    _ offset: UInt32
  ) throws(NPUError) {
    guard buffers.indices.contains(argument) else {
      throw NPUError(.operand, "argument \(argument), of which there are \(buffers.count)")
    }
    guard offset.isMultiple(of: 4) else {
      throw NPUError(.operand, "a patch by \(offset) bytes, which is no multiple of 4")
    }
    guard let (tile, place) = Tile.at(address), tile.kind == .shim,
      place >= self.tile(tile).map.descriptors,
      (place - self.tile(tile).map.descriptors) % 0x20 == 4
    else { throw NPUError(.operand, "no address in a descriptor is at \(address.hexadecimal)") }
    let state = self.tile(tile)
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
    guard place.tile.column < Tile.columns, place.tile.row < Tile.rows,
      place.channel < tile(place.tile).map.channelCount
    else { throw NPUError(.operand, "a wait for \(place), which there is not") }
    let channel = tile(place.tile).channels(place.direction)[place.channel]
    var quiet = 0
    while channel.tokens == 0 {
      let before = report.wordsMoved
      guard try advance(), quiet < Self.mostQuiet else { throw standstill(waitingFor: place) }
      quiet = report.wordsMoved == before ? quiet + 1 : 0
    }
    channel.tokens -= 1
  }

  /// Lets a quantum pass, and returns whether anything happened.
  private func advance() throws(NPUError) -> Bool {
    var isMoving = false
    let shares = Direction.allCases.map { share(of: $0) }
    for channel in channels where channel.isBusy {
      let isOut = channel.place.direction == .outOfMemory
      var budget = Self.quantum
      if channel.place.tile.kind == .shim { budget = min(budget, shares[isOut ? 1 : 0]) }
      let state = tile(channel.place.tile)
      if isOut ? try send(state, channel, budget) : try receive(state, channel, budget) {
        isMoving = true
      }
    }
    for (state, core) in cores where core.status != .done {
      if try run(core, state) { isMoving = true }
    }
    report.cycles += Self.quantum
    return isMoving
  }

  /// Words that one channel of a shim may move in a quantum: all share what the machine's memory gives.
  private func share(of direction: Direction) -> Int {
    let busy = shims.count { $0.place.direction == direction && $0.isBusy }
    return max(1, Int(Double(Self.quantum) * timing.memoryBytes / 4) / max(1, busy))
  }

  // MARK: Channels

  /// Moves words from a memory into a stream.
  private func send(
    _ state: SimulatedTile,
    _ channel: SimulatedChannel,
    _ budget: Int
  ) throws(NPUError) -> Bool {
    guard let sinks = channel.sinks else {
      throw NPUError(.operand, "\(channel.place) leads nowhere")
    }
    var (budget, isMoving) = (budget, false)
    while budget > 0 {
      guard try prepare(state, channel, &isMoving), var walk = channel.walk else { break }
      var count = min(budget, walk.left)
      for sink in sinks { count = min(count, Self.streamDepth - sink.stream.count) }
      if count == 0, walk.left > 0 { break }
      for _ in 0..<count {
        let word = try read(state, walk.word)
        for sink in sinks { sink.stream.append(word) }
        walk.advance()
      }
      budget -= count
      report.wordsMoved += count
      if state.tile.kind == .shim { report.wordsRead += count }
      if count > 0 { isMoving = true }
      channel.walk = walk
      if walk.left == 0 { try finish(state, channel) }
    }
    return isMoving
  }

  /// Moves words from a stream into a memory.
  private func receive(
    _ state: SimulatedTile,
    _ channel: SimulatedChannel,
    _ budget: Int
  ) throws(NPUError) -> Bool {
    var (budget, isMoving) = (budget, false)
    while budget > 0 {
      guard try prepare(state, channel, &isMoving), var walk = channel.walk else { break }
      let count = min(budget, channel.stream.count, walk.left)
      if count == 0, walk.left > 0 { break }
      for word in channel.stream.prefix(count) {
        try write(state, walk.word, word)
        walk.advance()
      }
      channel.stream.removeFirst(count)
      budget -= count
      if state.tile.kind == .shim { report.wordsWritten += count }
      if count > 0 { isMoving = true }
      channel.walk = walk
      if walk.left == 0 { try finish(state, channel) }
    }
    return isMoving
  }

  /// Sees to it that a transfer is under way; false if there is none, or if it has to wait for a lock.
  private func prepare(
    _ state: SimulatedTile,
    _ channel: SimulatedChannel,
    _ isMoving: inout Bool
  ) throws(NPUError) -> Bool {
    if channel.walk != nil { return true }
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
    guard let running = channel.running else { return false }
    guard state.map.mayUse(running.descriptor, channel: channel.place.channel) else {
      throw NPUError(
        .operand,
        "descriptor \(running.descriptor) is none of this channel's",
        at: "\(channel.place)"
      )
    }
    let value: BufferDescriptor
    do throws(NPUError) {
      value = try state.descriptor(running.descriptor)
    } catch {
      throw NPUError(
        error.code,
        "descriptor \(running.descriptor): \(error.message)",
        at: "\(channel.place)"
      )
    }
    if let use = value.acquire, !state.acquire(use.lock, use.value) { return false }
    let iteration = value.iteration.map { $0.current * $0.step } ?? 0
    let base = state.tile.kind == .shim ? value.base / 4 : value.base
    channel.running?.value = value
    channel.walk = Walk(value, from: base + iteration)
    isMoving = true
    return true
  }

  /// Ends a transfer, and goes on to the next of its task.
  private func finish(
    _ state: SimulatedTile,
    _ channel: SimulatedChannel
  ) throws(NPUError) {
    guard let running = channel.running, let value = running.value else { return }
    if let use = value.release { try state.release(use.lock, use.value) }
    if var iteration = value.iteration {
      iteration.current = (iteration.current + 1) % iteration.count
      var next = value
      next.iteration = iteration
      try state.set(running.descriptor, next)
    }
    channel.walk = nil
    channel.running?.value = nil
    if let next = value.next {
      channel.running?.descriptor = next
    } else if running.repeatsLeft > 1 {
      channel.running?.repeatsLeft -= 1
      channel.running?.descriptor = running.task.descriptor
    } else {
      channel.running = nil
      guard running.task.issuesToken else { return }
      if state.hasTokenRoute(channel.place.direction, channel.place.channel) {
        channel.tokens += 1
      } else {
        lostTokens.append(channel.place)
      }
    }
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
        buffers.indices.contains(buffer)
          ? "word \(offset / 4) of argument \(buffer), which has \(buffers[buffer].words.count)"
          : "an access to the machine's memory outside of the arguments",
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

  private func run(_ core: SimulatedCore, _ state: SimulatedTile) throws(NPUError) -> Bool {
    var locks = TileLocks(state)
    let isMoving: Bool
    do throws(NPUError) {
      isMoving = try core.run(cycles: Self.quantum, &locks)
    } catch {
      throw NPUError(error.code, error.message, at: "\(state.tile), \(error.place)")
    }
    if let fault = locks.fault { throw fault }
    return isMoving
  }

  // MARK: Standstill

  private func standstill(waitingFor place: ChannelPlace) -> NPUError {
    var reasons: [String] = []
    for channel in channels where channel.isBusy {
      reasons.append("\(channel.place) waits for \(reason(channel))")
    }
    for state in tiles {
      if case .running? = state.core?.status {
        reasons.append("the core of \(state.tile) runs, at bundle \(state.core?.pc ?? 0)")
      }
      if case .waiting(let lock)? = state.core?.status {
        reasons.append(
          "the core of \(state.tile) waits for its lock \(lock) at bundle \(state.core?.pc ?? 0)"
        )
      }
    }
    for lost in Set(lostTokens) { reasons.append("a token of \(lost) had no route") }
    let all = reasons.isEmpty ? "nothing is under way" : reasons.joined(separator: "; ")
    return NPUError(.standstill, "all stands still, and no token of \(place) comes: \(all)")
  }

  private func reason(_ channel: SimulatedChannel) -> String {
    guard let running = channel.running else { return "nothing" }
    if channel.walk != nil {
      return channel.place.direction == .intoMemory ? "words" : "room in its stream"
    }
    let descriptor = try? tile(channel.place.tile).descriptor(running.descriptor)
    return "lock \(descriptor?.acquire?.lock ?? 0) for descriptor \(running.descriptor)"
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
