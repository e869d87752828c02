// The memory of the process that calls the kernel: addresses in requests are read and written through it, so that a
// wrong one is an error and no crash.

internal import Glibc

/// The memory of the process that calls the kernel.
package protocol CallerMemory {
  /// Returns bytes, or nil if not all of them can be read.
  func read(_ address: UInt64, count: Int) -> [UInt8]?
  /// Writes bytes; false if they cannot be written.
  func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool
}

/// This process's own memory.
package struct OwnMemory: CallerMemory {
  package init() {}

  package func read(_ address: UInt64, count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    let moved = unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe LinuxCalls.move(LinuxCalls.readMemory, bytes.baseAddress, address, count)
    }
    return moved ? bytes : nil
  }

  package func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
    var bytes = bytes
    let count = bytes.count
    return unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe LinuxCalls.move(LinuxCalls.writeMemory, bytes.baseAddress, address, count)
    }
  }
}

extension CallerMemory {
  func bytes(_ address: UInt64, _ count: Int) throws(FakeErrno) -> [UInt8] {
    if count == 0 { return [] }
    guard let bytes = read(address, count: count) else { throw FakeErrno(EFAULT) }
    return bytes
  }

  func put(_ address: UInt64, _ bytes: [UInt8]) throws(FakeErrno) {
    guard bytes.isEmpty || write(address, bytes) else { throw FakeErrno(EFAULT) }
  }

  func words(_ address: UInt64, _ count: Int) throws(FakeErrno) -> [UInt32] {
    let bytes = try bytes(address, 4 * count)
    return (0..<count).map { index in
      (0..<4).reduce(0) { $0 | UInt32(bytes[4 * index + $1]) << UInt32(8 * $1) }
    }
  }
}

/// Calls of Linux that Swift's Glibc does not show: they are found by their names in the C library.
@safe enum LinuxCalls {
  typealias Move =
    @convention(c) (
      pid_t, UnsafePointer<iovec>, CUnsignedLong, UnsafePointer<iovec>, CUnsignedLong, CUnsignedLong
    ) -> Int

  static let readMemory = unsafe unsafeBitCast(symbol("process_vm_readv"), to: Move.self)
  static let writeMemory = unsafe unsafeBitCast(symbol("process_vm_writev"), to: Move.self)

  /// Makes a file that is only memory, closed on exec.
  static func memoryFile() -> CInt {
    typealias Create = @convention(c) (UnsafePointer<CChar>, CUnsignedInt) -> CInt
    let create = unsafe unsafeBitCast(symbol("memfd_create"), to: Create.self)
    return unsafe create("npu-fake", 1)
  }

  /// Gives the memory of a part of a file back; it is zero from now on.
  static func release(_ descriptor: CInt, _ offset: Int, _ count: Int) {
    typealias Allocate = @convention(c) (CInt, CInt, off_t, off_t) -> CInt
    let allocate = unsafe unsafeBitCast(symbol("fallocate"), to: Allocate.self)
    // FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE.
    _ = allocate(descriptor, 3, off_t(offset), off_t(count))
  }

  /// Moves bytes between this process and itself; false if not all could be.
  static func move(
    _ call: Move,
    _ own: UnsafeMutableRawPointer?,
    _ address: UInt64,
    _ count: Int
  ) -> Bool {
    if count == 0 { return true }
    let there = unsafe UnsafeMutableRawPointer(bitPattern: UInt(address))
    var (here, other) = unsafe (
      iovec(iov_base: own, iov_len: count), iovec(iov_base: there, iov_len: count)
    )
    return unsafe call(getpid(), &here, 1, &other, 1, 0) == count
  }

  private static func symbol(_ name: String) -> UnsafeMutableRawPointer {
    guard let symbol = unsafe dlsym(nil, name) else {
      preconditionFailure("the C library has no \(name)")
    }
    return unsafe symbol
  }
}

/// The number of an error, as a system call has it.
package struct FakeErrno: Error, Sendable, Hashable {
  package var number: CInt

  package init(_ number: CInt) { self.number = number }
}
