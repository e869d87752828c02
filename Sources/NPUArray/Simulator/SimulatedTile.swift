// The state of one tile: its registers, memory and locks, and what its channels are at.

/// A channel between a tile's memory and a stream.
final class SimulatedChannel {
  /// A task that is under way.
  struct Running {
    var task: QueuedTask
    /// How often it is still to be done, this time included.
    var repeatsLeft: Int
    var descriptor: Int
    var value: BufferDescriptor?
  }

  let place: ChannelPlace
  var queue: [QueuedTask] = []
  var running: Running?
  /// The transfer that has its lock.
  var walk: Walk?
  /// The control register.
  var control: UInt32 = 0
  /// Of a channel out of memory: where its words go; nil where nothing joins it.
  var sinks: [SimulatedChannel]?
  /// Of a channel into memory: words on their way to it.
  var stream: [UInt32] = []
  /// Finished tasks that were told of.
  var tokens = 0

  static let queueDepth = 4

  init(_ place: ChannelPlace) { self.place = place }

  var isBusy: Bool { running != nil || !queue.isEmpty }

  func reset() { (queue, running, walk) = ([], nil, nil) }

  /// The descriptors that are in use or will be, as far as the queue says.
  func uses(_ descriptor: Int) -> Bool {
    running?.descriptor == descriptor || queue.contains { $0.descriptor == descriptor }
  }
}

/// A tile of the simulated array.
///
/// A reference: it is large, and each of its channels is looked at all the time.
final class SimulatedTile {
  let tile: Tile
  let map: RegisterMap
  let memory: TileMemory
  var locks: [Int]
  private(set) var descriptors: [[UInt32]]
  /// Those that have been read since they were written.
  private var decoded: [BufferDescriptor?]
  let intoMemory: [SimulatedChannel]
  let outOfMemory: [SimulatedChannel]
  /// The slave port that feeds each master port that is on.
  var masters: [Int: Int] = [:]
  var slaves: Set<Int> = []
  /// Of shims: what joins channels and switch, and the words of the route of tokens.
  var mux: UInt32 = 0
  var demux: UInt32 = 0
  var tokenRoute: [UInt32: UInt32] = [:]
  /// Of cores.
  var program: [UInt8] = []
  var isEnabled = false
  var core: SimulatedCore?

  init(_ tile: Tile, pattern: UInt8) {
    self.tile = tile
    map = RegisterMap.of(tile.kind)
    memory = TileMemory(count: Int(map.memoryBytes), pattern: pattern)
    locks = Array(repeating: 0, count: map.lockCount)
    descriptors = Array(
      repeating: Array(repeating: 0, count: map.descriptorWords),
      count: map.descriptorCount
    )
    decoded = Array(repeating: nil, count: map.descriptorCount)
    func channels(_ direction: Direction) -> [SimulatedChannel] {
      (0..<RegisterMap.of(tile.kind).channelCount).map {
        SimulatedChannel(ChannelPlace(tile: tile, direction: direction, channel: $0))
      }
    }
    intoMemory = channels(.intoMemory)
    outOfMemory = channels(.outOfMemory)
    if tile.kind == .core { program = Array(repeating: 0, count: RegisterMap.programBytes) }
  }

  func channels(_ direction: Direction) -> [SimulatedChannel] {
    direction == .intoMemory ? intoMemory : outOfMemory
  }

  // MARK: Registers

  /// Whether a call writes, and no configuration: what was read for good then cannot change.
  var isConfigured = false

  private func error(_ what: String) -> NPUError { NPUError(.operand, what, at: "\(tile)") }

  /// Writes a register or a word of memory.
  ///
  /// - Throws: `NPUError.operand` for what no such tile has, or what would wedge a real one.
  func write(_ offset: UInt32, _ value: UInt32, mask: UInt32 = .max) throws(NPUError) {
    guard offset.isMultiple(of: 4) else { throw error("a write at \(offset.hexadecimal)") }
    if offset < map.memoryBytes {
      let place = Int(offset) / 4
      return try setWord(place, try word(place) & ~mask | value & mask)
    }
    if let index = index(offset, map.descriptors, 0x20, map.descriptorCount) {
      try checkWhole(offset, mask)
      return try writeDescriptor(index, Int(offset - map.descriptor(index)) / 4, value)
    }
    if let index = index(offset, map.locks, 0x10, map.lockCount) {
      try checkWhole(offset, mask)
      guard value <= LockUse.most else {
        throw error("lock \(index) is set to \(value), above \(LockUse.most)")
      }
      locks[index] = Int(value)
      return
    }
    for direction in Direction.allCases {
      let first = map.control(direction, 0)
      guard let index = index(offset, first, 8, map.channelCount) else { continue }
      return try writeChannel(direction, index, isQueue: offset & 4 != first & 4, value, mask)
    }
    if try writeSwitch(offset, value) { return }
    switch (tile.kind, offset) {
    case (.core, RegisterMap.program..<RegisterMap.program + UInt32(RegisterMap.programBytes)):
      try checkConfiguring(offset)
      for byte in 0..<4 {
        program[Int(offset - RegisterMap.program) + byte] =
          UInt8(truncatingIfNeeded: value >> UInt32(byte * 8))
      }
    case (.core, RegisterMap.coreControl):
      try checkConfiguring(offset)
      if mask & 1 == 1 { isEnabled = value & 1 == 1 }
      if mask & 2 == 2, value & 2 == 2 { core = nil }
    case (.shim, RegisterMap.mux):
      try checkConfiguring(offset)
      mux = mux & ~mask | value & mask
    case (.shim, RegisterMap.demux):
      try checkConfiguring(offset)
      demux = demux & ~mask | value & mask
    default: throw error("no register that is known is at \(offset.hexadecimal)")
    }
  }

