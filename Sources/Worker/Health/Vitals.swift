// The state of a worker's machine: its available memory and the device's temperature.

internal import Compute
internal import Platform
package import Wire

/// The state of the machine that a heartbeat reports.
package struct Vitals: Sendable, Hashable {
  /// 0 if not known.
  package var availableBytes: UInt64
  /// Nil if the machine does not report one.
  package var temperature: Temperature?

  package init(availableBytes: UInt64 = 0, temperature: Temperature? = nil) {
    self.availableBytes = availableBytes
    self.temperature = temperature
  }
}

/// Reads the vitals at most once a second, because sensors may take milliseconds to answer and
/// change slowly.
final class VitalsReader {
  private static let interval = Duration.seconds(1)

  private let device: DeviceSensors
  private let sensors = Sensors()
  private var last: (vitals: Vitals, at: ContinuousClock.Instant)?

  init(_ device: DeviceSensors) { self.device = device }

  func read(at now: ContinuousClock.Instant) -> Vitals {
    if let last, now - last.at < Self.interval { return last.vitals }
    let vitals = Vitals(
      availableBytes: SystemMemory.available ?? 0,
      temperature: sensors.temperature(of: device)
    )
    last = (vitals, now)
    return vitals
  }
}
