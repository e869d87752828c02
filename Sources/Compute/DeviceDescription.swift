// A device as a value: which ops and types its backend supports, how much memory it has, where its
// temperature is read. Code that places work on devices, monitors or reports them reads this
// description and needs no table of its own.

/// What is known of a device before anything runs on it.
///
/// It consists of integers, texts, enums and arrays of them, so that it can be sent in a message.
/// Values that are measured while a device works (rates, temperatures, free memory) are not part of
/// it.
package struct DeviceDescription: Sendable, Hashable {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case cpu, gpu, npu
  }

  package var kind: Kind
  /// The name of the backend on the command line: `cpu`, `reference`.
  package var name: String
  /// Whether software emulates the device, so that its speed says nothing about the real one.
  package var isEmulated = false
  package var memory: DeviceMemory
  /// How many threads of the host compute for it and are not available to other devices.
  package var hostThreads: Int
  /// Whether the device supports each kind of op at all.
  ///
  /// `Backend.support(for:)` tells whether it supports an op with certain operands.
  package var ops = OpKind.allCases.map { OpSupport(op: $0) }
  /// Whether the device supports weights of each type.
  package var weightTypes = TensorType.allCases.map { WeightTypeSupport(type: $0) }
  /// The types in which keys and values can be stored; only one if the user has chosen it.
  package var cacheTypes = CacheType.allCases
  /// How many rows a step should have at most: from there on a row costs no less, or there is no room.
  ///
  /// The steps of a pipeline have as many rows as all its devices prefer.
  package var preferredRows: Int
  /// The assumed speed of the device if nothing was measured, in threads of a CPU.
  package var rateHint: Int
  package var sensors = DeviceSensors()

  /// Creates the description of a device that supports everything; exceptions are set afterwards.
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

  /// The device in a log or a table: its name, and whether it is emulated.
  package var text: String { name + (isEmulated ? " (emulated)" : "") }

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

/// Whether a device supports a kind of op.
package struct OpSupport: Sendable, Hashable {
  package var op: OpKind
  package var support: Support

  package init(op: OpKind, support: Support = .supported) {
    self.op = op
    self.support = support
  }
}

/// Whether a device supports weights of a type.
package struct WeightTypeSupport: Sendable, Hashable {
  package var type: TensorType
  package var support: Support

  package init(type: TensorType, support: Support = .supported) {
    self.type = type
    self.support = support
  }
}

/// The memory for weights, caches and activations of a device.
package struct DeviceMemory: Sendable, Hashable {
  /// How much memory this process may use, including what is in use.
  package var byteCount: UInt64
  /// Whether it is the host's own memory, so that programs of the host reduce what is available.
  package var isHostMemory: Bool
  /// Whether other workers of the same machine use the same memory.
  ///
  /// Each of them reports all of it, so the sum of their reports is more than there is.
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
  /// Types of thermal zones (`type` below /sys/class/thermal), which are used if there is no
  /// monitor.
  package var zones: [String]

  package init(monitors: [String] = [], zones: [String] = []) {
    self.monitors = monitors
    self.zones = zones
  }
}
