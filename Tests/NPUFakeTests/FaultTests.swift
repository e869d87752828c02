// Each fault that the fake kernel can be asked for, as its caller sees it.

import Glibc
import NPUFake
import Testing

@Suite struct `Faults of the fake kernel` {
  @Test(arguments: FakeFault.Kind.allCases) func `a fault is a short text`(
    kind: FakeFault.Kind
  ) {
    for fault in [
      FakeFault(kind), FakeFault(kind, at: 7), FakeFault(kind, at: 2, times: nil),
      FakeFault(kind, at: 3, times: 5),
    ] {
      #expect(FakeFault(parsing: fault.description) == fault)
    }
    #expect(FakeFault(parsing: kind.rawValue) == FakeFault(kind))
  }

  @Test(arguments: [
    "", "abort@", "abort@x", "abort@1x", "abort@1x0", "abort@-1", "abort@1@2", "no",
  ])
  func `another text is no fault`(text: String) {
    #expect(FakeFault(parsing: text) == nil)
  }

  @Test func `faults are a list in one text`() {
    #expect(FakeFault.list(parsing: "") == [])
    #expect(
      FakeFault.list(parsing: "abort@3+,wedge")
        == [FakeFault(.abort, at: 3, times: nil), FakeFault(.wedge)]
    )
    #expect(FakeFault.list(parsing: "abort@3,no") == nil)
  }

  @Test(arguments: [("new", 1), ("abort", 6), ("error", 5), ("timeout", 8), ("no-response", 9)])
  func `the second command ends in a state`(kind: String, state: UInt32) throws {
    let design = try PassThrough(["\(kind)@2"])
    #expect(try design.run() == (0, 4))
    let packet = try design.packet()
    #expect(try design.run(packet) == (0, state))
    let told = try design.caller.read(16, from: packet)[1...].allSatisfy { $0 == .max }
    #expect(told == ["error", "timeout", "no-response"].contains(kind))
    #expect(try design.run() == (0, 4))
  }

  @Test func `a fault may last`() throws {
    let design = try PassThrough(["abort@2+"])
    #expect(try (0..<4).map { _ in try design.run().state } == [4, 6, 6, 6])
    let other = try PassThrough(["abort@2x2"])
    #expect(try (0..<4).map { _ in try other.run().state } == [4, 6, 6, 4])
  }

  @Test func `a slow command ends after the first deadline`() throws {
    let design = try PassThrough(["slow@1"])
    let packet = try design.packet()
    let point = try design.submit(packet)
    #expect(design.wait(point) == ETIME)
    #expect(design.wait(point) == 0)
    #expect(try design.state(packet) == 4)
    #expect(try design.result() == design.words)
  }

  @Test func `a command that hangs is ended by the driver`() throws {
    let design = try PassThrough(["hang@1"])
    let packet = try design.packet()
    let point = try design.submit(packet)
    #expect(design.wait(point) == ETIME)
    #expect(try design.state(packet) == 1)
    #expect(design.wait(point) == 0)
    #expect(try design.state(packet) == 8)
    #expect(try design.run() == (0, 4))
  }

  @Test func `a lost command never ends, nor do those behind it`() throws {
    let design = try PassThrough(["drop@2"])
    let packets = try (0..<5).map { _ in try design.packet() }
    for packet in packets { _ = try design.submit(packet) }
    for _ in 0..<3 { #expect(design.wait(2) == ETIME) }
    #expect(throws: Refused.self) { try design.submit(design.packet()) }
    #expect(try packets.map { try design.state($0) } == [4, 1, 1, 1, 1])
    try design.makeContext()
    #expect(try design.run() == (0, 4))
  }

  @Test func `one word is wrong`() throws {
    let design = try PassThrough(["flip@1"])
    #expect(try design.run() == (0, 4))
    let wrong = zip(try design.result(), design.words).filter { $0 != $1 }
    #expect(wrong.count == 1)
  }

  @Test func `a removed device answers nothing any more`() throws {
    let design = try PassThrough(["removed@2"])
    #expect(try design.run() == (0, 4))
    let second = try design.execution(design.packet())
    #expect(design.caller.error(Request.execute, second) == ENODEV)
    #expect(design.wait(0) == ENODEV)
    #expect(design.caller.error(Request.createBuffer, RawCaller.creation(1, 4096)) == ENODEV)
    #expect(throws: FakeErrno(ENODEV)) { try design.caller.kernel.open() }
    #expect(throws: FakeErrno(ENODEV)) { try RawCaller(["removed@0"]) }
  }

  @Test func `nothing works with a wrong protocol`() throws {
    let design = try PassThrough(["protocol"])
    #expect(try design.run().state == 6)
    #expect(try design.run().state == 6)
  }

  @Test func `a wedged device makes no context`() throws {
    let design = try PassThrough(["error@1", "wedge"])
    let creation = design.caller.contextCreation()
    #expect(design.caller.error(Request.createContext, creation) == 0)
    #expect(try design.run().state == 5)
    #expect(design.caller.error(Request.createContext, creation) == ETIME)
    #expect(try PassThrough(["wedge"]).run().state == 4)
    // A command that is only slow wedges nothing.
    let slow = try PassThrough(["slow@1", "wedge"])
    #expect(try slow.run().wait == ETIME)
    #expect(slow.caller.error(Request.createContext, slow.caller.contextCreation()) == 0)
    let lost = try PassThrough(["drop@1", "wedge"])
    #expect(try lost.run().wait == ETIME)
    #expect(lost.caller.error(Request.createContext, lost.caller.contextCreation()) == ETIME)
  }

  @Test func `buffers and contexts fail as asked`() throws {
    let heap = RawCaller.creation(2, 64 << 20)
    let noHeap = try RawCaller(["heap-enomem@1"])
    #expect(noHeap.error(Request.createBuffer, heap) == ENOMEM)
    #expect(noHeap.error(Request.createBuffer, heap) == 0)
    let caller = try RawCaller([
      "device-eagain@2", "shared-enomem@1x2", "context-ebusy@1", "context-einval@2",
    ])
    try caller.makeHeap()
    func errors(_ type: UInt64) -> [CInt] {
      (0..<3).map { _ in caller.error(Request.createBuffer, RawCaller.creation(type, 4096)) }
    }
    #expect(errors(3) == [0, EAGAIN, 0])
    #expect(errors(1) == [ENOMEM, ENOMEM, 0])
    #expect(errors(4) == [0, 0, 0])
    let contexts = (0..<3).map { _ in
      caller.error(Request.createContext, caller.contextCreation())
    }
    #expect(contexts == [EBUSY, EINVAL, 0])
  }

  @Test func `a command is refused some times`() throws {
    let design = try PassThrough(["exec-eagain@2x2", "exec-eintr@1"])
    let value = try design.execution(design.packet())
    let errors = (0..<4).map { _ in design.caller.error(Request.execute, value) }
    #expect(errors == [EINTR, EAGAIN, EAGAIN, 0])
  }

  @Test func `questions fail as asked`() throws {
    #expect(throws: FakeErrno(ENOENT)) { try RawCaller(["open-enoent"]) }
    let absent = try RawCaller(["info-eopnotsupp@1+", "version-einval@1+"])
    let room = absent.arena.put(Array(repeating: 0, count: 8))
    let question = RawStructure(16, [0: 2 | 8 << 32, 8: room])
    #expect(absent.error(Request.information, question) == EOPNOTSUPP)
    #expect(absent.error(Request.version, RawStructure(64)) == EINVAL)
    let short = try RawCaller(["info-short@1"])
    _ = short.arena.put(Array(repeating: 0, count: 8))
    #expect(try short.answer(Request.information, question)[word: 4] == 4)
    #expect(try short.answer(Request.information, question)[word: 4] == 8)
    let other = try RawCaller(["driver-name"])
    #expect(try other.answer(Request.version, RawStructure(64))[long: 16] == 14)
  }

  @Test func `a fault in a chain is told of its command`() throws {
    let design = try PassThrough(["error@3"])
    let chain = try design.chain((0..<4).map { _ in try design.packet() })
    #expect(try design.run(chain) == (0, 5))
    #expect(try design.caller.read(4, from: chain)[3] == 2)
    let unsignalled = try PassThrough(["new@2"])
    let other = try unsignalled.chain((0..<2).map { _ in try unsignalled.packet() })
    #expect(try unsignalled.run(other) == (0, 1))
  }
}
