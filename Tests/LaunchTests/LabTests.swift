// The laboratories on tiny inputs: what they return is complete and makes sense.

import CPUBackend
import Compute
import Coordinator
import Gemma
import Testing

@testable import Launch

@Suite struct `Laboratories` {
  @Test func `the stage laboratory measures each class of layers and both ends`() throws {
    let checkpoint = try tinyCheckpoint()
    let shape = try ModelShape(checkpoint, passesAllLayers: false)
    #expect(shape.narrowing?.layer == checkpoint.config.narrowingLayer)
    #expect((0.001..<1).contains(shape.narrowing?.share ?? 0))
    #expect(try ModelShape(checkpoint, passesAllLayers: true).narrowing == nil)
    var fractions: [Double] = []
    let lab = try StageLab(checkpoint, shape, backend: try CPU(threads: 1, pinnedTo: nil)) {
      fractions.append($0)
    }
    let profile = try lab.measure(name: "d", kind: .measured, machine: "m", memoryBytes: 1e9)
    #expect(profile.name == "d" && profile.machine == "m" && profile.memoryBytes == 1e9)
    #expect(Set(profile.layers.map(\.layer)) == Set(shape.layers))
    let curves =
      profile.layers.map(\.cost) + [profile.stepOverhead, profile.entry, profile.head]
    for curve in curves {
      #expect(curve.rows.first == 1 && curve.rows == curve.rows.sorted())
      #expect(curve.microseconds.allSatisfy { $0 >= 0 && $0.isFinite })
    }
    #expect(profile.stepOverhead.time(rows: 1) > 0)
    #expect(profile.layers.allSatisfy { $0.cost.rows == CostCurve.measuredRows })
    // What rows of a prompt cost in the layer where they end, beyond a wanted one.
    let narrowing = try #require(profile.narrowing)
    #expect(narrowing.rows == CostCurve.measuredRows && narrowing.microseconds.first == 0)
    #expect(narrowing.microseconds == narrowing.microseconds.sorted())
    #expect(fractions == fractions.sorted() && fractions.last == 1)
    let machine = MachineProfile(
      name: "m",
      kind: .measured,
      derivation: "made up",
      memoryBytes: nil,
      sharedBandwidthBytesPerSecond: nil
    )
    let document = ProfileDocument(
      model: "tiny",
      machines: [machine],
      devices: [profile],
      links: [try LinkLab.measure(machine: "m")]
    )
    // A planner takes it as it is.
    let costs = try PipelineCosts(shape: shape, documents: [document])
    #expect(costs.devices == [profile])
  }

  @Test func `the link laboratory finds a way that takes time and has a rate`() throws {
    let link = try LinkLab.measure(machine: "here")
    #expect(link.machines == ["here", "here"] && link.kind == .measured)
    #expect(link.latencyMicroseconds > 0 && link.latencyMicroseconds < 1e6)
    #expect(link.bytesPerSecond > 1e6 && link.bytesPerSecond.isFinite)
  }

  @Test func `the kernel laboratory reports each number of rows`() throws {
    let lab = KernelLab(
      backend: try CPU(threads: 1, pinnedTo: nil),
      bytesPerSecond: 10e9,
      integerOperationsPerSecond: 100e9,
      floatOperationsPerSecond: 50e9
    )
    let kernel = KernelCase.matmul(.q4_0, rows: 64, columns: 64)
    let results = try lab.measure(kernel, rows: [16, 32])
    #expect(results.map(\.rows) == [16, 32])
    for result in results {
      #expect(result.op == "matmul" && result.type == "q4_0" && result.shape == "64x64")
      #expect(result.microseconds > 0 && result.shareOfLimit > 0)
      #expect(["memory", "compute"].contains(result.bound))
    }
  }

  @Test(arguments: [nil, 8])
  func `attention is measured after its context, over what the window leaves`(
    window: Int?
  ) throws {
    let lab = KernelLab(
      backend: try CPU(threads: 1, pinnedTo: nil),
      bytesPerSecond: 10e9,
      integerOperationsPerSecond: 100e9,
      floatOperationsPerSecond: 50e9
    )
    let kernel = KernelCase.attend(kvHeads: 2, headDim: 16, context: 20, window: window)
    #expect(kernel.bytes == Double((window ?? 20) * 2 * 16 * 4))
    #expect(kernel.operations(2) == Double(4 * 8 * 16) * (window == nil ? 21 + 22 : 8 + 8))
    let results = try lab.measure(kernel, rows: [1, 12])
    #expect(results.map(\.rows) == [1, 12])
    #expect(results.allSatisfy { $0.microseconds > 0 })
    // Eight heads share what is read for one row.
    #expect(results.map(\.bound) == ["memory", "compute"])
  }
}
