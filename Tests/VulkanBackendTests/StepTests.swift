// What a step asks of the device, and what happens when the device fails in one.

import BackendConformance
import CVulkan
import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@testable import VulkanBackend

@Suite(.needsVulkan) struct `Steps on a Vulkan device` {
  private let limits = ExecutableLimits(maxRows: 8, slots: 2, contextTokens: 64)

  private func compile(_ name: String, on backend: Vulkan) throws -> (Checkpoint, ProgramRunner) {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let line = checkpoint.config.line
    let whole = ModelSlice(layers: 0..<line.layerCount, vocabulary: 0..<line.vocabularySize)
    let program = try checkpoint.config.lower(whole, weights: checkpoint)
    return (
      checkpoint,
      try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
    )
  }

  private func step(_ positions: Range<Int>, slot: Int = 0) -> Batch {
    Batch(
      rows: positions.map { position in
        Row(
          slot: slot,
          position: position,
          token: Int32(3 + position),
          isWanted: position == positions.upperBound - 1
        )
      }
    )
  }

  @Test(arguments: Goldens.random)
  func `a step is one submit, and a layer a bounded number of dispatches`(_ name: String) throws {
    let backend = try Vulkan(index: TestDevice.index)
    let (checkpoint, runner) = try compile(name, on: backend)
    for positions in [0..<5, 5..<6, 6..<7] {
      _ = try runner.run(step(positions), inputs: [])
      let executable = try #require(runner.executable as? VulkanExecutable)
      let counts = executable.lastCounts
      let layers = checkpoint.config.layers.count
      #expect(counts.submits == 1)
      // 20 for a layer of Gemma 3, 33 with AltUp, LAuReL and per-layer inputs; a few before and behind.
      #expect(counts.dispatches <= 34 * layers + 16, "\(counts)")
      // What does not depend on each other has no barrier between.
      #expect(counts.barriers < counts.dispatches, "\(counts)")
    }
  }

  @Test(arguments: ["demo-model", "gemma3n-random-a", "gemma4-random-a"])
  func `a token reads every weight once, and little besides`(_ name: String) throws {
    let (_, runner) = try compile(name, on: Vulkan(index: TestDevice.index))
    _ = try runner.run(step(0..<1), inputs: [])
    let executable = try #require(runner.executable as? VulkanExecutable)
    var read = 0
    for op in runner.program.ops {
      for weight in op.weights where Self.isMultiplied(weight, by: op) {
        // Rows are filled up to whole tiles of 16.
        let rows = (weight.rows.count + 15) / 16 * 16
        read += rows * (try #require(weight.type.byteCount(columns: weight.columns)))
      }
    }
    #expect(read > 0 && executable.lastCounts.weightBytes >= read)
    #expect(Double(executable.lastCounts.weightBytes) <= 1.05 * Double(read), "\(read)")
  }

  /// Whether an op multiplies by a weight as a matrix, and does not look rows up, or read a gain or the few
  /// numbers of AltUp.
  private static func isMultiplied(_ weight: WeightRef, by op: Op) -> Bool {
    switch op {
    case .embed, .altupPredict, .altupCorrect: false
    case .perLayerInputs(let op): weight == op.projection
    default: weight.rows.count > 1 && weight.columns > 1
    }
  }

  @Test func `a step that would take too long is cut into submits, and no bit changes`() throws {
    let backend = try Vulkan(index: TestDevice.index)
    let (_, whole) = try compile("gemma3n-random-a", on: backend)
    let (_, cut) = try compile("gemma3n-random-a", on: backend)
    let executable = try #require(cut.executable as? VulkanExecutable)
    executable.submitSeconds = 1e-5
    for positions in [0..<5, 5..<6, 6..<7] {
      let want = try whole.run(step(positions), inputs: [])[0].map(\.bitPattern)
      #expect(try cut.run(step(positions), inputs: [])[0].map(\.bitPattern) == want)
      #expect(executable.lastCounts.submits > 10, "\(executable.lastCounts)")
    }
  }

  @Test func `parts are recorded again if the limit has changed a lot, or one would do`() {
    func recording(_ costs: [Int], largest: Int) -> Recording {
      var recording = unsafe Recording(parts: [])
      recording.cost = costs.reduce(0, +)
      recording.largestCost = costs.max() ?? 0
      recording.largestDispatchCost = largest
      return recording
    }
    // Without commands it counts as no submit, so only the sizes matter here.
    let parts = recording([90, 80, 100], largest: 60)
    #expect(parts.fits(100) && parts.fits(60) && parts.fits(50))
    #expect(!parts.fits(49))
    // One dispatch that is larger than any limit stays.
    #expect(recording([500], largest: 500).fits(10))
  }

  @Test func `a lost device is an error of its own, in whichever call it shows`() throws {
    for call in ["submit", "wait"] {
      let backend = try Vulkan(index: TestDevice.index)
      let (_, runner) = try compile("gemma3-random-b", on: backend)
      _ = try runner.run(step(0..<3), inputs: [])
      if call == "submit" {
        unsafe backend.opened.hooks.pointee.queue_submit = { _, _, _, _ in VK_ERROR_DEVICE_LOST }
      } else {
        unsafe backend.opened.hooks.pointee.wait_semaphores = { _, _, _ in VK_ERROR_DEVICE_LOST }
      }
      let error = #expect(throws: ComputeError.self, "\(call)") {
        try runner.run(step(3..<4), inputs: [])
      }
      #expect(error?.code == .device, "\(call): \(error.map(String.init(describing:)) ?? "")")
      #expect(error?.description.contains("VK_ERROR_DEVICE_LOST") == true, "\(call)")
    }
  }

  @Test func `a device without memory is an error of its own, and nothing is left behind`() throws {
    let backend = try Vulkan(index: TestDevice.index)
    let allocate = unsafe backend.opened.hooks.pointee.allocate_memory
    unsafe backend.opened.hooks.pointee.allocate_memory = { _, _, _, _ in
      VK_ERROR_OUT_OF_DEVICE_MEMORY
    }
    let error = #expect(throws: ComputeError.self) { try compile("gemma3-random-b", on: backend) }
    #expect(error?.code == .memory, "\(error.map(String.init(describing:)) ?? "")")
    unsafe backend.opened.hooks.pointee.allocate_memory = unsafe allocate
    let (_, runner) = try compile("gemma3-random-b", on: backend)
    #expect(try runner.run(step(0..<3), inputs: []).allSatisfy(areFinite))
  }

  @Test func `there is no device with a number too large, and that is said`() throws {
    let error = #expect(throws: ComputeError.self) { try Vulkan(index: 4711) }
    #expect(error?.code == .device)
    #expect(error?.message.contains("4711") == true && error?.message.contains("0 (") == true)
  }
}
