// Temperatures as the kernel reports them. A temperature that it does not report is nil, never 0.

package import Compute
package import Wire

/// The sensors below a directory with the layout of /sys.
///
/// hwmon: Documentation/hwmon/sysfs-interface.rst (`temp*_input` in millidegrees, `temp*_label`,
/// `name`). Thermal zones: Documentation/driver-api/thermal/sysfs-api.rst (`type`, `temp`).
package struct Sensors: Sendable {
  // Some boards report -128 °C or 255 °C for an absent sensor.
  private static let plausible = -60.0...150.0

  private let root: String

  package init(root: String = "/sys") { self.root = root }

  /// Returns the hottest of a device's sensors; nil if none is known or readable.
  package func temperature(of device: DeviceSensors) -> Temperature? {
    let readings = hardwareMonitors(device.monitors)
    let found = readings.isEmpty ? thermalZones(device.zones) : readings
    return found.max { $0.celsius < $1.celsius }
  }

  private func hardwareMonitors(_ names: [String]) -> [Temperature] {
    SystemFiles.entries("\(root)/class/hwmon").flatMap { chip -> [Temperature] in
      let directory = "\(root)/class/hwmon/\(chip)"
      guard let name = SystemFiles.line("\(directory)/name"), names.contains(name) else {
        return []
      }
      return SystemFiles.entries(directory).compactMap { entry in
        guard entry.hasPrefix("temp"), entry.hasSuffix("_input"),
          let celsius = celsius("\(directory)/\(entry)")
        else { return nil }
        let label =
          SystemFiles.line("\(directory)/\(entry.dropLast(6))_label") ?? String(entry.dropLast(6))
        return Temperature(sensor: "\(name) \(label)", celsius: celsius)
      }
    }
  }

  private func thermalZones(_ types: [String]) -> [Temperature] {
    SystemFiles.entries("\(root)/class/thermal").compactMap { zone in
      let directory = "\(root)/class/thermal/\(zone)"
      guard zone.hasPrefix("thermal_zone"), let type = SystemFiles.line("\(directory)/type"),
        types.contains(type), let celsius = celsius("\(directory)/temp")
      else { return nil }
      return Temperature(sensor: type, celsius: celsius)
    }
  }

  private func celsius(_ path: String) -> Double? {
    guard let text = SystemFiles.line(path), let millidegrees = Int(text) else { return nil }
    let celsius = Double(millidegrees) / 1000
    return Self.plausible.contains(celsius) ? celsius : nil
  }
}
