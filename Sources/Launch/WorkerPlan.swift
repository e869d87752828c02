// The workers of a pipeline before layers are placed: each has a device, threads and CPUs.

internal import Compute

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
    if let names = settings.devices ?? (settings.emulates ? devices.map(\.name) : nil) {
      devices = try registry.kinds(named: names, emulates: settings.emulates)
    }
    let threads = settings.threads ?? share(available.usableCount, among: devices)
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
        // vulkan1-0 is the first worker on vulkan:1; a colon would divide addresses.
        name: "\(device.name.filter { $0 != ":" })-\(counts[device.name, default: 0])",
        device: device,
        threads: threads,
        cpus: fits ? Array(available.allowed[nextCPU..<(nextCPU + threads)]) : nil
      )
    }
  }

  /// Returns the threads of each device: a device that takes only some of the host's, whatever it is
  /// offered, has those, and the others share what is left.
  private static func share(_ count: Int, among devices: [DeviceKind]) -> [Int] {
    let taken: [Int?] = devices.map { device in
      // One that is elsewhere cannot be described here, and is offered its share.
      guard let own = try? device.describe(BackendSettings(threads: count)).hostThreads,
        own < count
      else { return nil }
      return max(1, own)
    }
    let sharers = taken.count { $0 == nil }
    let left = count - taken.reduce(0) { $0 + ($1 ?? 0) }
    let share = max(1, left / max(1, sharers))
    return taken.map { $0 ?? share }
  }

  /// How fast the device is thought to be where it cannot be measured, in threads of a CPU.
  ///
  /// As its backend says, or as it has threads where it cannot be described, because it is elsewhere.
  var rateHint: Int {
    let settings = BackendSettings(threads: threads, cpus: cpus)
    return (try? device.describe(settings).rateHint) ?? threads
  }

  /// Whether software stands in for the silicon; false where the device cannot be described.
  var isEmulated: Bool {
    let settings = BackendSettings(threads: threads, cpus: cpus)
    return (try? device.describe(settings).isEmulated) ?? false
  }
}
