// Commands as they are done: on the simulated array, or as a fault has it.

internal import CAMDXDNA
internal import NPUArray

/// Why a command failed by itself.
private struct CommandFailure: Error {
  var message: String
  /// Whether the array will never come to an end.
  var isStandstill = false

  init(_ message: String) { self.message = message }

  init(_ error: NPUError) {
    message = "\(error)"
    isStandstill = error.code == .standstill
  }
}

/// How far a command has come.
private enum CommandEnd {
  case completed
  case failed(state: Int)
  /// Not yet, or never.
  case late
}

extension FakeDevice {
  /// Goes on with a job; false if it does not end.
  func advance(_ client: FakeClient, _ context: FakeContext, _ job: FakeJob) -> Bool {
    while job.done < job.commands.count {
      switch perform(job.commands[job.done], client, context, job) {
      case .completed:
        statistics.completed += 1
        job.done += 1
        job.isLate = false
      case .failed(let state):
        hasFailed = true
        fail(job, state)
        return true
      case .late:
        job.isLate = true
        if !faults.hits(.slow, command: job.commands[job.done].number) { hasFailed = true }
        return false
      }
    }
    setState(of: job.packet, AMDXDNA_STATE_COMPLETED)
    return true
  }

  /// Tells that a job has failed, as the driver does.
  ///
  /// It tells of chains in their own packet, and leaves the states of their commands alone; what it would know of the
  /// failure goes into the first command, and is all ones, because this firmware tells nothing.
  private func fail(_ job: FakeJob, _ state: Int) {
    setState(of: job.packet, state)
    guard ![AMDXDNA_STATE_NEW, AMDXDNA_STATE_ABORT].contains(state) else { return }
    var told = job.packet
    if job.isChain {
      // Behind the header, the count of commands and the index of the one submitted.
      pages.write(job.packet.offset + 12, [UInt32(job.done)], 0..<1)
      told = job.commands[0].packet
    }
    let count = told.size / 4
    pages.write(told.offset, Array(repeating: .max, count: count), 1..<count)
  }

  func setState(of packet: FakeBuffer, _ state: Int) {
    let header = pages.words(packet.offset, 1)[0]
    let value = header & ~UInt32(AMDXDNA_STATE_MASK) | UInt32(state)
    pages.write(packet.offset, [value], 0..<1)
  }

  private func perform(
    _ command: FakeCommand,
    _ client: FakeClient,
    _ context: FakeContext,
    _ job: FakeJob
  ) -> CommandEnd {
    func hits(_ kind: FakeFault.Kind) -> Bool { faults.hits(kind, command: command.number) }
    func failed(_ state: Int, _ message: String) -> CommandEnd {
      statistics.note("command \(command.number): \(message)")
      return .failed(state: state)
    }
    if faults.has(.wrongProtocol) { return failed(AMDXDNA_STATE_ABORT, "wrong protocol") }
    if hits(.drop) { return .late }
    if hits(.slow), !job.isLate { return .late }
    if hits(.hang) {
      guard job.isLate else { return .late }
      context.array = nil
      return failed(AMDXDNA_STATE_TIMEOUT, "made to hang")
    }
    for (kind, state) in [
      (FakeFault.Kind.new, AMDXDNA_STATE_NEW), (.abort, AMDXDNA_STATE_ABORT),
      (.error, AMDXDNA_STATE_ERROR), (.timeout, AMDXDNA_STATE_TIMEOUT),
      (.noResponse, AMDXDNA_STATE_NORESPONSE),
    ] where hits(kind) {
      return failed(state, "made to fail: \(kind.rawValue)")
    }
    // What stood still the first time is ended by the driver, which makes the context anew.
    if let breakdown = context.breakdown {
      guard job.isLate else { return failed(AMDXDNA_STATE_ERROR, breakdown) }
      (context.array, context.breakdown) = (nil, nil)
      return failed(AMDXDNA_STATE_TIMEOUT, breakdown)
    }
    do throws(CommandFailure) {
      try run(command, client, context, job)
      return .completed
    } catch {
      guard !error.isStandstill else {
        statistics.note("command \(command.number): \(error.message)")
        return .late
      }
      return failed(AMDXDNA_STATE_ERROR, error.message)
    }
  }

  // MARK: The array

  private func run(
    _ command: FakeCommand,
    _ client: FakeClient,
    _ context: FakeContext,
    _ job: FakeJob
  ) throws(CommandFailure) {
    let words = command.words
    func pair(_ index: Int) -> UInt64 { UInt64(words[index]) | UInt64(words[index + 1]) << 32 }
    guard pair(0) == UInt64(AMDXDNA_START_CODE) else {
      throw CommandFailure("a START_CU whose first argument is \(pair(0))")
    }
    guard words.count % 2 == 1 else { throw CommandFailure("half an address of an argument") }
    let code = try code(at: pair(2), length: Int(words[4]), client, job)
    var places: [(buffer: FakeBuffer, offset: Int)] = []
    for index in stride(from: 5, to: words.count, by: 2) {
      places.append(try find(pair(index), client, job))
    }
    let array = try array(context, command.unit)
    var arguments = take(places)
    let isFlipped = faults.hits(.flip, command: command.number)
    let before = isFlipped ? arguments : []
    defer {
      if isFlipped { flip(&arguments, before) }
      put(arguments, places)
    }
    do throws(NPUError) {
      statistics.cycles += try array.call(code, &arguments).cycles
    } catch {
      // The array is left as it stands; the context does not recover from that by itself.
      context.breakdown = "\(error)"
      throw CommandFailure(error)
    }
  }

