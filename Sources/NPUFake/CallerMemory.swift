// The memory of the process that calls the kernel: addresses in requests are read and written through it, so that a
// wrong one is an error and no crash.

internal import CLinux
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
    return unsafe clinux_read_memory(address, &bytes, count) ? bytes : nil
  }

  package func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
    unsafe clinux_write_memory(address, bytes, bytes.count)
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

/// The number of an error, as a system call has it.
package struct FakeErrno: Error, Sendable, Hashable {
  package var number: CInt

  package init(_ number: CInt) { self.number = number }
}