  private func checkConfiguring(_ offset: UInt32) throws(NPUError) {
    guard !isConfigured else {
      throw error("\(offset.hexadecimal) is written by a call; only a configuration may")
    }
  }

  /// Nobody has seen what a masked write does to registers that published designs write as a whole.
  private func checkWhole(_ offset: UInt32, _ mask: UInt32) throws(NPUError) {
    guard mask == .max else { throw error("a masked write at \(offset.hexadecimal)") }
  }

  /// The number of a register among others of one size.
  private func index(_ offset: UInt32, _ first: UInt32, _ size: UInt32, _ count: Int) -> Int? {
    guard offset >= first, offset < first + size * UInt32(count) else { return nil }
    return Int((offset - first) / size)
  }

  /// A descriptor as it is now.
  ///
  /// - Throws: `NPUError.bytes` for one that is not valid.
  func descriptor(_ index: Int) throws(NPUError) -> BufferDescriptor {
    if let value = decoded[index] { return value }
    let value = try BufferDescriptor(words: descriptors[index], in: tile.kind)
    decoded[index] = value
    return value
  }

  func set(_ index: Int, _ value: BufferDescriptor) throws(NPUError) {
    descriptors[index] = try value.words(in: tile.kind)
    decoded[index] = value
  }

  /// Whether a register is the queue of a channel.
  func isQueue(_ offset: UInt32) -> Bool {
    Direction.allCases.contains { direction in
      (0..<map.channelCount).contains { map.queue(direction, $0) == offset }
    }
  }

  private func writeDescriptor(
    _ index: Int,
    _ word: Int,
    _ value: UInt32
  ) throws(NPUError) {
    guard word < map.descriptorWords else { throw error("word \(word) of a descriptor") }
    // A real shim would go on with half of each.
    let isUsed = (intoMemory + outOfMemory).contains { $0.uses(index) }
    guard !isUsed || tile.kind != .shim else {
      throw error("descriptor \(index) is written while a channel has it")
    }
    descriptors[index][word] = value
    decoded[index] = nil
  }

  private func writeChannel(
    _ direction: Direction,
    _ index: Int,
    isQueue: Bool,
    _ value: UInt32,
    _ mask: UInt32
  ) throws(NPUError) {
    let channel = channels(direction)[index]
    if isQueue {
      guard channel.queue.count < SimulatedChannel.queueDepth else {
        throw error("the queue of \(direction) \(index) is full")
      }
      let task = QueuedTask(word: value)
      guard value & ~QueuedTask.fields == 0, map.mayUse(task.descriptor, channel: index) else {
        throw error("a task of \(value.hexadecimal) for \(direction) \(index)")
      }
      channel.queue.append(task)
    } else {
      channel.control = channel.control & ~mask | value & mask
      if value & mask & 2 == 2 { channel.reset() }
    }
  }

  private func writeSwitch(_ offset: UInt32, _ value: UInt32) throws(NPUError) -> Bool {
    let ports = SwitchPorts.of(tile.kind)
    if tile.kind == .shim, Connection.tokenRoute.contains(where: { $0.offset == offset }),
      value >> 30 != 2
    {
      tokenRoute[offset] = value
      return true
    }
    let isPort =
      index(offset, map.masters, 4, ports.masters.count) != nil
      || index(offset, map.slaves, 4, ports.slaves.count) != nil
    guard isPort else { return false }
    try checkConfiguring(offset)
    guard value >> 30 != 3 else {
      throw error("a port for packets at \(offset.hexadecimal), which are not simulated")
    }
    if let index = index(offset, map.masters, 4, ports.masters.count) {
      masters[index] = value >> 31 == 1 ? Int(value & 0x1F) : nil
      return true
    }
    if let index = index(offset, map.slaves, 4, ports.slaves.count) {
      if value >> 31 == 1 { slaves.insert(index) } else { slaves.remove(index) }
      return true
    }
    return false
  }

  /// Whether a finished task of a shim can tell so.
  func hasTokenRoute(_ direction: Direction, _ channel: Int) -> Bool {
    let controller = Connection.tokenController
    return Connection.tokenRoute.allSatisfy { tokenRoute[$0.offset] == $0.value }
      && channels(direction)[channel].control & controller.mask == controller.value
  }

  // MARK: Memory

  /// Returns a word of the own memory.
  ///
  /// - Throws: `NPUError.operand` outside of it.
  func word(_ index: Int) throws(NPUError) -> UInt32 {
    try check(index)
    return UInt32(littleEndian: memory.load(UInt32.self, at: index * 4))
  }

  func setWord(_ index: Int, _ value: UInt32) throws(NPUError) {
    try check(index)
    memory.store(value.littleEndian, at: index * 4)
  }

  private func check(_ word: Int) throws(NPUError) {
    guard word >= 0, word * 4 < Int(map.memoryBytes) else {
      throw error("word \(word) is outside of the memory")
    }
  }

  // MARK: Locks

  /// Takes from a lock as descriptors and cores do, or returns false.
  func acquire(_ lock: Int, _ value: Int) -> Bool {
    guard value < 0 else { return locks[lock] == value }
    guard locks[lock] >= -value else { return false }
    locks[lock] += value
    return true
  }

  /// - Throws: `NPUError.operand` if the lock runs over.
  func release(_ lock: Int, _ value: Int) throws(NPUError) {
    locks[lock] += value
    guard (-64...63).contains(locks[lock]) else {
      throw error("lock \(lock) has run over: \(locks[lock])")
    }
  }
}
