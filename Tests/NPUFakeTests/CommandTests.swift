// Commands by raw requests: a design through which words pass, what must be synchronised, and each refusal.

import Glibc
import NPUFake
import Testing

@Suite struct `Commands of the fake kernel` {
  @Test func `words pass through the array`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    #expect(try design.submit(packet) == 0)
    #expect(try design.state(packet) == 1)
    #expect(design.wait(0) == 0)
    #expect(try design.state(packet) == 4)
    #expect(try design.result() == design.words)
    let done = design.caller.kernel.statistics
    #expect(done.commands == 1 && done.completed == 1 && done.waits == 1 && done.contexts == 1)
    #expect(done.cycles > 0 && done.faults.isEmpty)
    #expect(done.bytesFromDevice == 4 * PassThrough.count)
  }

  @Test func `the length of control code is words or bytes`() throws {
    let design = try PassThrough()
    let bytes = design.packetWords(length: 4 * design.codeWords)
    #expect(try design.run(design.packet(bytes)) == (0, 4))
    let wrong = design.packetWords(length: design.codeWords + 1)
    #expect(try design.run(design.packet(wrong)) == (0, 5))
  }

  @Test func `what was not synchronised is not there`() throws {
    #expect(try PassThrough(without: .image).run() == (0, 5))
    #expect(try PassThrough(without: .code).run() == (0, 5))
    let design = try PassThrough(without: .input)
    #expect(try design.run() == (0, 4))
    #expect(try design.caller.read(2, from: design.output) == [0, 0])
    #expect(try design.result() == Array(repeating: 0xA5A5_A5A5, count: PassThrough.count))
  }

  @Test func `the wrong direction destroys what was written`() throws {
    let design = try PassThrough(without: .input)
    try design.caller.sync(design.input, from: true, 4 * PassThrough.count)
    try design.caller.sync(design.input, 4 * PassThrough.count)
    #expect(try design.run() == (0, 4))
    #expect(try design.result() != design.words)
  }

  @Test func `the array goes on as the last command has left it`() throws {
    let design = try PassThrough()
    for number in 0..<3 as Range<UInt64> {
      let packet = try design.packet()
      #expect(try design.submit(packet) == number)
      #expect(design.wait(number) == 0)
      #expect(try design.state(packet) == 4)
    }
    #expect(try design.result() == design.words)
  }

  @Test func `a command must name what it uses, where it is mapped`() throws {
    let design = try PassThrough()
    #expect(try design.run(named: [design.code, design.input]) == (0, 5))
    #expect(design.caller.kernel.statistics.lastFault?.contains("not named") == true)
    #expect(try design.run(named: [design.input, design.output]) == (0, 5))
    design.caller.kernel.unmapped(design.caller.client, at: design.outputAddress)
    #expect(try design.run() == (0, 5))
    #expect(design.caller.kernel.statistics.lastFault?.contains("finds nothing") == true)
  }

  @Test func `a failed command has a payload of ones`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    #expect(try design.run(packet, named: []) == (0, 5))
    let words = try design.caller.read(1024, from: packet)
    #expect(words[0] == design.packetWords()[0] & ~0xF | 5)
    #expect(words[1...].allSatisfy { $0 == .max })
  }

  @Test func `an argument may begin within a buffer, and be given twice`() throws {
    let design = try PassThrough()
    var words = design.packetWords()
    // Both arguments lie in the output's buffer: what is read there is what the pattern is.
    words[7] = UInt32(truncatingIfNeeded: design.outputAddress) + 1024
    words[8] = UInt32(design.outputAddress >> 32)
    #expect(try design.run(design.packet(words)) == (0, 4))
    #expect(try design.result() == Array(repeating: 0xA5A5_A5A5, count: PassThrough.count))
    words[7] = UInt32(truncatingIfNeeded: design.inputAddress)
    words[8] = UInt32(design.inputAddress >> 32)
    words[9] += 256
    #expect(try design.run(design.packet(words)) == (0, 4))
    try design.caller.sync(design.output, from: true, 4096)
    #expect(try Array(design.caller.read(128, from: design.output)[64...]) == design.words)
  }

  @Test(arguments: [0, 8]) func `fields of EXEC_CMD must be zero`(place: Int) throws {
    let design = try PassThrough()
    var value = try design.execution(design.packet())
    value[long: place] = 1
    #expect(design.caller.error(Request.execute, value) == EINVAL)
  }

  @Test func `an EXEC_CMD that is wrong is refused`() throws {
    let design = try PassThrough()
    let right = try design.execution(design.packet())
    func error(_ change: (inout RawStructure) -> Void) -> CInt {
      var value = right
      change(&value)
      return design.caller.error(Request.execute, value)
    }
    #expect(error { $0[word: 16] = 77 } == EINVAL)
    #expect(error { $0[word: 20] = 1 } == EINVAL)
    #expect(error { $0[long: 24] = UInt64(design.input) } == EINVAL)
    #expect(error { $0[long: 24] = 77 } == EINVAL)
    #expect(error { $0[long: 32] = 5 } == EFAULT)
    #expect(error { $0[word: 40] = 2 } == EINVAL)
    #expect(error { $0[word: 44] = 4096 } == EINVAL)
    let strange = try design.execution(design.packet(), named: [77])
    #expect(design.caller.error(Request.execute, strange) == ENOENT)
    #expect(design.caller.kernel.statistics.commands == 0)
  }

  @Test func `a packet that is wrong is refused`() throws {
    let design = try PassThrough()
    var words = design.packetWords()
    words[0] |= 20 << 23
    #expect(throws: Refused.self) { try design.submit(design.packet(words)) }
    #expect(throws: Refused.self) { try design.submit(design.packet(design.packetWords(unit: 1))) }
    #expect(throws: Refused.self) { try design.submit(design.packet([1 | 0x7FF << 12, 1])) }
    #expect(throws: Refused.self) { try design.submit(design.packet([1 | 3 << 12, 1, 3, 0])) }
  }

  @Test func `a context that is not configured takes no command`() throws {
    let design = try PassThrough()
    let other = try design.caller.answer(Request.createContext, design.caller.contextCreation())
    var value = try design.execution(design.packet())
    value[word: 16] = other[word: 48]
    #expect(design.caller.error(Request.execute, value) == EINVAL)
  }

  @Test func `a fifth command is taken when the first is done`() throws {
    let design = try PassThrough()
    let packets = try (0..<5).map { _ in try design.packet() }
    for packet in packets { _ = try design.submit(packet) }
    #expect(try packets.map { try design.state($0) } == [4, 1, 1, 1, 1])
    #expect(design.wait(3) == 0)
    #expect(try packets.map { try design.state($0) } == [4, 4, 4, 4, 1])
    // Point 0 is the latest.
    #expect(design.wait(0) == 0)
    #expect(try design.state(packets[4]) == 4)
  }

  @Test func `commands that nobody waited for are aborted with their context`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    _ = try design.submit(packet)
    let context = RawStructure(8, [0: UInt64(design.context)])
    #expect(design.caller.error(Request.destroyContext, context) == 0)
    #expect(try design.state(packet) == 6)
  }

  @Test func `an array that stands still ends as TIMEOUT, when it is asked for again`() throws {
    let design = try PassThrough(missing: 64)
    let packet = try design.packet()
    let point = try design.submit(packet)
    #expect(design.wait(point) == ETIME)
    #expect(try design.state(packet) == 1)
    #expect(design.wait(point) == 0)
    #expect(try design.state(packet) == 8)
    #expect(design.caller.kernel.statistics.lastFault?.contains("stands still") == true)
  }
}

