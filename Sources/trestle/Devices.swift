// The devices this program knows, and how a worker for each is made. The only place where a device's
// name meets its backend.

import CLinux
import Compute
import Coordinator
import CPUBackend
import Platform

/// A kind of device, as the command line names it.
enum DeviceKind: String, CaseIterable {
  case cpu
  case reference

  /// Looks a name up; those planned but not built in are refused by name.
  init(named name: String) throws {
    if let kind = Self(rawValue: name) {
      self = kind
      return
    }
    let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
    switch name {
    case "vulkan", "npu":
      throw CommandError("device \(name): this version has no backend for it; use \(known)")
    default: throw CommandError("unknown device \"\(name)\"; use \(known)")
    }
  }

  /// What `up` uses when no devices are given.
  static let found: [DeviceKind] = [.cpu]

  /// The reference backend keeps f32, whatever the cache type.
  func makeBackend(
    threads: Int,
    pinnedTo cpus: [Int]?,
    cacheType: CacheType?
  ) throws -> any Backend {
    let memory = SystemMemory.total
    return switch self {
    case .cpu:
      try CPU(
        threads: threads,
        pinnedTo: cpus,
        cacheType: cacheType,
        memoryByteCount: memory
      )
    case .reference: ReferenceBackend(threads: threads, memoryByteCount: memory)
    }
  }
}

/// The workers of a pipeline, before they have layers.
struct WorkerPlan {
  var name: String
  var device: DeviceKind
  var threads: Int
  /// The CPUs its threads stay on; nil where there are not enough for all.
  var cpus: [Int]?

  /// Resolves `--devices` and `--threads`.
  static func resolve(_ options: PipelineOptions) throws -> [WorkerPlan] {
    let names = options.devices?.split(separator: ",", omittingEmptySubsequences: false)
    let devices = try names?.map { try DeviceKind(named: String($0)) } ?? DeviceKind.found
    let allowed = allowedCPUs()
    let threads =
      options.threads?.values
      ?? Array(repeating: max(1, usableCPUCount() / devices.count), count: devices.count)
    guard threads.count == devices.count else {
      throw CommandError(
        "--threads names \(threads.count) workers, --devices \(devices.count); give one number a device"
      )
    }
    let fits = threads.reduce(0, +) <= allowed.count
    var counts: [DeviceKind: Int] = [:]
    var nextCPU = 0
    return zip(devices, threads).map { device, threads in
      defer {
        counts[device, default: 0] += 1
        nextCPU += threads
      }
      return WorkerPlan(
        name: "\(device.rawValue)-\(counts[device, default: 0])",
        device: device,
        threads: threads,
        cpus: fits ? Array(allowed[nextCPU..<(nextCPU + threads)]) : nil
      )
    }
  }
}

/// Returns how many CPUs this process can keep busy.
///
/// Those it may run on, unless its control group has time for fewer: more threads than that would only
/// wait for one another.
func usableCPUCount() -> Int {
  let allowed = allowedCPUs().count
  guard let quota = ControlGroup.own.cpus else { return allowed }
  return max(1, min(allowed, Int(min(1e6, quota.rounded(.up)))))
}

/// Returns the CPUs this process may run on.
func allowedCPUs() -> [Int] {
  var cpus = [CInt](repeating: 0, count: 1024)
  let count = unsafe clinux_allowed_cpus(&cpus, CInt(cpus.count))
  return count > 0 ? cpus.prefix(Int(count)).map(Int.init) : [0]
}
