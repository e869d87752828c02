// Commands: packets read and queued, and waits for their ends.

internal import CAMDXDNA
internal import Glibc

/// A packet that has been submitted: a command, or a chain of them.
final class FakeJob {
  let sequence: UInt64
  /// The buffer with the packet, in whose pages the state is told.
  let packet: FakeBuffer
  let isChain: Bool
  let commands: [FakeCommand]
  /// Handles of the buffers that it may use.
  let named: Set<UInt32>
  /// How many of its commands have ended.
  var done = 0
  /// Whether the command under way has made a wait be for nothing.
  var isLate = false

  init(
    sequence: UInt64,
    packet: FakeBuffer,
    isChain: Bool,
    commands: [FakeCommand],
    named: Set<UInt32>
  ) {
    self.sequence = sequence
    self.packet = packet
    self.isChain = isChain
    self.commands = commands
    self.named = named
  }
}

/// A START_CU.
struct FakeCommand {
  /// From 1, over the life of the kernel.
  var number: Int
  var packet: FakeBuffer
  var unit: Int
  /// Behind the mask of units.
  var words: [UInt32]

  /// The most of `words`: what the firmware is handed.
  static let mostWords = 5 + 2 * AMDXDNA_MAX_ARGUMENTS
}

extension FakeDevice {
  private static let mostQueued = 4
  private static let mostNamed = 4095

  /// EXEC_CMD.
  ///
  /// The driver would have the fifth command wait for the first to end; here the first is done then.
  func submit(
    _ client: FakeClient,
    _ value: inout amdxdna_exec_cmd,
    _ memory: any CallerMemory
  ) throws(FakeErrno) {
    try requireZeros(value.ext, value.ext_flags)
    guard value.type == AMDXDNA_SUBMIT_EXEC_BUF, value.cmd_count == 1,
      value.arg_count <= Self.mostNamed
    else { throw FakeErrno(EINVAL) }
    try faults.count((.execInterrupted, EINTR), (.execAgain, EAGAIN))
    let named = try memory.words(value.args, Int(value.arg_count))
    let packet = try command(client, value.cmd_handles)
    for handle in named { _ = try client.buffer(handle) }
    let context = try client.context(value.hwctx)
    guard !context.units.isEmpty else { throw invalid("the context is not configured") }

    let words = pages.words(packet.offset, packet.size / 4)
    let isChain = Self.opcode(words[0]) == AMDXDNA_OPCODE_CHAIN
    var commands =
      isChain
      ? try chained(client, words, context)
      : [try start(packet, words, context)]
    if faults.isRemoved(command: statistics.commands + commands.count) {
      isRemoved = true
      throw FakeErrno(ENODEV)
    }
    if context.jobs.count == Self.mostQueued, !finishFirst(client, context) {
      throw FakeErrno(EAGAIN)
    }
    for index in commands.indices {
      statistics.commands += 1
      commands[index].number = statistics.commands
    }
    if isChain { statistics.chains += 1 }
    setState(of: packet, AMDXDNA_STATE_NEW)
    context.jobs.append(
      FakeJob(
        sequence: context.submitted,
        packet: packet,
        isChain: isChain,
        commands: commands,
        named: Set(named)
      )
    )
    value.seq = context.submitted
    context.submitted += 1
  }

  private func invalid(_ message: String) -> FakeErrno {
    statistics.note(message)
    return FakeErrno(EINVAL)
  }

  private static func opcode(_ header: UInt32) -> Int {
    Int(header >> UInt32(AMDXDNA_OPCODE_SHIFT)) & AMDXDNA_OPCODE_MASK
  }

  /// As the driver does, for a packet that there is not.
  private func command(_ client: FakeClient, _ handle: UInt64) throws(FakeErrno) -> FakeBuffer {
    guard let handle = UInt32(exactly: handle), let buffer = client.buffers[handle],
      buffer.type == AMDXDNA_BO_COMMAND
    else { throw invalid("\(handle) is no buffer for commands") }
    return buffer
  }

  /// The words of a packet behind its header.
  private func payload(_ words: [UInt32]) throws(FakeErrno) -> ArraySlice<UInt32> {
    let count = Int(words[0] >> UInt32(AMDXDNA_COUNT_SHIFT)) & AMDXDNA_COUNT_MASK
    guard count < words.count else { throw invalid("a packet of \(count) words") }
    return words[1..<1 + count]
  }

