// A device as a value: what its backend can do there, how much room it has, how it shows its heat. Who
// places work on devices, watches over them or tells of them reads this, and needs no table of its own.

/// What there is to know of a device before anything runs on it.
///
/// Integers, texts, enums and arrays of them, so that it can be sent as it is. What is measured while a
/// device works (rates, temperatures, free memory) is not in here.
package struct DeviceDescription: Sendable, Hashable {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case cpu, gpu, npu
  }

  package var kind: Kind
  /// The name of the backend as the command line says it: `cpu`, `reference`.
  package var name: String
  /// Whether software stands in for the silicon, so that its speed tells nothing of the device's.
  package var isEmulated = false
  package var memory: DeviceMemory
  /// How many threads of the host compute for it, and are not there for another device.
  package var hostThreads: Int
  /// Of every kind of op, whether the device can do it at all.
  ///
  /// Whether it can do one with certain operands is for `Backend.support(for:)` to say.
  package var ops = OpKind.allCases.map { OpSupport(op: $0) }
  /// Of every type, whether ops can have weights of it.
  package var weightTypes = TensorType.allCases.map { WeightTypeSupport(type: $0) }
  /// The types in which keys and values can be kept; one if it has been told which.
  package var cacheTypes = CacheType.allCases
  /// How many rows a step should have, if there are so many: from there on a row costs no less.
  package var preferredRows: Int
  /// How fast the device is thought to be where nothing was measured, in threads of a CPU.
  package var rateHint: Int
  package var sensors = DeviceSensors()

  /// A device that can do everything; what it cannot is said afterwards.
  package init(
    kind: Kind,
    name: String,
    memory: DeviceMemory,
    hostThreads: Int,
    preferredRows: Int,
    rateHint: Int
  ) {
    self.kind = kind
    self.name = name
    self.memory = memory
    self.hostThreads = hostThreads
    self.preferredRows = preferredRows
    self.rateHint = rateHint
  }

  /// Returns whether the device can do an op with weights of such types, whatever else its operands are.
  package func support(for op: Op) -> Support {
    guard let known = ops.first(where: { $0.op == op.kind }) else {
      return .unsupported(reason: "\(name) does not know \(op.name)")
    }
    guard case .supported = known.support else { return known.support }
    for weight in op.weights {
      guard let known = weightTypes.first(where: { $0.type == weight.type }) else {
        return .unsupported(reason: "\(name) does not know weights of \(weight.type.rawValue)")
      }
      if case .unsupported(let reason) = known.support {
        return .unsupported(reason: "\(weight.name) is \(weight.type.rawValue): \(reason)")
      }
    }
    return .supported
  }
}

/// Whether a device can do a kind of op.
package struct OpSupport: Sendable, Hashable {
  package var op: OpKind
  package var support: Support

  package init(op: OpKind, support: Support = .supported) {
    self.op = op
    self.support = support
  }
}

/// Whether a device can read weights of a type.
package struct WeightTypeSupport: Sendable, Hashable {
  package var type: TensorType
  package var support: Support

  package init(type: TensorType, support: Support = .supported) {
    self.type = type
    self.support = support
  }
}

/// The memory that weights, caches and activations of a device lie in.
package struct DeviceMemory: Sendable, Hashable {
  /// How much there is for this process, used or not.
  package var byteCount: UInt64
  /// Whether it is the host's own memory, so that what the host's programs hold is missing there.
  package var isHostMemory: Bool
  /// Whether other workers of the same machine take from it, too: each tells of all of it, and the
  /// sum of what they tell is more than there is.
  package var isSharedByWorkers: Bool

  package init(byteCount: UInt64, isHostMemory: Bool, isSharedByWorkers: Bool) {
    self.byteCount = byteCount
    self.isHostMemory = isHostMemory
    self.isSharedByWorkers = isSharedByWorkers
  }
}

/// The names under which the kernel shows a device's temperature.
package struct DeviceSensors: Sendable, Hashable {
  /// Drivers of hardware monitors (`name` below /sys/class/hwmon).
  package var monitors: [String]
  /// Types of thermal zones (`type` below /sys/class/thermal), for where there is no monitor.
  package var zones: [String]

  package init(monitors: [String] = [], zones: [String] = []) {
    self.monitors = monitors
    self.zones = zones
  }
}