  /// What the device finds at an address, in a buffer that the command has named.
  private func find(
    _ address: UInt64,
    _ client: FakeClient,
    _ job: FakeJob
  ) throws(CommandFailure) -> (buffer: FakeBuffer, offset: Int) {
    let text = "0x" + String(address, radix: 16)
    guard let place = client.find(address) else {
      throw CommandFailure("the device finds nothing at \(text)")
    }
    guard job.named.contains(place.buffer.handle) else {
      throw CommandFailure("buffer \(place.buffer.handle), at \(text), is not named")
    }
    guard place.offset.isMultiple(of: 4) else {
      throw CommandFailure("\(text) is no multiple of 4")
    }
    return place
  }

  /// The control code at an address.
  ///
  /// Its own header says how long it is. Some drivers say it in words and some in bytes, and both work.
  private func code(
    at address: UInt64,
    length: Int,
    _ client: FakeClient,
    _ job: FakeJob
  ) throws(CommandFailure) -> [UInt32] {
    let place = try find(address, client, job)
    guard place.buffer.type == AMDXDNA_BO_DEVICE else {
      throw CommandFailure("control code outside of the heap")
    }
    let words = place.buffer.copy[(place.offset / 4)...]
    guard words.count >= 4, let bytes = words.dropFirst(3).first.map(Int.init),
      bytes >= 16, bytes.isMultiple(of: 4), bytes / 4 <= words.count
    else { throw CommandFailure("no control code is at buffer \(place.buffer.handle)") }
    guard length == bytes || length == bytes / 4 else {
      throw CommandFailure("control code of \(bytes) bytes, where the command says \(length)")
    }
    return Array(words.prefix(bytes / 4))
  }

  /// The array of a context, configured for a unit when its first command comes.
  private func array(
    _ context: FakeContext,
    _ unit: Int
  ) throws(CommandFailure) -> SimulatedArray {
    if let (configured, array) = context.array, configured == unit { return array }
    let array = SimulatedArray()
    do throws(NPUError) {
      let image = Self.image(in: context.units[unit].copy)
      for command in try DeviceImage.commands(in: image) {
        guard let column = Self.column(of: command), column >= context.columns else { continue }
        throw NPUError(.operand, "column \(column) of a context of \(context.columns)")
      }
      try array.configure(image)
    } catch {
      throw CommandFailure(error)
    }
    context.array = (unit, array)
    return array
  }

  private static func column(of command: ConfigurationCommand) -> Int? {
    switch command {
    case .write(let address, _), .maskedWrite(let address, _, _), .block(let address, _):
      Tile.at(address)?.tile.column
    case .poll: nil
    }
  }

  /// A PDI without the rest of its buffer: the header of its partition says how long it is.
  private static func image(in words: [UInt32]) -> [UInt32] {
    let (header, configuration) = (52, 84)
    guard words.count > configuration else { return words }
    return Array(words.prefix(configuration + Int(words[header])))
  }

  // MARK: Arguments

  private func isWhole(
    _ place: (buffer: FakeBuffer, offset: Int),
    _ places: [(buffer: FakeBuffer, offset: Int)]
  ) -> Bool {
    place.offset == 0 && places.count { $0.buffer === place.buffer } == 1
  }

  /// The memory behind arguments; where one buffer is behind several, each gets a copy.
  private func take(_ places: [(buffer: FakeBuffer, offset: Int)]) -> [HostBuffer] {
    places.map { place in
      guard isWhole(place, places) else {
        return HostBuffer(Array(place.buffer.copy[(place.offset / 4)...]))
      }
      let words = place.buffer.copy
      place.buffer.copy = []
      return HostBuffer(words)
    }
  }

  /// Puts memory back; of a copy what has changed.
  private func put(
    _ arguments: [HostBuffer],
    _ places: [(buffer: FakeBuffer, offset: Int)]
  ) {
    var changes: [(buffer: FakeBuffer, index: Int, word: UInt32)] = []
    for (argument, place) in zip(arguments, places) {
      if isWhole(place, places) {
        place.buffer.copy = argument.words
        continue
      }
      let first = place.offset / 4
      for (index, word) in argument.words.enumerated()
      where word != place.buffer.copy[first + index] {
        changes.append((place.buffer, first + index, word))
      }
    }
    for change in changes { change.buffer.copy[change.index] = change.word }
  }

  /// Inverts a word in the middle of those that have changed, or the last of all if none has.
  private func flip(_ arguments: inout [HostBuffer], _ before: [HostBuffer]) {
    var changed: [(argument: Int, word: Int)] = []
    for (argument, pair) in zip(before, arguments).enumerated() {
      for (word, values) in zip(pair.0.words, pair.1.words).enumerated() where values.0 != values.1
      {
        changed.append((argument, word))
      }
    }
    if changed.isEmpty, let last = arguments.indices.last {
      changed = [(last, arguments[last].words.count - 1)]
    }
    guard !changed.isEmpty else { return }
    let place = changed[changed.count / 2]
    arguments[place.argument].words[place.word] ^= .max
  }
}
