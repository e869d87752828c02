// The kinds of devices that a program can use, as values. This module knows their names and
// settings; the program supplies the backend of each name.

package import Compute

/// How a worker uses its device.
package struct BackendSettings: Sendable {
  package var threads: Int
  /// The CPUs that its threads are pinned to; nil for any.
  package var cpus: [Int]?
  /// The type in which keys and values are stored; nil for the backend's default.
  package var cacheType: CacheType?

  package init(threads: Int, cpus: [Int]? = nil, cacheType: CacheType? = nil) {
    self.threads = threads
    self.cpus = cpus
    self.cacheType = cacheType
  }
}

/// A kind of device, as the command line names it.
package struct DeviceKind: Sendable {
  package let name: String
  /// Returns what a backend with these settings says of its device, or throws why there is none here.
  package let describe: @Sendable (BackendSettings) throws -> DeviceDescription
  /// Makes its backend.
  package let makeBackend: @Sendable (BackendSettings) throws -> any Backend

  /// - Parameters:
  ///   - name: As the command line says it.
  ///   - describe: Describes the device without making a backend, where that is cheaper; nil to make one.
  ///   - makeBackend: Makes its backend.
  package init(
    _ name: String,
    describe: (@Sendable (BackendSettings) throws -> DeviceDescription)? = nil,
    makeBackend: @escaping @Sendable (BackendSettings) throws -> any Backend
  ) {
    self.name = name
    self.describe = describe ?? { try makeBackend($0).device }
    self.makeBackend = makeBackend
  }
}

/// All kinds of devices of a program.
package struct DeviceRegistry: Sendable {
  package let kinds: [DeviceKind]
  /// Names of kinds that are planned; they are refused with a message of their own.
  private let planned: Set<String>
  /// The devices of a pipeline when the user names none.
  package let defaultDevices: [DeviceKind]
  /// Measures how many bytes per second the given number of threads reads from memory together.
  let measureMemory: @Sendable (_ threads: Int) throws -> Double

  /// - Parameters:
  ///   - kinds: The kinds, in the order in which messages list them.
  ///   - defaultDevices: Names of the kinds that a pipeline uses when the user names none.
  ///   - planned: Names of kinds for which there is no backend yet.
  ///   - measureMemory: Measures how many bytes per second the given number of threads reads from
  ///     memory together.
  /// - Precondition: The default devices are among the kinds.
  package init(
    _ kinds: [DeviceKind],
    defaultDevices: [String],
    planned: Set<String> = [],
    measureMemory: @escaping @Sendable (_ threads: Int) throws -> Double
  ) {
    self.kinds = kinds
    self.planned = planned
    self.measureMemory = measureMemory
    self.defaultDevices = defaultDevices.map { name in
      guard let kind = kinds.first(where: { $0.name == name }) else {
        preconditionFailure("default device \(name) is not among \(kinds.map(\.name))")
      }
      return kind
    }
  }

  /// Returns the kind with a name.
  ///
  /// - Throws: `LaunchError` that lists the known kinds.
  package func kind(named name: String) throws(LaunchError) -> DeviceKind {
    if let kind = kinds.first(where: { $0.name == name }) { return kind }
    let known = kinds.map(\.name).joined(separator: ", ")
    guard planned.contains(name) else {
      throw LaunchError(.device, "unknown device \"\(name)\"; use \(known)")
    }
    throw LaunchError(.device, "device \(name): this version has no backend for it; use \(known)")
  }
}
