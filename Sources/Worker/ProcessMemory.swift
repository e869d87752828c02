// How much memory this process holds, and how much the machine has.

internal import Glibc
internal import Wire

enum ProcessMemory {
  /// Bytes of this process that are in memory, mapped files included: the second number of
  /// /proc/self/statm, in pages (proc(5)).
  static var resident: UInt64 {
    guard let file = unsafe fopen("/proc/self/statm", "r") else { return 0 }
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard unsafe fgets(&line, CInt(line.count), file) != nil else { return 0 }
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let fields = text.split(separator: " ")
    guard fields.count > 1, let pages = UInt64(fields[1]) else { return 0 }
    return pages * UInt64(sysconf(CInt(_SC_PAGESIZE)))
  }

  /// Bytes of physical memory in the machine, or what this process's control group may use of them.
  static var total: UInt64 {
    let pages = UInt64(max(0, sysconf(CInt(_SC_PHYS_PAGES))))
    let machine = pages * UInt64(max(0, sysconf(CInt(_SC_PAGESIZE))))
    return min(machine, ControlGroup.own.memoryBytes ?? .max)
  }
}
