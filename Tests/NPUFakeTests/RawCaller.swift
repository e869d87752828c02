// A caller of the kernel that puts its structures together byte by byte: what is tested is what a process would send.

import Glibc
import NPUFake

/// A structure as its bytes.
struct RawStructure {
  var bytes: [UInt8]

  init(_ count: Int, _ fields: [Int: UInt64] = [:]) {
    bytes = Array(repeating: 0, count: count)
    for (place, value) in fields { self[long: place] = value }
  }

  subscript(word place: Int) -> UInt32 {
    get { UInt32(truncatingIfNeeded: number(place, 4)) }
    set { set(place, 4, UInt64(newValue)) }
  }

  subscript(long place: Int) -> UInt64 {
    get { number(place, 8) }
    set { set(place, 8, newValue) }
  }

  private func number(_ place: Int, _ size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(bytes[place + $1]) << UInt64(8 * $1) }
  }

  private mutating func set(_ place: Int, _ size: Int, _ value: UInt64) {
    for index in 0..<size {
      bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
    }
  }
}

/// A process's memory: what is put into it, from `base` on, and nothing else.
final class Arena: CallerMemory {
  static let base: UInt64 = 0x10_0000
  private(set) var bytes: [UInt8] = []

  func put(_ more: [UInt8]) -> UInt64 {
    defer { bytes += more }
    return Self.base + UInt64(bytes.count)
  }

  private func range(_ address: UInt64, _ count: Int) -> Range<Int>? {
    guard address >= Self.base, let place = Int(exactly: address - Self.base),
      place <= bytes.count, count <= bytes.count - place
    else { return nil }
    return place..<place + count
  }

  func read(_ address: UInt64, count: Int) -> [UInt8]? {
    range(address, count).map { Array(bytes[$0]) }
  }

  func write(_ address: UInt64, _ more: [UInt8]) -> Bool {
    guard let range = range(address, more.count) else { return false }
    bytes.replaceSubrange(range, with: more)
    return true
  }
}

/// The requests, as numbers.
enum Request {
  static let version: UInt32 = 0xC040_6400
  static let free: UInt32 = 0x4008_6409
  static let createContext: UInt32 = 0xC038_6440
  static let destroyContext: UInt32 = 0xC008_6441
  static let configure: UInt32 = 0xC018_6442
  static let createBuffer: UInt32 = 0xC020_6443
  static let describe: UInt32 = 0xC030_6444
  static let sync: UInt32 = 0xC018_6445
  static let execute: UInt32 = 0xC038_6446
  static let information: UInt32 = 0xC010_6447
  static let destroyTimeline: UInt32 = 0xC008_64C0
  static let wait: UInt32 = 0xC028_64CA
}

/// A request that failed though it should not.
struct Refused: Error { var error: CInt }

/// A process that has opened the node.
final class RawCaller {
  static let (shared, heap, device, command): (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)
  static let heapBytes: UInt64 = 64 << 20

  let kernel: FakeKernel
  let client: Int
  let arena = Arena()

  init(_ faults: [String] = []) throws {
    kernel = FakeKernel(
      faults: faults.compactMap { FakeFault(parsing: $0) },
      waitsForDeadlines: false
    )
    client = try kernel.open()
  }

  /// Does a request, and returns its error; the structure has its answer.
  func call(_ request: UInt32, _ value: inout RawStructure) -> CInt {
    let address = arena.put(value.bytes)
    let error = kernel.request(client, request, address, arena)
    value.bytes = arena.read(address, count: value.bytes.count) ?? []
    return error
  }

  func error(_ request: UInt32, _ value: RawStructure) -> CInt {
    var value = value
    return call(request, &value)
  }

  func answer(_ request: UInt32, _ value: RawStructure) throws -> RawStructure {
    var value = value
    let error = call(request, &value)
    guard error == 0 else { throw Refused(error: error) }
    return value
  }

  // MARK: Buffers

  static func creation(_ type: UInt64, _ size: UInt64) -> RawStructure {
    RawStructure(32, [16: size, 24: type])
  }

  func create(_ type: UInt64, _ size: UInt64) throws -> UInt32 {
    try answer(Request.createBuffer, Self.creation(type, size))[word: 28]
  }

  func describe(_ handle: UInt32) throws -> RawStructure {
    try answer(Request.describe, RawStructure(48, [16: UInt64(handle)]))
  }

  static func synchronisation(_ handle: UInt32, from: Bool, _ count: Int) -> RawStructure {
    RawStructure(24, [0: UInt64(handle) | (from ? 1 << 32 : 0), 16: UInt64(count)])
  }

  func sync(_ handle: UInt32, from: Bool = false, _ count: Int) throws {
    _ = try answer(Request.sync, Self.synchronisation(handle, from: from, count))
  }

  /// Makes the heap, and maps it where it must be.
  @discardableResult
  func makeHeap(at address: UInt64 = 0x7000_0000_0000) throws -> UInt32 {
    let heap = try create(Self.heap, Self.heapBytes)
    map(heap, at: address, count: Int(Self.heapBytes))
    return heap
  }

  func map(_ handle: UInt32, at address: UInt64, count: Int) {
    guard let offset = try? describe(handle)[long: 24] else { return }
    kernel.mapped(client, offset: offset, count: count, at: address)
  }

  // MARK: Pages

  /// Where a buffer's pages are in the file: those of the heap for what is in it.
  private func pages(_ handle: UInt32, heap: UInt32?) throws -> UInt64 {
    let own = try describe(handle)
    guard own[long: 24] == .max, let heap else { return own[long: 24] }
    return try describe(heap)[long: 24] + own[long: 40] - 0x400_0000
  }

  func write(_ words: [UInt32], to handle: UInt32, heap: UInt32? = nil) throws {
    let offset = try pages(handle, heap: heap)
    let count = unsafe words.withUnsafeBytes {
      unsafe pwrite(kernel.memory, $0.baseAddress, $0.count, off_t(offset))
    }
    guard count == 4 * words.count else { throw Refused(error: errno) }
  }

  func read(_ count: Int, from handle: UInt32) throws -> [UInt32] {
    let offset = try pages(handle, heap: nil)
    var words = [UInt32](repeating: 0, count: count)
    let read = unsafe words.withUnsafeMutableBytes {
      unsafe pread(kernel.memory, $0.baseAddress, $0.count, off_t(offset))
    }
    guard read == 4 * count else { throw Refused(error: errno) }
    return words
  }

  // MARK: Contexts

  /// A CREATE_HWCTX that is right.
  func contextCreation(tiles: UInt32 = 16) -> RawStructure {
    var value = RawStructure(56, [16: arena.put(Array(repeating: 0, count: 24))])
    value[word: 32] = 2048
    value[word: 36] = tiles
    return value
  }

  /// The payload of a CONFIG_CU.
  func units(_ handles: [UInt32]) -> (address: UInt64, count: UInt64) {
    var value = RawStructure(8 + 8 * handles.count)
    value[word: 0] = UInt32(handles.count)
    for (index, handle) in handles.enumerated() { value[word: 8 + 8 * index] = handle }
    return (arena.put(value.bytes), UInt64(value.bytes.count))
  }

  func configuration(_ context: UInt32, _ handles: [UInt32]) -> RawStructure {
    let (address, count) = units(handles)
    return RawStructure(24, [0: UInt64(context), 8: address, 16: count])
  }
}
