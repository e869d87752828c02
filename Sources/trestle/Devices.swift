// The devices of this program: the only place where a device's name meets its backend.

import CPUBackend
import Compute
import Foundation
import Launch
import NPUBackend
import NPUDriver
import NPUFake
import Platform
import VulkanBackend

extension DeviceRegistry {
  /// The kinds of devices that are built in.
  ///
  /// A new kind is one more entry here.
  static let builtIn = DeviceRegistry(
    [
      DeviceKind("cpu") {
        CPU.describe(
          threads: $0.threads,
          cacheType: $0.cacheType,
          memoryByteCount: SystemMemory.total
        )
      } makeBackend: {
        try CPU(
          threads: $0.threads,
          pinnedTo: $0.cpus,
          cacheType: $0.cacheType,
          memoryByteCount: SystemMemory.total
        )
      },
      vulkan(nil),
      npu,
      // The reference backend stores f32 whatever the cache type.
      DeviceKind("reference") {
        ReferenceBackend(threads: $0.threads, memoryByteCount: SystemMemory.total)
      },
    ],
    defaultDevices: ["cpu"],
    measureMemory: { try CPU(threads: $0, pinnedTo: nil).measureLimits().bytesPerSecond }
  )

  /// The NPU of this machine.
  private static var npu: DeviceKind {
    let kernel = SystemKernel()
    return DeviceKind("npu") {
      try describeNPU(kernel, $0)
    } emulation: {
      emulatedNPU
    } makeBackend: {
      try makeNPU(kernel, $0)
    }
  }

  /// An NPU in software; plans have the time that a real one is projected to take.
  private static var emulatedNPU: DeviceKind {
    let kernel = EmulatedKernel()
    return DeviceKind("npu", isEmulation: true) {
      try describeNPU(kernel, $0)
    } projection: {
      try NPU(
        projecting: describeNPU(kernel, $0),
        threads: $0.threads,
        pinnedTo: $0.cpus,
        cacheType: $0.cacheType
      )
    } makeBackend: {
      try makeNPU(kernel, $0)
    }
  }

  private static func describeNPU(
    _ kernel: any KernelInterface,
    _ settings: BackendSettings
  ) throws -> DeviceDescription {
    try NPU.describe(
      kernel,
      threads: settings.threads,
      cacheType: settings.cacheType,
      memoryByteCount: SystemMemory.total
    )
  }

  private static func makeNPU(
    _ kernel: any KernelInterface,
    _ settings: BackendSettings
  ) throws -> any Backend {
    try NPU(
      kernel,
      threads: settings.threads,
      pinnedTo: settings.cpus,
      cacheType: settings.cacheType,
      memoryByteCount: SystemMemory.total
    ) { line in
      TerminalReporter().note(line, cause: nil)
    }
  }

  /// The Vulkan device with a number, or the first GPU.
  private static func vulkan(_ index: Int?) -> DeviceKind {
    DeviceKind(Vulkan.name(index)) {
      try Vulkan.describe(index: index, cacheType: $0.cacheType)
    } numbered: {
      vulkan($0)
    } makeBackend: {
      try Vulkan(index: index, cacheType: $0.cacheType, keepingPipelinesIn: .userCache)
    }
  }
}

extension PipelineStore {
  /// The user's cache; what cannot be read or written there is compiled again.
  fileprivate static var userCache: PipelineStore {
    let files = CacheFiles(directory: UserCache.directory("pipelines"))
    return PipelineStore { name in
      let path = try? files.path(of: name)
      return path.flatMap { try? Data(contentsOf: URL(filePath: $0)) }.map(Array.init)
    } store: { name, bytes in
      try? files.write(Data(bytes), as: name)
    }
  }
}

extension LaunchContext {
  /// The context of this program, which reports to stderr.
  static let program = LaunchContext(
    devices: .builtIn,
    programVersion: trestle.programVersion,
    reporter: TerminalReporter()
  )
}
