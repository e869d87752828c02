// The kinds of devices that a program can use, as values: this module knows names and settings, the
// program says which backend stands behind each name.

package import Compute
package import Coordinator

/// How a worker's device is to be used.
package struct BackendSettings: Sendable {
  package var threads: Int
  /// The CPUs its threads stay on; nil for any.
  package var cpus: [Int]?
  /// How keys and values are kept; nil for the backend's default.
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
  /// What kind of number a time of such a device is.
  package let numberKind: NumberKind
  /// Makes its backend.
  package let makeBackend: @Sendable (BackendSettings) throws -> any Backend

  package init(
    _ name: String,
    numberKind: NumberKind = .measured,
    makeBackend: @escaping @Sendable (BackendSettings) throws -> any Backend
  ) {
    self.name = name
    self.numberKind = numberKind
    self.makeBackend = makeBackend
  }
}

/// All kinds of devices of a program.
package struct DeviceRegistry: Sendable {
  package let kinds: [DeviceKind]
  /// Names of kinds that are planned, and refused as such.
  private let planned: Set<String>
  /// What a pipeline uses when no devices are named.
  package let defaultDevices: [DeviceKind]
  /// Measures how many bytes a second so many threads read from memory together.
  let measureMemory: @Sendable (_ threads: Int) throws -> Double

  /// - Parameters:
  ///   - kinds: In the order in which messages name them.
  ///   - defaultDevices: Names of kinds that a pipeline uses when none are named.
  ///   - planned: Names of kinds that there will be.
  ///   - measureMemory: Measures how many bytes a second so many threads read from memory together.
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
        preconditionFailure("default device \(name) is none of \(kinds.map(\.name))")
      }
      return kind
    }
  }

  /// Looks a name up.
  ///
  /// - Throws: `LaunchError` that names the kinds there are.
  package func kind(named name: String) throws(LaunchError) -> DeviceKind {
    if let kind = kinds.first(where: { $0.name == name }) { return kind }
    let known = kinds.map(\.name).joined(separator: ", ")
    guard planned.contains(name) else {
      throw LaunchError(.device, "unknown device \"\(name)\"; use \(known)")
    }
    throw LaunchError(.device, "device \(name): this version has no backend for it; use \(known)")
  }
}
