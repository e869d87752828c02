// Compiled pipelines that are kept between runs: they come back, and damaged or foreign ones do no harm.

import CVulkan
import Compute
import Synchronization
import TestSupport
import Testing

@testable import VulkanBackend

@Suite(.needsVulkan) struct `Kept pipelines` {
  /// Files in memory.
  private final class Files: Sendable {
    private let files = Mutex<[String: [UInt8]]>([:])

    var all: [String: [UInt8]] {
      get { files.withLock { $0 } }
      set { files.withLock { $0 = newValue } }
    }

    var store: PipelineStore {
      PipelineStore { name in
        self.files.withLock { $0[name] }
      } store: { name, bytes in
        self.files.withLock { $0[name] = bytes }
      }
    }
  }

  private func device(_ files: Files) throws -> VulkanDevice {
    let instance = try VulkanInstance.open()
    let info = try instance.device(TestDevice.index)
    return try VulkanDevice(info, of: instance, keepingPipelinesIn: files.store)
  }

  private let kernel = Kernel(shader: "keep", constants: [64])

  @Test func `pipelines are stored once they are compiled, and only then`() throws {
    let files = Files()
    let device = try device(files)
    device.keepPipelines()
    #expect(files.all.isEmpty)
    _ = try device.pipeline(kernel, bindings: 3)
    device.keepPipelines()
    #expect(files.all.count == 1)
    // The header of the data, which begins with its length.
    let data = try #require(KeptPipelines(files.store, for: device.info).load())
    #expect(data.starts(with: [32, 0, 0, 0, 1, 0, 0, 0]))
    files.all = [:]
    device.keepPipelines()
    #expect(files.all.isEmpty, "nothing was new")
  }

  @Test func `damaged pipelines are not given to the driver, and are replaced`() throws {
    let files = Files()
    let first = try device(files)
    _ = try first.pipeline(kernel, bindings: 3)
    first.keepPipelines()
    let (name, whole) = try #require(files.all.first)
    var flipped = whole
    flipped[whole.count / 2] ^= 1
    for damaged in [[], Array(whole.prefix(7)), Array(whole.dropLast()), whole + [0], flipped] {
      files.all[name] = damaged
      #expect(KeptPipelines(files.store, for: first.info).load() == nil, "\(damaged.count) bytes")
      let next = try device(files)
      _ = try next.pipeline(kernel, bindings: 3)
      next.keepPipelines()
      #expect(files.all[name] == whole)
    }
  }
}
