// What `doctor` and its like say of a kind of device that they know nothing of.

import Compute
import FakeGPUBackend
import Launch
import Testing

@Suite struct `Device reports` {
  private let settings = BackendSettings(threads: 2)

  @Test func `a device is told of as its backend describes it`() {
    let report = DeviceKind("fake-gpu") { _ in FakeGPU(memoryByteCount: 3 << 20) }.report(settings)
    #expect(report.device == "fake-gpu" && report.available && report.emulated)
    #expect(
      report.detail
        == "gpu, emulated, 3 MiB of its own memory, steps of up to 32 rows; cannot do laurel "
        + "(laurel has no kernel), weights of iq4_xs (no kernel reads it)"
    )
    #expect(report.remedy == nil)
  }

  @Test func `a device that is not here is told of with the reason`() {
    let kind = DeviceKind("gpu") { _ in throw ComputeError(.device, "no render node") }
    let report = kind.report(settings)
    #expect(!report.available && report.detail == "compute.device: no render node")
  }
}
