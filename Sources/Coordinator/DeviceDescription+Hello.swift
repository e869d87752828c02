// What a worker tells of its device, as placement reads it.

internal import Compute
internal import Wire

extension DeviceDescription {
  /// Reads what a worker's hello says of its device.
  ///
  /// - Throws: `CoordinatorError` with code `worker` if the device has something that this program has never
  ///   heard of, or prefers what cannot be.
  init(_ device: Device) throws(CoordinatorError) {
    func known<Value: RawRepresentable<String>>(
      _ name: String,
      _ what: String
    ) throws(CoordinatorError) -> Value {
      if let value = Value(rawValue: name) { return value }
      throw CoordinatorError(
        .worker,
        "its device \(device.name) tells of \(what) \"\(name)\", which this coordinator does not know; "
          + "run the same version of the program on both sides"
      )
    }
    guard device.preferredRows > 0, device.rateHint > 0, !device.cacheTypes.isEmpty else {
      throw CoordinatorError(
        .worker,
        "its device \(device.name) prefers steps of \(device.preferredRows) rows, is as fast as "
          + "\(device.rateHint) threads and has \(device.cacheTypes.count) types of caches; "
          + "none of these may be 0"
      )
    }
    self.init(
      kind: try known(device.kind, "the kind"),
      name: device.name,
      memory: DeviceMemory(
        byteCount: device.memoryBytes,
        isHostMemory: device.isHostMemory,
        isSharedByWorkers: device.isMemoryShared
      ),
      hostThreads: device.hostThreads,
      preferredRows: device.preferredRows,
      rateHint: device.rateHint
    )
    isEmulated = device.isEmulated
    ops = []
    for op in device.ops {
      ops.append(OpSupport(op: try known(op.name, "the op"), support: op.support))
    }
    weightTypes = []
    for type in device.weightTypes {
      let known: TensorType = try known(type.name, "weights of type")
      weightTypes.append(WeightTypeSupport(type: known, support: type.support))
    }
    cacheTypes = []
    for type in device.cacheTypes { cacheTypes.append(try known(type, "caches of type")) }
  }
}

extension Capability {
  fileprivate var support: Support {
    obstacle.isEmpty ? .supported : .unsupported(reason: obstacle)
  }
}
