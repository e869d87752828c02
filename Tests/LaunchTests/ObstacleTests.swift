// Plans for devices of which one cannot run everything: its layers go to the others, and it is told why.

import Compute
import Content
import Coordinator
import FakeGPUBackend
import Foundation
import Gemma
import TestSupport
import Testing
import Platform
import Wire

@testable import Launch

@Suite struct `Plans with a device that lacks an op` {
  private let fakeGPU = DeviceKind("fake-gpu") { _ in FakeGPU() }

  private func planning(
    _ devices: [String],
    _ surroundings: Surroundings
  ) throws -> LocalPlanning {
    // Every layer of it has the op that the imaginary device lacks; the logits have not.
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3n-random-a").path)
    var settings = PipelineSettings()
    settings.devices = devices
    settings.threads = devices.map { _ in 1 }
    return try LocalPlanning(
      checkpoint,
      fingerprint: { Digest(of: [1]) },
      settings,
      in: surroundings.context
    )
  }

  @Test func `no layer is planned for it, and the profiles of the cache know none`() throws {
    try withTemporaryDirectory { directory in
      let surroundings = Surroundings(in: directory, adding: [fakeGPU])
      for _ in 0..<2 {
        let best = try planning(["fake-gpu", "cpu"], surroundings).best(.throughput(streams: 2))
        #expect(best.costs.devices.map(\.kind) == [.emulated, .measured])
        #expect(best.costs.devices[0].layers.isEmpty)
        for stage in best.plan.chosen.stages where stage.device == 0 {
          #expect(stage.layers.isEmpty)
        }
        #expect(best.plan.chosen.stages.contains { $0.device == 1 && $0.layers.lowerBound == 0 })
      }
      #expect(surroundings.notes.lines.isEmpty)
    }
  }

  @Test func `alone it is refused with the layer, the op and the reason`() throws {
    try withTemporaryDirectory { directory in
      let surroundings = Surroundings(in: directory, adding: [fakeGPU])
      let error = try #require(throws: CoordinatorError.self) {
        _ = try planning(["fake-gpu"], surroundings).best(.latency)
      }
      #expect(error.code == .placement)
      #expect(
        error.message.contains(
          "fake-gpu-0 cannot run layer 0: op laurel: laurel has no kernel"
        ),
        "\(error)"
      )
    }
  }
}
