// Whether SIGKILL ended a worker because memory ran out (the kernel's OOM killer); the signal alone
// does not tell.

internal import Glibc
internal import Platform

/// The kernel's counts of processes that it has killed for lack of memory, as last read.
struct MemoryKills {
  private var inGroup: UInt64
  private var inAll: UInt64

  init() { (inGroup, inAll) = Self.read() }

  /// Returns a clause on the cause of a child's end, from its status of wait(2); empty if memory
  /// had no part in it.
  mutating func cause(ofEnd status: CInt) -> String {
    guard status & 0x7F == SIGKILL else { return "" }
    let now = Self.read()
    defer { (inGroup, inAll) = now }
    if now.inGroup > inGroup {
      return " for lack of memory: the limit of its control group is reached"
    }
    return now.inAll > inAll ? " while the kernel ended processes for lack of memory" : ""
  }

  private static func read() -> (inGroup: UInt64, inAll: UInt64) {
    (ControlGroup.own.memoryKills ?? 0, ControlGroup.memoryKillsOfMachine ?? 0)
  }
}
