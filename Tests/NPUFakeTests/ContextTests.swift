// Contexts and questions by raw requests: their rules, and each refusal.

import Glibc
import NPUFake
import Testing

@Suite struct `Contexts of the fake kernel` {
  @Test func `a context needs a heap that is mapped at a multiple of 64 MiB`() throws {
    let caller = try RawCaller()
    #expect(caller.error(Request.createContext, caller.contextCreation()) == ENOENT)
    let heap = try caller.create(RawCaller.heap, RawCaller.heapBytes)
    #expect(caller.error(Request.createContext, caller.contextCreation()) == EINVAL)
    caller.map(heap, at: 0x7000_0010_0000, count: 64 << 20)
    #expect(caller.error(Request.createContext, caller.contextCreation()) == EINVAL)
    caller.map(heap, at: 0x7000_0000_0000, count: 64 << 20)
    #expect(caller.error(Request.createContext, caller.contextCreation()) == 0)
  }

  @Test func `a context takes four pieces of the heap`() throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    let made = try caller.answer(Request.createContext, caller.contextCreation())
    let buffer = try caller.create(RawCaller.device, 4096)
    #expect(try caller.describe(buffer)[long: 40] == 0x400_0000 + 4 * 0x8000)
    let handle = UInt64(made[word: 48])
    #expect(caller.error(Request.destroyContext, RawStructure(8, [0: handle | 1 << 32])) == EINVAL)
    #expect(caller.error(Request.destroyContext, RawStructure(8, [0: handle])) == 0)
    #expect(caller.error(Request.destroyContext, RawStructure(8, [0: handle])) == EINVAL)
    #expect(try caller.describe(caller.create(RawCaller.device, 4096))[long: 40] == 0x400_0000)
  }

  @Test(arguments: [0, 8, 24, 28, 40]) func `fields of CREATE_HWCTX must be zero`(
    place: Int
  ) throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    var value = caller.contextCreation()
    value[word: place] = 1
    #expect(caller.error(Request.createContext, value) == EINVAL)
  }

  @Test func `a context has one to four columns, and is one of six`() throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    for tiles in [0, 3, 18, 20] as [UInt32] {
      #expect(caller.error(Request.createContext, caller.contextCreation(tiles: tiles)) == EINVAL)
    }
    for _ in 0..<6 {
      #expect(caller.error(Request.createContext, caller.contextCreation(tiles: 4)) == 0)
    }
    #expect(caller.error(Request.createContext, caller.contextCreation()) == EBUSY)
  }

  @Test func `memory that cannot be read is no crash`() throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    var value = caller.contextCreation()
    value[long: 16] = 0x40
    #expect(caller.error(Request.createContext, value) == EFAULT)
    #expect(caller.kernel.request(caller.client, Request.describe, 0, caller.arena) == EFAULT)
    #expect(caller.kernel.request(caller.client, Request.describe, 64, OwnMemory()) == EFAULT)
  }

  @Test func `a context is configured once, with pieces of the heap`() throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    let context = try caller.answer(Request.createContext, caller.contextCreation())[word: 48]
    let unit = try caller.create(RawCaller.device, 4096)
    let shared = try caller.create(RawCaller.shared, 4096)
    func error(_ handles: [UInt32], _ change: (inout RawStructure) -> Void = { _ in }) -> CInt {
      var value = caller.configuration(context, handles)
      change(&value)
      return caller.error(Request.configure, value)
    }
    #expect(error([]) == EINVAL)
    #expect(error([shared]) == EINVAL)
    #expect(error([99]) == ENOENT)
    #expect(error([unit]) { $0[word: 20] = 1 } == EINVAL)
    #expect(error([unit]) { $0[word: 4] = 1 } == EOPNOTSUPP)
    #expect(error([unit]) { $0[word: 4] = 3 } == EINVAL)
    #expect(error([unit]) { $0[word: 0] = 77 } == EINVAL)
    #expect(error([unit]) { $0[word: 16] = 4097 } == E2BIG)
    #expect(error([unit]) { $0[word: 16] = 8 } == EINVAL)
    #expect(error([unit]) { $0[long: 8] = 1 } == EFAULT)
    #expect(error(Array(repeating: unit, count: 33)) == EINVAL)
    #expect(error([unit, unit]) == 0)
    #expect(error([unit]) == EINVAL)
  }

  @Test func `paddings of a configuration must be zero`() throws {
    let caller = try RawCaller()
    try caller.makeHeap()
    let context = try caller.answer(Request.createContext, caller.contextCreation())[word: 48]
    let unit = try caller.create(RawCaller.device, 4096)
    for place in [2, 4, 6, 13, 14, 15] {
      let (address, count) = caller.units([unit])
      #expect(caller.arena.write(address + UInt64(place), [1]))
      let value = RawStructure(24, [0: UInt64(context), 8: address, 16: count])
      #expect(caller.error(Request.configure, value) == EINVAL, "byte \(place)")
    }
  }

  @Test func `requests go by their number, whatever size they have`() throws {
    let caller = try RawCaller()
    var short = RawStructure(24, [16: 4096])
    // CREATE_BO without type and handle: the type is then 0.
    #expect(caller.call(0xC018_6443, &short) == EINVAL)
    var long = RawStructure(64, [16: 4096, 24: 1])
    #expect(caller.call(0xC040_6443, &long) == 0)
    #expect(long[word: 28] == 1)
    #expect(caller.error(0xC020_6543, RawCaller.creation(1, 4096)) == ENOTTY)
    #expect(caller.error(0xC020_64FF, RawCaller.creation(1, 4096)) == EINVAL)
  }
}

