// The kernel's driver of an NPU as its callers see it: numbers of requests and structures in their memory. Commands are
// done by the simulated array.
//
// It is deterministic: no thread of its own works. A command is done when it is waited for, or when a fifth is queued
// behind three others. It is stricter than the driver where that shows mistakes: fields that the driver ignores must
// be zero, what the device sees of a buffer is a copy that only SYNC_BO renews, and a command must name all it uses.

internal import CAMDXDNA
internal import Glibc
internal import Synchronization

// @unchecked Sendable: `device` is touched only while `lock` is held.
@safe package final class FakeKernel: @unchecked Sendable {
  private let lock = Mutex<Void>(())
  private let device: FakeDevice
  private let waitsForDeadlines: Bool

  /// A file with the pages of all buffers; a buffer's are where GET_BO_INFO says.
  package let memory: CInt

  /// - Parameters:
  ///   - faults: What goes wrong.
  ///   - waitsForDeadlines: Whether a wait that ends with ETIME lasts until its deadline, as in a real kernel, or
  ///     ends at once.
  package init(faults: [FakeFault] = [], waitsForDeadlines: Bool = true) {
    device = FakeDevice(faults)
    self.waitsForDeadlines = waitsForDeadlines
    memory = device.pages.descriptor
  }

  deinit { device.pages.close() }

  /// Opens the node anew.
  ///
  /// - Returns: The number of the client.
  /// - Throws: What open(2) would fail with.
  package func open() throws(FakeErrno) -> Int {
    try lock.withLock { _ throws(FakeErrno) in try device.open() }
  }

  /// Does a request.
  ///
  /// - Parameters:
  ///   - client: From `open`.
  ///   - request: The raw number; the kernel goes by its lowest byte.
  ///   - argument: Where the structure is in the caller's memory.
  ///   - memory: The caller's memory.
  /// - Returns: 0, or the positive number of an error.
  package func request(
    _ client: Int,
    _ request: UInt32,
    _ argument: UInt64,
    _ memory: any CallerMemory
  ) -> CInt {
    do throws(FakeErrno) {
      let deadline = try lock.withLock { _ throws(FakeErrno) in
        try device.request(client, FakeCall(request, argument, memory))
      }
      guard let deadline else { return 0 }
      if waitsForDeadlines { Self.sleep(until: deadline) }
      return ETIME
    } catch {
      return error.number
    }
  }

  /// Tells where the caller has mapped pages.
  package func mapped(_ client: Int, offset: UInt64, count: Int, at address: UInt64) {
    lock.withLock { _ in
      device.clients[client]?.mappings.append(
        FakeMapping(address: address, count: UInt64(count), offset: offset)
      )
    }
  }

  /// Tells that the caller has unmapped what it had mapped at an address.
  package func unmapped(_ client: Int, at address: UInt64) {
    lock.withLock { _ in device.unmapped(client, at: address) }
  }

  /// Closes the node for a client, which frees all that it had.
  package func close(_ client: Int) {
    lock.withLock { _ in device.close(client) }
  }

  package var statistics: FakeStatistics { lock.withLock { _ in device.statistics } }

  private static func sleep(until deadline: Int64) {
    var time = timespec(
      tv_sec: Int(deadline / 1_000_000_000),
      tv_nsec: Int(deadline % 1_000_000_000)
    )
    while unsafe clock_nanosleep(CLOCK_MONOTONIC, CInt(TIMER_ABSTIME), &time, nil) == EINTR {}
  }
}

/// A request on its way through the kernel.
struct FakeCall {
  let number: Int
  private let isRead: Bool
  private let isWritten: Bool
  private let size: Int
  private let argument: UInt64
  let memory: any CallerMemory
  let isOurs: Bool

  init(_ request: UInt32, _ argument: UInt64, _ memory: any CallerMemory) {
    number = Int(request & 0xFF)
    isOurs = request >> 8 & 0xFF == UInt32(UInt8(ascii: "d"))
    isRead = request >> 30 & 1 != 0
    isWritten = request >> 31 != 0
    size = Int(request >> 16 & 0x3FFF)
    self.argument = argument
    self.memory = memory
  }

  /// Has a structure answered: as many bytes are copied, each way, as both sides know.
  func answer<Structure: BitwiseCopyable, Result>(
    _ empty: Structure,
    _ body: (inout Structure) throws(FakeErrno) -> Result
  ) throws(FakeErrno) -> Result {
    let count = min(size, MemoryLayout<Structure>.size)
    var value = structure(isRead ? try memory.bytes(argument, count) : [], over: empty)
    let result = try body(&value)
    // The rest of a longer structure is zero, as far as the kernel knows.
    if isWritten { try memory.put(argument, Array(bytes(of: value).prefix(count))) }
    return result
  }
}

/// A structure of C whose first bytes are given; the others are those of another one.
func structure<Structure: BitwiseCopyable>(
  _ bytes: [UInt8],
  over empty: Structure
) -> Structure {
  var value = empty
  unsafe withUnsafeMutableBytes(of: &value) { own in
    unsafe own.copyBytes(from: bytes.prefix(own.count))
  }
  return value
}

/// The bytes of a structure of C.
func bytes<Structure: BitwiseCopyable>(of value: Structure) -> [UInt8] {
  unsafe withUnsafeBytes(of: value) { unsafe Array($0) }
}