  private func start(
    _ packet: FakeBuffer,
    _ words: [UInt32],
    _ context: FakeContext
  ) throws(FakeErrno) -> FakeCommand {
    guard Self.opcode(words[0]) == AMDXDNA_OPCODE_START_CU else {
      throw invalid("a packet with opcode \(Self.opcode(words[0]))")
    }
    let payload = try payload(words)
    let maskCount = 1 + Int(words[0] >> 10 & 3)
    let masks = payload.prefix(maskCount)
    let rest = payload.dropFirst(maskCount)
    guard let index = masks.firstIndex(where: { $0 != 0 }) else {
      throw invalid("a command for no unit")
    }
    let unit = 32 * (index - masks.startIndex) + masks[index].trailingZeroBitCount
    guard unit < context.units.count else { throw invalid("a command for unit \(unit)") }
    guard (5...FakeCommand.mostWords).contains(rest.count) else {
      throw invalid("\(rest.count) words behind the mask of units")
    }
    return FakeCommand(number: 0, packet: packet, unit: unit, words: Array(rest))
  }

  private func chained(
    _ client: FakeClient,
    _ words: [UInt32],
    _ context: FakeContext
  ) throws(FakeErrno) -> [FakeCommand] {
    let payload = Array(try payload(words))
    let headerCount = MemoryLayout<amdxdna_chain>.size / 4
    guard let count = payload.first.map(Int.init), count > 0,
      payload.count == headerCount + 2 * count, payload[3..<headerCount].allSatisfy({ $0 == 0 })
    else { throw invalid("a chain whose length is not that of its commands") }
    var commands: [FakeCommand] = []
    // Each has a unit and a length before its words.
    var slots = 0
    for index in 0..<count {
      let place = headerCount + 2 * index
      let handle = UInt64(payload[place]) | UInt64(payload[place + 1]) << 32
      let packet = try command(client, handle)
      let words = pages.words(packet.offset, packet.size / 4)
      commands.append(try start(packet, words, context))
      slots += 8 + 4 * (commands.last?.words.count ?? 0)
    }
    guard slots <= AMDXDNA_CHAIN_BYTES else { throw invalid("a chain of \(slots) bytes") }
    return commands
  }

  // MARK: Waits

  private static let waitForAll: UInt32 = 1
  private static let mostTimelines = 64

  /// SYNCOBJ_TIMELINE_WAIT.
  ///
  /// All that is waited for is done now. A deadline that is over is a question: it is answered with ETIME if the
  /// command has not ended yet, which it then does, so that neither who asks again and again nor who has
  /// forgotten that deadlines are absolute gets further than with a real kernel.
  ///
  /// - Returns: Nothing, or the deadline up to which it was for nothing.
  func wait(
    _ client: FakeClient,
    _ value: inout amdxdna_timeline_wait,
    _ memory: any CallerMemory
  ) throws(FakeErrno) -> Int64? {
    statistics.waits += 1
    let known = Self.waitForAll | UInt32(AMDXDNA_WAIT_FOR_SUBMIT)
    guard value.pad == 0, value.flags & ~known == 0,
      (1...Self.mostTimelines).contains(Int(value.count_handles))
    else { throw FakeErrno(EINVAL) }
    let count = Int(value.count_handles)
    let handles = try memory.words(value.handles, count)
    let halves = try memory.words(value.points, 2 * count)
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    let isOver = value.timeout_nsec <= Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    var first: Int?
    for (index, handle) in handles.enumerated() {
      guard let context = client.timelines[handle] else { throw FakeErrno(ENOENT) }
      let point = UInt64(halves[2 * index]) | UInt64(halves[2 * index + 1]) << 32
      let isSubmitted = context.submitted > point
      guard isSubmitted || value.flags & UInt32(AMDXDNA_WAIT_FOR_SUBMIT) != 0 else {
        throw FakeErrno(EINVAL)
      }
      // Point 0 means the latest.
      let last = point == 0 ? context.submitted : point + 1
      let wasDone = context.jobs.first.map { $0.sequence >= last } ?? true
      let isDone = isSubmitted && finish(client, context, before: last)
      if isDone, wasDone || !isOver {
        first = first ?? index
      } else if value.flags & Self.waitForAll != 0 {
        return value.timeout_nsec
      }
    }
    guard let first else { return value.timeout_nsec }
    value.first_signaled = UInt32(first)
    return nil
  }

  /// Does the commands before a number; false if one does not end.
  private func finish(_ client: FakeClient, _ context: FakeContext, before last: UInt64) -> Bool {
    while let job = context.jobs.first, job.sequence < last {
      guard finishFirst(client, context) else { return false }
    }
    return true
  }

  /// Does the first command that is queued; false if it does not end.
  private func finishFirst(_ client: FakeClient, _ context: FakeContext) -> Bool {
    guard let job = context.jobs.first, advance(client, context, job) else { return false }
    context.jobs.removeFirst()
    return true
  }
}
