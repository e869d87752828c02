// Whether a worker that was ended by SIGKILL was ended for lack of memory: the signal alone does not say.

internal import Glibc
internal import Platform

/// The kernel's counts of processes ended for lack of memory, as they were last seen.
struct MemoryKills {
  private var inGroup: UInt64
  private var inAll: UInt64

  init() { (inGroup, inAll) = Self.read() }

  /// Returns what to say of a child's end, by its status of wait(2); nothing if memory had no part in it.
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
