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
  /// Returns the kind for one of several devices, by its number; nil if a machine has only one.
  let numbered: (@Sendable (Int) -> DeviceKind)?
  /// Returns the same device in software, for machines without it; nil if there is no such thing.
  let emulation: (@Sendable () -> DeviceKind)?
  /// Whether it is such an emulation.
  let isEmulation: Bool
  /// Makes a backend for an emulation's profile, which takes as long as the real device is projected to; nil to measure the
  /// emulation itself.
  let makeProjection: (@Sendable (BackendSettings) throws -> any Backend)?

  /// - Parameters:
  ///   - name: As the command line says it.
  ///   - isEmulation: Whether software stands in for the device.
  ///   - describe: Describes the device without making a backend, where that is cheaper; nil to make one.
  ///   - numbered: Returns the kind for one of several devices, which `name:number` names; nil if a
  ///     machine has only one.
  ///   - emulation: Returns the same device in software; nil if there is no such thing.
  ///   - projection: Makes a backend for an emulation's profile, which takes as long as the real device is projected to;
  ///     nil to measure the emulation itself.
  ///   - makeBackend: Makes its backend.
  package init(
    _ name: String,
    isEmulation: Bool = false,
    describe: (@Sendable (BackendSettings) throws -> DeviceDescription)? = nil,
    numbered: (@Sendable (Int) -> DeviceKind)? = nil,
    emulation: (@Sendable () -> DeviceKind)? = nil,
    projection: (@Sendable (BackendSettings) throws -> any Backend)? = nil,
    makeBackend: @escaping @Sendable (BackendSettings) throws -> any Backend
  ) {
    self.name = name
    self.numbered = numbered
    self.emulation = emulation
    self.isEmulation = isEmulation
    makeProjection = projection
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

  /// Returns the kinds with some names, or their emulations as far as there are any.
  ///
  /// - Parameters:
  ///   - names: The names, which may have numbers.
  ///   - emulates: Whether emulations are wanted.
  /// - Returns: A kind for each name.
  /// - Throws: `LaunchError` that lists the known kinds, or those that can be emulated if none of these can.
  package func kinds(
    named names: [String],
    emulates: Bool
  ) throws(LaunchError) -> [DeviceKind] {
    let found = try names.map { name throws(LaunchError) in try kind(named: name) }
    guard emulates else { return found }
    guard found.contains(where: { $0.emulation != nil }) else {
      let possible = kinds.filter { $0.emulation != nil }.map(\.name)
      throw LaunchError(
        .device,
        "--emulate: \(names.joined(separator: ",")) cannot be emulated; "
          + "it goes with \(possible.joined(separator: ", "))"
      )
    }
    return found.map { $0.emulation?() ?? $0 }
  }

  /// Returns the kind with a name, which may have a number: `vulkan:1`.
  ///
  /// - Throws: `LaunchError` that lists the known kinds.
  package func kind(named name: String) throws(LaunchError) -> DeviceKind {
    if let kind = kinds.first(where: { $0.name == name }) { return kind }
    let known = kinds.map { $0.name + ($0.numbered == nil ? "" : "[:number]") }
      .joined(separator: ", ")
    let parts = name.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    if parts.count == 2, let kind = kinds.first(where: { $0.name == parts[0] }) {
      guard let numbered = kind.numbered else {
        throw LaunchError(.device, "device \(name): there is only one \(kind.name); use \(known)")
      }
      guard let number = Int(parts[1]), (0...Int(UInt16.max)).contains(number) else {
        throw LaunchError(
          .device,
          "device \(name): \"\(parts[1])\" is no number of a device; `trestle doctor` lists them"
        )
      }
      return numbered(number)
    }
    guard planned.contains(name) else {
      throw LaunchError(.device, "unknown device \"\(name)\"; use \(known)")
    }
    throw LaunchError(.device, "device \(name): this version has no backend for it; use \(known)")
  }
}
