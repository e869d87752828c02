// Profiles of devices, machines and the links between them, as files hold them. A file comes from a
// measurement, here or elsewhere, or is written by hand for hardware that is not available. Every
// number carries its kind: measured, emulated or projected.

internal import Compute
package import Foundation

/// The three kinds of number, from the most to the least reliable.
package enum NumberKind: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
  case measured
  /// Measured on a device that emulates another one.
  case emulated
  /// Computed from data sheets and published figures.
  case projected

  package static func < (left: NumberKind, right: NumberKind) -> Bool {
    allCases.firstIndex(of: left) ?? 0 < allCases.firstIndex(of: right) ?? 0
  }
}

/// The costs of layers on one device.
package struct DeviceProfile: Sendable, Hashable, Codable {
  /// The cost of one class of layers.
  package struct LayerCost: Sendable, Hashable, Codable {
    package var layer: LayerClass
    package var cost: CostCurve

    package init(layer: LayerClass, cost: CostCurve) {
      self.layer = layer
      self.cost = cost
    }
  }

  package var name: String
  package var kind: NumberKind
  /// How the numbers were obtained.
  package var derivation: String
  /// The machine that the device is a part of.
  package var machine: String
  package var memoryBytes: Double
  /// Whether its memory is its own, and not a part of what the devices of its machine share; absent in
  /// older files, and where it is not.
  package var ownsMemory: Bool?
  /// How it keeps keys and values (`CacheType`); absent for as precise as the weights.
  package var cache: String?
  /// The cost of each step, whatever its layers.
  package var stepOverhead: CostCurve
  /// The cost of what the first stage computes before its layers.
  package var entry: CostCurve
  /// The cost of what the last stage computes after its layers, by the number of rows that want an
  /// output.
  package var head: CostCurve
  package var layers: [LayerCost]
  /// The cost of rows that end in the layer where those do whose output is not wanted, beyond that of a
  /// wanted row; absent in older files, and where it was not measured.
  package var narrowing: CostCurve?

  package init(
    name: String,
    kind: NumberKind,
    derivation: String,
    machine: String,
    memoryBytes: Double,
    stepOverhead: CostCurve,
    entry: CostCurve,
    head: CostCurve,
    layers: [LayerCost]
  ) {
    self.name = name
    self.kind = kind
    self.derivation = derivation
    self.machine = machine
    self.memoryBytes = memoryBytes
    self.stepOverhead = stepOverhead
    self.entry = entry
    self.head = head
    self.layers = layers
  }
}

/// The resources that the devices of one machine share.
package struct MachineProfile: Sendable, Hashable, Codable {
  package var name: String
  package var kind: NumberKind
  package var derivation: String
  /// The memory for all devices together that have none of their own; nil if each has.
  package var memoryBytes: Double?
  /// The bandwidth of all devices together; nil if a cache holds the model.
  package var sharedBandwidthBytesPerSecond: Double?

  package init(
    name: String,
    kind: NumberKind,
    derivation: String,
    memoryBytes: Double?,
    sharedBandwidthBytesPerSecond: Double?
  ) {
    self.name = name
    self.kind = kind
    self.derivation = derivation
    self.memoryBytes = memoryBytes
    self.sharedBandwidthBytesPerSecond = sharedBandwidthBytesPerSecond
  }
}

/// The link from one machine to another, or within one.
package struct LinkProfile: Sendable, Hashable, Codable {
  package var name: String
  package var kind: NumberKind
  package var derivation: String
  /// The two ends; a link within a machine names it twice.
  package var machines: [String]
  package var latencyMicroseconds: Double
  package var bytesPerSecond: Double

  package init(
    name: String,
    kind: NumberKind,
    derivation: String,
    machines: [String],
    latencyMicroseconds: Double,
    bytesPerSecond: Double
  ) {
    self.name = name
    self.kind = kind
    self.derivation = derivation
    self.machines = machines
    self.latencyMicroseconds = latencyMicroseconds
    self.bytesPerSecond = bytesPerSecond
  }

  func joins(_ one: String, _ other: String) -> Bool {
    machines == [one, other] || machines == [other, one]
  }
}

