// How the machine of a worker is: memory that is left, and the device's temperature.

internal import Foundation
package import Wire

/// What a heartbeat tells of the machine.
package struct Vitals: Sendable, Hashable {
  /// 0 if not known.
  package var availableBytes: UInt64
  /// Nil if the machine does not tell.
  package var temperature: Temperature?

  package init(availableBytes: UInt64 = 0, temperature: Temperature? = nil) {
    self.availableBytes = availableBytes
    self.temperature = temperature
  }

  /// Returns the bytes of `MemAvailable` in the text of /proc/meminfo (proc(5)); 0 if it has none.
  static func availableBytes(inMeminfo text: String) -> UInt64 {
    for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      let fields = line.split(separator: " ")
      guard fields.count == 3, fields[2] == "kB", let kibibytes = UInt64(fields[1]) else {
        return 0
      }
      return kibibytes.multipliedReportingOverflow(by: 1024).partialValue
    }
    return 0
  }
}

/// Reads the vitals now and then: sensors may take milliseconds to answer, and do not change faster.
final class VitalsReader {
  private static let interval = Duration.seconds(1)

  private let device: String
  private let sensors = Sensors()
  private var last: (vitals: Vitals, at: ContinuousClock.Instant)?

  init(device: String) { self.device = device }

  func read(at now: ContinuousClock.Instant) -> Vitals {
    if let last, now - last.at < Self.interval { return last.vitals }
    let meminfo = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    let vitals = Vitals(
      availableBytes: min(
        Vitals.availableBytes(inMeminfo: meminfo),
        ControlGroup.own.availableMemoryBytes ?? .max
      ),
      temperature: sensors.temperature(of: device)
    )
    last = (vitals, now)
    return vitals
  }
}
