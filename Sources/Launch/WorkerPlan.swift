// The workers of a pipeline before layers are placed: each has a device, threads and CPUs.

/// A worker that is to be started.
package struct WorkerPlan: Sendable {
  package var name: String
  package var device: DeviceKind
  package var threads: Int
  /// The CPUs that its threads are pinned to; nil if there are too few for all workers.
  package var cpus: [Int]?

  /// Resolves the devices and threads of some settings.
  ///
  /// - Parameters:
  ///   - settings: The devices and their threads. If the settings do not name threads, the CPUs are
  ///     distributed evenly.
  ///   - registry: The known devices.
  ///   - available: The CPUs to distribute.
  /// - Returns: One plan for each worker, in pipeline order.
  /// - Throws: `LaunchError` that names the device or number at fault.
  package static func resolve(
    _ settings: PipelineSettings,
    among registry: DeviceRegistry,
    on available: AvailableCPUs = .own
  ) throws(LaunchError) -> [WorkerPlan] {
    var devices = registry.defaultDevices
    if let names = settings.devices {
      devices = try names.map { name throws(LaunchError) in try registry.kind(named: name) }
    }
    let threads =
      settings.threads
      ?? Array(repeating: max(1, available.usableCount / devices.count), count: devices.count)
    guard threads.count == devices.count else {
      throw LaunchError(
        .settings,
        "--threads \(threads.map(String.init).joined(separator: ",")) does not fit \(devices.count) devices; "
          + "give one number for each device"
      )
    }
    let fits = threads.reduce(0, +) <= available.allowed.count
    var counts: [String: Int] = [:]
    var nextCPU = 0
    return zip(devices, threads).map { device, threads in
      defer {
        counts[device.name, default: 0] += 1
        nextCPU += threads
      }
      return WorkerPlan(
        name: "\(device.name)-\(counts[device.name, default: 0])",
        device: device,
        threads: threads,
        cpus: fits ? Array(available.allowed[nextCPU..<(nextCPU + threads)]) : nil
      )
    }
  }
}
