// Which workers get which layers when a pipeline starts.

import Content
import Coordinator
import FakeGPUBackend
import Gemma
import TestSupport
import Platform
import Testing
import Wire

@testable import Launch

@Suite struct `Placement choice` {
  let checkpoint: Checkpoint
  let layerCount: Int

  init() throws {
    checkpoint = try tinyCheckpoint()
    layerCount = checkpoint.config.line.layerCount
  }

  private func choose(
    _ settings: PipelineSettings,
    measures: Bool = false,
    _ surroundings: Surroundings
  ) throws -> PlacementChoice {
    try PlacementChoice(
      checkpoint,
      fingerprint: Digest(of: [1]),
      settings,
      measures: measures,
      in: surroundings.context
    )
  }

  private func naming(_ devices: [String], threads: [Int]? = nil) -> PipelineSettings {
    var settings = PipelineSettings()
    settings.devices = devices
    settings.threads = threads
    return settings
  }

  @Test func `a split is taken as it is said, and nothing is measured for it`() throws {
    try withTemporaryDirectory { directory in
      var settings = naming(["cpu", "cpu"], threads: [1, 1])
      settings.split = [1, layerCount - 1]
      let surroundings = Surroundings(in: directory)
      let choice = try choose(settings, measures: true, surroundings)
      #expect(choice.placement.stages.map(\.layers) == [0..<1, 1..<layerCount])
      #expect(choice.workers.map(\.name) == ["cpu-0", "cpu-1"] && choice.reason == nil)
      #expect(surroundings.backends.withLock { $0 } == 0)
    }
  }

  @Test func `a split that does not add up is refused`() throws {
    try withTemporaryDirectory { directory in
      var settings = naming(["cpu", "cpu"])
      settings.split = [1, layerCount]
      let error = try #require(throws: CoordinatorError.self) {
        _ = try choose(settings, Surroundings(in: directory))
      }
      #expect(error.code == .placement)
    }
  }

  @Test func `devices that are elsewhere get layers by their threads`() throws {
    try withTemporaryDirectory { directory in
      let surroundings = Surroundings(in: directory)
      let choice = try choose(naming(["cpu", "cpu"], threads: [1, 1000]), surroundings)
      let counts = choice.placement.stages.map(\.layers.count)
      #expect(counts.reduce(0, +) == layerCount && counts[0] < counts[1])
      #expect(choice.reason == nil && surroundings.backends.withLock { $0 } == 0)
    }
  }

  @Test func `a device without a measurement gets layers as fast as its backend thinks`() throws {
    try withTemporaryDirectory { directory in
      let kinds = [DeviceKind("fake-gpu") { _ in FakeGPU() }]
      let surroundings = Surroundings(in: directory, adding: kinds)
      let choice = try choose(naming(["cpu", "fake-gpu"], threads: [1, 1]), surroundings)
      // Eight times as fast as a thread.
      #expect(choice.placement.stages.map(\.layers.count) == [1, layerCount - 1])
    }
  }

  @Test func `one worker gets all, unmeasured`() throws {
    try withTemporaryDirectory { directory in
      let surroundings = Surroundings(in: directory)
      let choice = try choose(naming(["reference"]), measures: true, surroundings)
      #expect(choice.placement.stages.map(\.layers) == [0..<layerCount])
      #expect(surroundings.backends.withLock { $0 } == 0)
    }
  }

  @Test func `devices that are here are measured, and the plan says why`() throws {
    try withTemporaryDirectory { directory in
      let surroundings = Surroundings(in: directory)
      let settings = naming(["cpu", "cpu"], threads: [1, 1])
      let choice = try choose(settings, measures: true, surroundings)
      #expect(surroundings.backends.withLock { $0 } == 1)
      #expect(choice.reason?.isEmpty == false)
      #expect(choice.workers.count == choice.placement.stages.count)
      #expect(choice.placement.stages.last?.layers.upperBound == layerCount)
    }
  }
}