@Suite struct `Waits for the fake kernel` {
  @Test func `a wait that is wrong is refused`() throws {
    let design = try PassThrough()
    _ = try design.submit(design.packet())
    let right = design.waiting(0)
    func error(_ change: (inout RawStructure) -> Void) -> CInt {
      var value = right
      change(&value)
      return design.caller.error(Request.wait, value)
    }
    #expect(error { $0[word: 36] = 1 } == EINVAL)
    #expect(error { $0[word: 28] = 8 } == EINVAL)
    #expect(error { $0[word: 24] = 0 } == EINVAL)
    #expect(error { $0[long: 0] = 8 } == EFAULT)
    #expect(error { $0[long: 8] = 8 } == EFAULT)
    #expect(error { _ in } == 0)
    let timeline = RawStructure(8, [0: UInt64(design.timeline)])
    #expect(design.caller.error(Request.destroyTimeline, timeline) == 0)
    #expect(design.caller.error(Request.destroyTimeline, timeline) == EINVAL)
    #expect(error { _ in } == ENOENT)
  }

  @Test func `what was not submitted is not waited for without the flag`() throws {
    let design = try PassThrough()
    #expect(design.caller.error(Request.wait, design.waiting(0, flags: 0)) == EINVAL)
    #expect(design.wait(0) == ETIME)
    #expect(design.wait(5) == ETIME)
  }

