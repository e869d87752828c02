// The state of a worker's machine: its available memory, the device's temperature, what energy it uses.

internal import Compute
internal import Platform
package import Wire

/// The state of the machine that a heartbeat reports.
package struct Vitals: Sendable, Hashable {
  /// 0 if not known.
  package var availableBytes: UInt64
  /// Nil if the machine does not report one.
  package var temperature: Temperature?
  /// What the machine's processors have used since the worker's start; 0 if not known.
  package var energyMicrojoules: UInt64

  package init(
    availableBytes: UInt64 = 0,
    temperature: Temperature? = nil,
    energyMicrojoules: UInt64 = 0
  ) {
    self.availableBytes = availableBytes
    self.temperature = temperature
    self.energyMicrojoules = energyMicrojoules
  }
}

/// Reads the vitals at most once a second, because sensors may take milliseconds to answer and
/// change slowly.
final class VitalsReader {
  private static let interval = Duration.seconds(1)

  private let device: DeviceSensors
  private let sensors = Sensors()
  private var energy = EnergyMeter()
  private var last: (vitals: Vitals, at: ContinuousClock.Instant)?

  init(_ device: DeviceSensors) { self.device = device }

  func read(at now: ContinuousClock.Instant) -> Vitals {
    if let last, now - last.at < Self.interval { return last.vitals }
    let vitals = Vitals(
      availableBytes: SystemMemory.available ?? 0,
      temperature: sensors.temperature(of: device),
      energyMicrojoules: energy.read()
    )
    last = (vitals, now)
    return vitals
  }
}
