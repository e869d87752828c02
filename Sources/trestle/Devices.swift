// The devices of this program: the only place where a device's name meets its backend.

import CPUBackend
import Compute
import Launch
import Platform

extension DeviceRegistry {
  /// The kinds of devices that are built in; another one is another line.
  static let builtIn = DeviceRegistry(
    [
      DeviceKind("cpu") {
        try CPU(
          threads: $0.threads,
          pinnedTo: $0.cpus,
          cacheType: $0.cacheType,
          memoryByteCount: SystemMemory.total
        )
      },
      // It keeps f32, whatever the cache type.
      DeviceKind("reference") {
        ReferenceBackend(threads: $0.threads, memoryByteCount: SystemMemory.total)
      },
    ],
    defaultDevices: ["cpu"],
    planned: ["vulkan", "npu"],
    measureMemory: { try CPU(threads: $0, pinnedTo: nil).measureLimits().bytesPerSecond }
  )
}

extension LaunchContext {
  /// This program's: its devices, and stderr for what there is to say.
  static let program = LaunchContext(
    devices: .builtIn,
    programVersion: trestle.programVersion,
    reporter: TerminalReporter()
  )
}
