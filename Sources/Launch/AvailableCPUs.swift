// The CPUs that this process may use, and how many of them it can keep busy.

internal import CLinux
internal import Platform

/// CPUs to share out among workers.
package struct AvailableCPUs: Sendable, Hashable {
  /// The numbers of those that threads may run on.
  package var allowed: [Int]
  /// How many can be kept busy: all of them, unless a control group has time for fewer.
  ///
  /// More threads than that would only wait for one another.
  package var usableCount: Int

  package init(allowed: [Int], usableCount: Int) {
    self.allowed = allowed
    self.usableCount = usableCount
  }

  /// Those of this process.
  package static var own: AvailableCPUs {
    var cpus = [CInt](repeating: 0, count: 1024)
    let count = unsafe clinux_allowed_cpus(&cpus, CInt(cpus.count))
    let allowed = count > 0 ? cpus.prefix(Int(count)).map(Int.init) : [0]
    guard let quota = ControlGroup.own.cpus else {
      return AvailableCPUs(allowed: allowed, usableCount: allowed.count)
    }
    let usable = max(1, min(allowed.count, Int(min(1e6, quota.rounded(.up)))))
    return AvailableCPUs(allowed: allowed, usableCount: usable)
  }
}
