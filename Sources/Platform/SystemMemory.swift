// How much memory there is: in the machine, available, and held by this process. If a control group
// limits this process, its limit counts as the machine's memory.

internal import Glibc

/// Memory of the machine and of this process, in bytes.
package enum SystemMemory {
  /// Physical memory of the machine, or the limit of this process's control group if that is less.
  package static var total: UInt64 {
    min(pageCount(_SC_PHYS_PAGES) * pageByteCount, ControlGroup.own.memoryBytes ?? .max)
  }

  /// The memory that Linux says is available without swapping (`MemAvailable`, proc_meminfo(5)), or
  /// what the control group has left if that is less; nil if the kernel does not tell.
  package static var available: UInt64? {
    guard let text = firstBytes(of: "/proc/meminfo"), let free = available(inMeminfo: text) else {
      return nil
    }
    return min(free, ControlGroup.own.availableMemoryBytes ?? .max)
  }

  /// Bytes of this process that are resident, mapped files included: the second number of
  /// /proc/self/statm, in pages (proc_pid_statm(5)); 0 if the kernel does not tell.
  package static var resident: UInt64 {
    let fields = firstBytes(of: "/proc/self/statm")?.split(separator: " ") ?? []
    guard fields.count > 1, let pages = UInt64(fields[1]) else { return 0 }
    return pages * pageByteCount
  }

  /// Returns the bytes of `MemAvailable` in the text of /proc/meminfo; nil if it has none.
  package static func available(inMeminfo text: String) -> UInt64? {
    for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      let fields = line.split(separator: " ")
      guard fields.count == 3, fields[2] == "kB", let kibibytes = UInt64(fields[1]) else {
        return nil
      }
      let (bytes, overflow) = kibibytes.multipliedReportingOverflow(by: 1024)
      return overflow ? nil : bytes
    }
    return nil
  }

  private static var pageByteCount: UInt64 { pageCount(_SC_PAGESIZE) }

  /// Returns a number from `sysconf`; 0 if the system does not know it.
  private static func pageCount(_ name: Int) -> UInt64 { UInt64(max(0, sysconf(CInt(name)))) }

  /// Returns the first page of a file of the kernel; every number read here lies within it.
  private static func firstBytes(of path: String) -> String? {
    guard let file = unsafe fopen(path, "r") else { return nil }
    defer { unsafe fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