  /// Who gives a duration where a time is wanted must see that it is over.
  @Test func `a deadline that is over is told, and the command goes on`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    let point = try design.submit(packet)
    #expect(design.caller.error(Request.wait, design.waiting(point, deadline: 1000)) == ETIME)
    #expect(design.caller.error(Request.wait, design.waiting(point, deadline: 1000)) == 0)
    #expect(try design.state(packet) == 4)
  }

  @Test func `the longer structure of newer kernels is taken`() throws {
    let design = try PassThrough()
    let point = try design.submit(design.packet())
    var value = design.waiting(point)
    value.bytes += [0, 0, 0, 0, 0, 0, 0, 0]
    #expect(design.caller.call(0xC030_64CA, &value) == 0)
  }
}

@Suite struct `Chains of the fake kernel` {
  @Test func `a chain's commands are done one after the other`() throws {
    let design = try PassThrough()
    let packets = try (0..<3).map { _ in try design.packet() }
    let chain = try design.chain(packets)
    #expect(try design.run(chain) == (0, 4))
    #expect(try design.result() == design.words)
    let done = design.caller.kernel.statistics
    #expect(done.commands == 3 && done.chains == 1 && done.completed == 3)
    // The driver tells of chains in their own packet.
    #expect(try packets.map { try design.state($0) } == [1, 1, 1])
  }

  @Test func `a failure's index is told, and its words in the first command`() throws {
    let design = try PassThrough()
    let wrong = try design.packet(design.packetWords(length: 1))
    let packets = try [design.packet(), design.packet(), wrong, design.packet()]
    let chain = try design.chain(packets)
    #expect(try design.run(chain) == (0, 5))
    #expect(try Array(design.caller.read(4, from: chain)[1...]) == [4, 0, 2])
    #expect(try design.caller.read(8, from: packets[0])[1...].allSatisfy { $0 == .max })
    #expect(try design.caller.read(16, from: wrong)[1] == 1)
    #expect(design.caller.kernel.statistics.completed == 2)
  }

  @Test func `a chain that is wrong is refused`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    #expect(throws: Refused.self) { try design.submit(design.chain([])) }
    #expect(throws: Refused.self) { try design.submit(design.chain([77])) }
    #expect(throws: Refused.self) { try design.submit(design.chain([design.chain([packet])])) }
    let reserved = [1 | 8 << 12 | 19 << 23, 1, 0, 0, 0, 0, 1, packet, 0] as [UInt32]
    #expect(throws: Refused.self) { try design.submit(design.packet(reserved)) }
    let long = [1 | 10 << 12 | 19 << 23, 1, 0, 0, 0, 0, 0, packet, 0, packet, 0] as [UInt32]
    #expect(throws: Refused.self) { try design.submit(design.packet(long)) }
  }

  @Test func `a chain has 4 KiB`() throws {
    let design = try PassThrough()
    let packet = try design.packet()
    // A slot has 8 bytes and the words behind the mask of units, here 9.
    let most = 4096 / (8 + 36)
    #expect(throws: Refused.self) {
      try design.submit(design.chain(Array(repeating: packet, count: most + 1)))
    }
    _ = try design.submit(design.chain(Array(repeating: packet, count: most)))
    #expect(design.caller.kernel.statistics.commands == most)
  }
}