/// A file of profiles.
package struct ProfileDocument: Sendable, Hashable, Codable {
  package static let currentVersion = 1
  /// A device takes some kilobytes, and a file has a few devices.
  package static let maxByteCount = 4 << 20
  static let maxCount = 64

  package var version: Int
  /// The model whose layers were measured, for human readers only; layers are found by their class.
  package var model: String
  package var machines: [MachineProfile]
  package var devices: [DeviceProfile]
  package var links: [LinkProfile]

  package init(
    model: String,
    machines: [MachineProfile],
    devices: [DeviceProfile],
    links: [LinkProfile]
  ) {
    version = Self.currentVersion
    self.model = model
    self.machines = machines
    self.devices = devices
    self.links = links
  }

  /// Reads a file's bytes.
  ///
  /// - Throws: `CoordinatorError` with code `profile` that says what is wrong and names `context`.
  package init(json: Data, context: String) throws(CoordinatorError) {
    guard json.count <= Self.maxByteCount else {
      throw CoordinatorError(
        .profile,
        "\(json.count) bytes, a profile has at most \(Self.maxByteCount)",
        context: context
      )
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      let header = try decoder.decode(Header.self, from: json)
      guard header.version == Self.currentVersion else {
        throw CoordinatorError(
          .profile,
          "version \(header.version), this program reads \(Self.currentVersion)"
        )
      }
      self = try decoder.decode(Self.self, from: json)
      try validate()
    } catch let error as CoordinatorError {
      throw CoordinatorError(error.code, error.message, context: context)
    } catch let error as DecodingError {
      throw CoordinatorError(.profile, Self.describe(error), context: context)
    } catch {
      throw CoordinatorError(.profile, "not a profile", context: context, underlying: error)
    }
  }

  private struct Header: Decodable { var version: Int }

  /// Returns the file's bytes.
  ///
  /// - Throws: `CoordinatorError` with code `profile` if a number is not finite.
  package func json() throws(CoordinatorError) -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    do {
      return try encoder.encode(self)
    } catch {
      throw CoordinatorError(.profile, "the profile cannot be written", underlying: error)
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
    }
    switch error {
    case .keyNotFound(let key, let context):
      return "\(place(context.codingPath)).\(key.stringValue) is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context),
      .dataCorrupted(let context):
      let path = place(context.codingPath)
      return path.isEmpty
        ? "not the JSON of a profile: \(context.debugDescription)"
        : "\(path): \(context.debugDescription)"
    @unknown default: return "not the JSON of a profile"
    }
  }
}

extension ProfileDocument {
  /// Checks the rules that the types do not enforce.
  ///
  /// - Throws: `CoordinatorError` with code `profile`.
  package func validate() throws(CoordinatorError) {
    for (what, names) in [
      ("machines", machines.map(\.name)), ("devices", devices.map(\.name)),
      ("links", links.map(\.name)),
    ] {
      guard names.count <= Self.maxCount else {
        throw CoordinatorError(.profile, "\(names.count) \(what), at most \(Self.maxCount) fit")
      }
      guard Set(names).count == names.count, !names.contains("") else {
        throw CoordinatorError(.profile, "\(what) \(names): each needs a name of its own")
      }
    }
    let known = Set(machines.map(\.name))
    for machine in machines {
      try Self.check(machine.sharedBandwidthBytesPerSecond ?? 1, "bandwidth of \(machine.name)")
      try Self.check(machine.memoryBytes ?? 1, "memory_bytes of \(machine.name)")
    }
    for device in devices {
      guard known.contains(device.machine) else {
        throw CoordinatorError(
          .profile,
          "device \(device.name) is of machine \"\(device.machine)\", which is not in the file"
        )
      }
      try device.validate()
    }
    for link in links {
      guard link.machines.count == 2, link.machines.allSatisfy(known.contains) else {
        throw CoordinatorError(
          .profile,
          "link \(link.name) joins \(link.machines); give two machines of the file"
        )
      }
      try Self.check(link.bytesPerSecond, "bytes_per_second of link \(link.name)")
      guard link.latencyMicroseconds >= 0, link.latencyMicroseconds <= 1e9 else {
        throw CoordinatorError(
          .profile,
          "link \(link.name): latency of \(link.latencyMicroseconds) microseconds"
        )
      }
    }
  }

  fileprivate static func check(_ number: Double, _ name: String) throws(CoordinatorError) {
    guard number > 0, number <= 1e18 else {
      throw CoordinatorError(.profile, "\(name): \(number) is outside 0...1e18")
    }
  }
}

extension DeviceProfile {
  /// Whether its memory is its own.
  package var hasOwnMemory: Bool { ownsMemory ?? false }

  /// How it keeps keys and values; nil for as precise as the weights.
  var cacheType: CacheType? { cache.flatMap { CacheType(rawValue: $0) } }

  fileprivate func validate() throws(CoordinatorError) {
    try ProfileDocument.check(memoryBytes, "memory_bytes of \(name)")
    if let cache, cacheType == nil {
      let known = CacheType.allCases.map(\.rawValue).joined(separator: ", ")
      throw CoordinatorError(.profile, "cache of \(name): \"\(cache)\" is none of \(known)")
    }
    try stepOverhead.validate("step_overhead of \(name)")
    try entry.validate("entry of \(name)")
    try head.validate("head of \(name)")
    try narrowing?.validate("narrowing of \(name)")
    guard layers.count <= 256 else {
      throw CoordinatorError(.profile, "\(name) has \(layers.count) layer classes, at most 256 fit")
    }
    for layer in layers {
      try layer.layer.validate(name)
      try layer.cost.validate("a layer of \(name)")
    }
    guard Set(layers.map(\.layer)).count == layers.count else {
      throw CoordinatorError(.profile, "\(name) has a layer class twice")
    }
  }
}
