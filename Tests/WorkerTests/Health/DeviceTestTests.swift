// The self-test finds devices that compute wrong, and passes those that compute right.

import Compute
import Testing
import Wire

@testable import Worker

/// A backend that spoils what the reference computes.
private struct SpoiledBackend: Backend {
  var spoil: @Sendable (inout [Float]) throws(ComputeError) -> Void

  var device: DeviceDescription {
    var device = ReferenceBackend().device
    device.name = "spoiled"
    return device
  }

  func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    let executable = try ReferenceBackend().compile(
      program,
      weights: weights,
      limits: limits,
      sharing: nil,
      progress: progress
    )
    return SpoiledExecutable(executable, spoil)
  }
}

private final class SpoiledExecutable: Executable {
  let whole: any Executable
  let spoil: @Sendable (inout [Float]) throws(ComputeError) -> Void

  init(
    _ whole: any Executable,
    _ spoil: @escaping @Sendable (inout [Float]) throws(ComputeError) -> Void
  ) {
    self.whole = whole
    self.spoil = spoil
  }

  var program: Program { whole.program }
  var limits: ExecutableLimits { whole.limits }
  var footprint: Footprint { whole.footprint }
  var storages: [any CacheStorage] { whole.storages }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    var outputs = try whole.run(batch, inputs: inputs)
    for index in outputs.indices { try spoil(&outputs[index]) }
    return outputs
  }
}

@Suite struct `Device test` {
  @Test func `the reference agrees with itself exactly`() {
    let report = DeviceTest.run(7, on: ReferenceBackend())
    #expect(report.run == 7)
    #expect(report.maxError == 0 && report.failure.isEmpty)
    #expect(report.tolerance == DeviceTest.tolerance)
  }

  @Test func `one wrong number is found, with its size`() {
    let report = DeviceTest.run(1, on: SpoiledBackend { $0[3] += 1 })
    #expect(report.maxError > DeviceTest.tolerance)
    #expect(report.failure.contains("spoiled is off by \(report.maxError)"))
    #expect(report.failure.contains("\(DeviceTest.tolerance)"))
  }

  @Test func `a small difference passes and is told`() {
    let report = DeviceTest.run(1, on: SpoiledBackend { $0[3] *= 1.001 })
    #expect(report.maxError > 0 && report.maxError < DeviceTest.tolerance)
    #expect(report.failure.isEmpty)
  }

  @Test(arguments: [Float.nan, .infinity])
  func `what is no number fails`(value: Float) {
    let report = DeviceTest.run(1, on: SpoiledBackend { $0[0] = value })
    #expect(report.maxError == .infinity && !report.failure.isEmpty)
  }

  @Test func `zeros everywhere fail`() {
    let report = DeviceTest.run(
      1,
      on: SpoiledBackend { $0 = Array(repeating: 0, count: $0.count) }
    )
    #expect(report.maxError > 0.5 && !report.failure.isEmpty)
  }

  @Test func `a device that gives up fails with its reason`() {
    let report = DeviceTest.run(
      1,
      on: SpoiledBackend { _ throws(ComputeError) in throw ComputeError(.device, "out of order") }
    )
    #expect(report.failure.contains("out of order"))
  }
}
