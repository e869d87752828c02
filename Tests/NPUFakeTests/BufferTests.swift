// Buffers by raw requests: their rules, their addresses, and each refusal.

import Glibc
import NPUFake
import Testing

@Suite struct `Buffers of the fake kernel` {
  @Test func `a heap has 64 MiB, and there is one`() throws {
    let caller = try RawCaller()
    #expect(caller.error(Request.createBuffer, RawCaller.creation(2, 32 << 20)) == EINVAL)
    let heap = try caller.makeHeap()
    #expect(try caller.describe(heap)[long: 40] == 0x400_0000)
    #expect(caller.error(Request.createBuffer, RawCaller.creation(2, 64 << 20)) == EBUSY)
  }

  @Test func `a piece of the heap needs the heap, and room`() throws {
    let caller = try RawCaller()
    #expect(caller.error(Request.createBuffer, RawCaller.creation(3, 4096)) == EAGAIN)
    let heap = try caller.makeHeap()
    let first = try caller.create(RawCaller.device, 100)
    let second = try caller.create(RawCaller.device, 33 << 10)
    let third = try caller.create(RawCaller.device, 4)
    #expect(try caller.describe(first)[long: 24] == .max)
    #expect(try caller.describe(first)[long: 40] == 0x400_0000)
    #expect(try caller.describe(second)[long: 40] == 0x400_8000)
    #expect(try caller.describe(third)[long: 40] == 0x401_8000)
    #expect(try caller.describe(second)[long: 32] == caller.describe(heap)[long: 32] + 0x8000)
    #expect(caller.error(Request.createBuffer, RawCaller.creation(3, 64 << 20)) == ENOMEM)
    // What is freed is there again.
    #expect(caller.error(Request.free, RawStructure(8, [0: UInt64(second)])) == 0)
    #expect(try caller.describe(caller.create(RawCaller.device, 4096))[long: 40] == 0x400_8000)
  }

  @Test func `a shared buffer is for the device where it is mapped`() throws {
    let caller = try RawCaller()
    let buffer = try caller.create(RawCaller.shared, 5000)
    #expect(try caller.describe(buffer)[long: 32] == 0)
    #expect(try caller.describe(buffer)[long: 40] == .max)
    caller.map(buffer, at: 0x7300_0000_0000, count: 8192)
    #expect(try caller.describe(buffer)[long: 32] == 0x7300_0000_0000)
    caller.kernel.unmapped(caller.client, at: 0x7300_0000_0000)
    #expect(try caller.describe(buffer)[long: 32] == 0)
  }

  @Test(arguments: [0, 8]) func `fields of CREATE_BO must be zero`(place: Int) throws {
    var value = RawCaller.creation(1, 4096)
    value[long: place] = 1
    #expect(try RawCaller().error(Request.createBuffer, value) == EINVAL)
  }

  @Test func `types and sizes that there are not are refused`() throws {
    let caller = try RawCaller()
    for type in [0, 5, 99] as [UInt64] {
      #expect(caller.error(Request.createBuffer, RawCaller.creation(type, 4096)) == EINVAL)
    }
    #expect(caller.error(Request.createBuffer, RawCaller.creation(1, 0)) == EINVAL)
    #expect(caller.error(Request.createBuffer, RawCaller.creation(1, .max)) == EINVAL)
  }

  @Test(arguments: [0, 8, 20]) func `fields of GET_BO_INFO must be zero`(place: Int) throws {
    let caller = try RawCaller()
    var value = RawStructure(48, [16: UInt64(try caller.create(RawCaller.shared, 4096))])
    value[word: place] = 1
    #expect(caller.error(Request.describe, value) == EINVAL)
  }

