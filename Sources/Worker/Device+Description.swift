// What a backend says of its device, as the coordinator is told of it.

package import Compute
package import Wire

extension Device {
  /// Takes everything but the sensors, which the worker reads itself.
  package init(_ device: DeviceDescription) {
    self.init(
      kind: device.kind.rawValue,
      name: device.name,
      isEmulated: device.isEmulated,
      memoryBytes: device.memory.byteCount,
      isHostMemory: device.memory.isHostMemory,
      isMemoryShared: device.memory.isSharedByWorkers,
      hostThreads: device.hostThreads,
      ops: device.ops.map { Capability(name: $0.op.rawValue, $0.support) },
      weightTypes: device.weightTypes.map { Capability(name: $0.type.rawValue, $0.support) },
      cacheTypes: device.cacheTypes.map(\.rawValue),
      preferredRows: device.preferredRows,
      rateHint: device.rateHint
    )
  }
}

extension Capability {
  fileprivate init(name: String, _ support: Support) {
    switch support {
    case .supported: self.init(name: name, obstacle: "")
    case .unsupported(let reason): self.init(name: name, obstacle: reason)
    }
  }
}
