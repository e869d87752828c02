// The CPUs that this process may use, and how many of them it can keep busy.

internal import CLinux
internal import Platform

/// The CPUs to distribute among workers.
package struct AvailableCPUs: Sendable, Hashable {
  /// The numbers of the CPUs that threads may run on.
  package var allowed: [Int]
  /// How many CPUs can be kept busy: all of them, unless the quota of a control group allows less.
  ///
  /// With more threads than that, some would always wait for CPU time.
  package var usableCount: Int

  package init(allowed: [Int], usableCount: Int) {
    self.allowed = allowed
    self.usableCount = usableCount
  }

  /// The CPUs of this process.
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
