// Vulkan's validation layer, with its checks of synchronization and of accesses by shaders, has nothing to
// say; and it would say something.

import BackendConformance
import CVulkan
import Compute
import TestSupport
import Testing

@testable import VulkanBackend

@Suite(.needsVulkan) struct `Vulkan validation` {
  private func validated() throws -> VulkanInstance {
    // Debian's package vulkan-validationlayers, which scripts/setup installs.
    try VulkanInstance(isValidated: true)
  }

  /// Each has an instance of its own, whose messages nobody else causes.
  @Test(arguments: OpKind.allCases)
  func `every op runs without a message`(_ kind: OpKind) throws {
    let instance = try validated()
    let backend = try Vulkan(index: TestDevice.index, of: instance)
    let seed = testSeed(default: 7)
    // The largest and the smallest case; the suite runs all of them.
    let cases = kind.cases(seed: seed)
    for testCase in [cases.first, cases.last].compactMap(\.self) {
      _ = try testCase.run(on: backend, .mixed, seed: seed)
      #expect(testCase.program.ops.contains { $0.kind == kind })
    }
    #expect(instance.validationMessageCount == 0)
  }

  @Test func `sessions move without a message`() throws {
    let instance = try validated()
    let backend = try Vulkan(index: TestDevice.index, of: instance)
    let wrong = try checkMoves(of: backend, foreign: nil, seed: 5)
    #expect(wrong.isEmpty, "\(wrong)")
    #expect(instance.validationMessageCount == 0)
  }

  @Test func `a barrier that is missing is reported`() throws {
    let instance = try validated()
    let backend = try Vulkan(index: TestDevice.index, of: instance)
    let device = backend.opened
    // A norm and another of its result, in the same phase.
    var memory: [Area: DeviceBuffer] = [:]
    for area in Area.allCases {
      memory[area] = try DeviceBuffer(4096, .device, on: device, purpose: "a test")
    }
    func norm(from: Int, to: Int) -> Dispatch {
      Dispatch(
        op: 0,
        shader: "norm",
        constants: [0],
        bindings: [from, 0, to].map {
          .place(Place(area: .working, bytes: $0..<($0 + 256)))
        },
        push: [0, 64, 0],
        rows: .all,
        rowRange: 0..<1,
        shape: .rows(y: 1),
        reads: [],
        writes: [],
        rowCost: 0
      )
    }
    let calls = [norm(from: 1024, to: 2048), norm(from: 2048, to: 3072)]
    for (phases, isReported) in [([0, 1], false), ([0, 0], true)] {
      let before = instance.validationMessageCount
      let recorder = try Recorder(calls, phases: phases, memory: memory, on: device)
      let recording = try unsafe recorder.recording(
        RowCounts(all: 1, wanted: 0),
        costLimit: .max,
        copies: []
      )
      var timeline: VkSemaphore?
      try check(unsafe cvk_create_timeline(device.handle, &timeline), "vkCreateSemaphore")
      defer { unsafe cvk_destroy_timeline(device.handle, timeline) }
      try unsafe device.submit(recording.parts[0], #require(timeline), 1)
      try unsafe device.wait(#require(timeline), 1)
      #expect((instance.validationMessageCount > before) == isReported, "phases \(phases)")
    }
  }
}