  @Test func `buffers that there are not are refused`() throws {
    let caller = try RawCaller()
    #expect(caller.error(Request.describe, RawStructure(48, [16: 7])) == ENOENT)
    #expect(caller.error(Request.sync, RawCaller.synchronisation(7, from: false, 4)) == ENOENT)
    #expect(caller.error(Request.free, RawStructure(8, [0: 7])) == EINVAL)
    let buffer = UInt64(try caller.create(RawCaller.shared, 4096))
    #expect(caller.error(Request.free, RawStructure(8, [0: buffer | 1 << 32])) == EINVAL)
    #expect(caller.error(Request.free, RawStructure(8, [0: buffer])) == 0)
    #expect(caller.error(Request.free, RawStructure(8, [0: buffer])) == EINVAL)
  }

  @Test func `a buffer is another client's only`() throws {
    let caller = try RawCaller()
    let buffer = try caller.create(RawCaller.shared, 4096)
    let other = try caller.kernel.open()
    let address = caller.arena.put(RawStructure(48, [16: UInt64(buffer)]).bytes)
    #expect(caller.kernel.request(other, Request.describe, address, caller.arena) == ENOENT)
    caller.kernel.close(caller.client)
    #expect(caller.error(Request.describe, RawStructure(48, [16: UInt64(buffer)])) == EBADF)
  }

  @Test func `a synchronisation ends with its buffer`() throws {
    let caller = try RawCaller()
    let buffer = try caller.create(RawCaller.shared, 8192)
    var value = RawCaller.synchronisation(buffer, from: false, 1 << 20)
    #expect(caller.error(Request.sync, value) == 0)
    #expect(caller.kernel.statistics.bytesToDevice == 8192)
    value[long: 8] = 8193
    #expect(caller.error(Request.sync, value) == EINVAL)
    (value[long: 8], value[long: 16]) = (16, .max)
    #expect(caller.error(Request.sync, value) == EINVAL)
    #expect(
      caller.error(Request.sync, RawStructure(24, [0: UInt64(buffer) | 2 << 32, 16: 4])) == EINVAL
    )
  }

  @Test func `what the device has is not what was never sent`() throws {
    let caller = try RawCaller()
    let buffer = try caller.create(RawCaller.shared, 4096)
    try caller.write([1, 2, 3, 4], to: buffer)
    try caller.sync(buffer, from: true, 4096)
    #expect(try caller.read(2, from: buffer) == [0xA5A5_A5A5, 0xA5A5_A5A5])
    try caller.write([1, 2, 3, 4], to: buffer)
    try caller.sync(buffer, 4096)
    try caller.write([9, 9, 9, 9], to: buffer)
    try caller.sync(buffer, from: true, 4096)
    #expect(try caller.read(4, from: buffer) == [1, 2, 3, 4])
  }

  @Test func `pages stay as long as they are mapped`() throws {
    let caller = try RawCaller()
    let buffer = try caller.create(RawCaller.shared, 4096)
    caller.map(buffer, at: 0x7300_0000_0000, count: 4096)
    try caller.write([7], to: buffer)
    let offset = try caller.describe(buffer)[long: 24]
    func word() -> UInt8 {
      var byte: UInt8 = 0xEE
      unsafe pread(caller.kernel.memory, &byte, 1, off_t(offset))
      return byte
    }
    #expect(caller.error(Request.free, RawStructure(8, [0: UInt64(buffer)])) == 0)
    #expect(word() == 7)
    caller.kernel.unmapped(caller.client, at: 0x7300_0000_0000)
    #expect(word() == 0)
  }

  @Test func `this process's own memory is read and written where it is`() throws {
    let caller = try RawCaller()
    var value = RawCaller.creation(RawCaller.shared, 4096)
    let error = unsafe value.bytes.withUnsafeMutableBytes { bytes in
      caller.kernel.request(
        caller.client,
        Request.createBuffer,
        UInt64(UInt(bitPattern: bytes.baseAddress)),
        OwnMemory()
      )
    }
    #expect(error == 0)
    #expect(value[word: 28] == 1)
    // A page in the middle of nowhere.
    #expect(OwnMemory().read(0x1000, count: 8) == nil)
    #expect(!OwnMemory().write(0x1000, [1]))
  }
}