@Suite struct `Questions to the fake kernel` {
  @Test func `VERSION tells lengths first, and that it is no silicon`() throws {
    let caller = try RawCaller()
    let lengths = try caller.answer(Request.version, RawStructure(64))
    #expect(lengths[long: 16] == 20)
    let name = caller.arena.put(Array(repeating: 0, count: 20))
    let text = caller.arena.put(Array(repeating: 0, count: 40))
    _ = try caller.answer(
      Request.version,
      RawStructure(64, [16: 20, 24: name, 48: lengths[long: 48], 56: text])
    )
    let bytes = caller.arena.read(name, count: 20) ?? []
    #expect(String(decoding: bytes, as: UTF8.self) == "amdxdna_accel_driver")
    let description = caller.arena.read(text, count: Int(lengths[long: 48])) ?? []
    #expect(String(decoding: description, as: UTF8.self) == "emulated by Trestle")
    #expect(caller.error(Request.version, RawStructure(64, [16: 20, 24: 8])) == EFAULT)
  }

  @Test func `GET_INFO copies as much as there is room for`() throws {
    let caller = try RawCaller()
    func answer(_ question: UInt64, _ room: Int) throws -> (bytes: [UInt8], count: UInt32) {
      let address = caller.arena.put(Array(repeating: 0xEE, count: room))
      let value = RawStructure(16, [0: question | UInt64(room) << 32, 8: address])
      let count = try caller.answer(Request.information, value)[word: 4]
      return (caller.arena.read(address, count: room) ?? [], count)
    }
    let metadata = try answer(1, 64)
    #expect(metadata.count == 64)
    #expect(Array(metadata.bytes[4..<8]) == [5, 0, 6, 0])
    #expect(Array(metadata.bytes[16..<20]) == [4, 0, 2, 0])
    #expect(try answer(2, 16).bytes.prefix(9) == [1, 0, 0, 0, 1, 0, 0, 0, 0xEE])
    #expect(try answer(2, 16).count == 8)
    #expect(try answer(3, 48).bytes[40..<44] == [0x40, 6, 0, 0])
    let firmware = try answer(8, 6)
    #expect(firmware.bytes == [1, 0, 0, 0, 5, 0] && firmware.count == 6)
    #expect(try answer(9, 8).bytes.allSatisfy { $0 == 0 })
    #expect(caller.error(Request.information, RawStructure(16, [0: 4 | 168 << 32])) == EOPNOTSUPP)
    #expect(caller.error(Request.information, RawStructure(16, [0: 2 | 8 << 32, 8: 9])) == EFAULT)
  }
}
