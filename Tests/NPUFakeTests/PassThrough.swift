// A context with the smallest design, through which words pass, put together by raw requests.

import Glibc
import NPUArray

/// A caller that has all that a command needs.
final class PassThrough {
  static let count = 64
  let caller: RawCaller
  let heap: UInt32
  let image: UInt32
  let code: UInt32
  let input: UInt32
  let output: UInt32
  let codeWords: Int
  let codeAddress: UInt64
  private(set) var context: UInt32 = 0
  private(set) var timeline: UInt32 = 0
  let inputAddress: UInt64 = 0x7100_0000_0000
  let outputAddress: UInt64 = 0x7200_0000_0000
  let words = (0..<UInt32(PassThrough.count)).map { $0 &* 0x9E37_79B9 }

  /// A kernel with faults, where one step may be forgotten, and words may be waited for that never come.
  init(_ faults: [String] = [], without mistake: Step? = nil, missing: Int = 0) throws {
    caller = try RawCaller(faults)
    heap = try caller.makeHeap()
    let design = BringUp.passThrough(column: 0, words: 16)
    let image = try design.compiled().image
    let code = ControlCode.words(
      of: try HostCall.operations(for: [
        HostTransfer(.outOfMemory, column: 0, argument: 0, words: Self.count),
        HostTransfer(.intoMemory, column: 0, argument: 1, words: Self.count + missing),
      ])
    )
    self.image = try caller.create(RawCaller.device, UInt64(4 * image.count))
    try caller.write(image, to: self.image, heap: heap)
    if mistake != .image { try caller.sync(self.image, 4 * image.count) }
    self.code = try caller.create(RawCaller.device, UInt64(4 * code.count))
    codeWords = code.count
    codeAddress = try caller.describe(self.code)[long: 40]
    try caller.write(code, to: self.code, heap: heap)
    if mistake != .code { try caller.sync(self.code, 4 * code.count) }
    input = try caller.create(RawCaller.shared, UInt64(4 * Self.count))
    output = try caller.create(RawCaller.shared, UInt64(4 * Self.count))
    caller.map(input, at: inputAddress, count: 4096)
    caller.map(output, at: outputAddress, count: 4096)
    try caller.write(words, to: input)
    if mistake != .input { try caller.sync(input, 4 * Self.count) }
    try makeContext()
  }

  /// What can be forgotten.
  enum Step { case image, code, input }

  func makeContext() throws {
    let made = try caller.answer(Request.createContext, caller.contextCreation())
    (context, timeline) = (made[word: 48], made[word: 52])
    _ = try caller.answer(Request.configure, caller.configuration(context, [image]))
  }

  /// The words of a packet: a START_CU.
  func packetWords(unit: UInt32 = 0, length: Int? = nil) -> [UInt32] {
    func halves(_ value: UInt64) -> [UInt32] {
      [UInt32(truncatingIfNeeded: value), UInt32(value >> 32)]
    }
    var payload: [UInt32] = [1 << unit, 3, 0]
    payload += halves(codeAddress)
    payload.append(UInt32(length ?? codeWords))
    payload += halves(inputAddress)
    payload += halves(outputAddress)
    return [1 | UInt32(payload.count) << 12] + payload
  }

  /// A buffer with a packet.
  func packet(_ words: [UInt32]? = nil) throws -> UInt32 {
    let packet = try caller.create(RawCaller.command, 4096)
    try caller.write(words ?? packetWords(), to: packet)
    return packet
  }

  /// A buffer with a chain of packets.
  func chain(_ packets: [UInt32]) throws -> UInt32 {
    let payload: [UInt32] =
      [UInt32(packets.count), 0, 0, 0, 0, 0] + packets.flatMap { [$0, 0] }
    let header: UInt32 = 1 | UInt32(payload.count) << 12 | 19 << 23
    return try packet([header] + payload)
  }

  /// An EXEC_CMD that is right.
  func execution(_ packet: UInt32, named: [UInt32]? = nil) -> RawStructure {
    let handles = named ?? [code, input, output]
    var list = RawStructure(4 * handles.count)
    for (index, handle) in handles.enumerated() { list[word: 4 * index] = handle }
    return RawStructure(
      56,
      [
        16: UInt64(context), 24: UInt64(packet), 32: caller.arena.put(list.bytes),
        40: 1 | UInt64(handles.count) << 32,
      ]
    )
  }

  func submit(_ packet: UInt32, named: [UInt32]? = nil) throws -> UInt64 {
    try caller.answer(Request.execute, execution(packet, named: named))[long: 48]
  }

  /// A wait for a point of the timeline.
  func waiting(_ point: UInt64, deadline: Int64 = .max, flags: UInt32 = 2) -> RawStructure {
    let handles = caller.arena.put(RawStructure(8, [0: UInt64(timeline)]).bytes)
    let points = caller.arena.put(RawStructure(8, [0: point]).bytes)
    let numbers = 1 | UInt64(flags) << 32
    return RawStructure(
      40,
      [0: handles, 8: points, 16: UInt64(bitPattern: deadline), 24: numbers]
    )
  }

  func wait(_ point: UInt64) -> CInt { caller.error(Request.wait, waiting(point)) }

  func state(_ packet: UInt32) throws -> UInt32 { try caller.read(1, from: packet)[0] & 0xF }

  /// Does a command, and returns the error of the wait and its state.
  func run(_ packet: UInt32? = nil, named: [UInt32]? = nil) throws -> (wait: CInt, state: UInt32) {
    let packet = try packet ?? self.packet()
    let error = wait(try submit(packet, named: named))
    return (error, try state(packet))
  }

  /// What the array has written, as the process sees it.
  func result() throws -> [UInt32] {
    try caller.sync(output, from: true, 4 * Self.count)
    return try caller.read(Self.count, from: output)
  }
}
