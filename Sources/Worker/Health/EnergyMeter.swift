// The energy that a machine's processors use, by the counters that they keep themselves.

/// Adds up the counters of all processor packages below a directory with the layout of /sys.
///
/// Documentation/power/powercap/powercap.rst: a zone `intel-rapl:N` is a package, on AMD's processors as well,
/// its `energy_uj` counts microjoules and begins again at 0 after `max_energy_range_uj`. Since Linux 5.10 only
/// root may read it, unless the machine's owner says otherwise.
package struct EnergyMeter: Sendable {
  private struct Package {
    var directory: String
    var last: UInt64
    var range: UInt64
  }

  private var packages: [Package] = []
  private var total: UInt64 = 0

  package init(root: String = "/sys") {
    for name in SystemFiles.entries("\(root)/class/powercap") {
      // `intel-rapl:0:0` is a part of `intel-rapl:0`.
      guard name.hasPrefix("intel-rapl:"), name.split(separator: ":").count == 2 else { continue }
      let directory = "\(root)/class/powercap/\(name)"
      guard let energy = Self.number("\(directory)/energy_uj") else { continue }
      let range = Self.number("\(directory)/max_energy_range_uj") ?? 0
      packages.append(Package(directory: directory, last: energy, range: range))
    }
  }

  /// Returns the microjoules used since the meter was made; 0 if no package tells.
  ///
  /// A counter begins again after some minutes of full load, and is right only if it is read more often.
  package mutating func read() -> UInt64 {
    for index in packages.indices {
      guard let energy = Self.number("\(packages[index].directory)/energy_uj") else { continue }
      let last = packages[index].last
      packages[index].last = energy
      if energy >= last {
        total += energy - last
      } else if last <= packages[index].range {
        total += packages[index].range - last + energy
      }
    }
    return total
  }

  private static func number(_ path: String) -> UInt64? {
    guard let number = SystemFiles.line(path).flatMap(UInt64.init), number < 1 << 62 else {
      return nil
    }
    return number
  }
}
