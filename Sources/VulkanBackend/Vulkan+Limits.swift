// Measures the limits of a device: how fast it reads its memory, and how fast it multiplies.

internal import CVulkan
package import Compute

extension Vulkan {
  /// Measures the limits: for each, the best of five runs.
  ///
  /// Takes about a second, and as much memory as one binding may have, at most 256 MiB.
  ///
  /// - Throws: `ComputeError` with code `memory` or `device`.
  package func measureLimits() throws(ComputeError) -> MachineLimits {
    let lab = try LimitsLab(opened)
    return MachineLimits(
      bytesPerSecond: try lab.bytesPerSecond(),
      integerOperationsPerSecond: try lab.operationsPerSecond("multiply_integers", each: 8),
      floatOperationsPerSecond: try lab.operationsPerSecond("multiply_floats", each: 2)
    )
  }
}

/// Runs single dispatches and takes their time.
@safe private final class LimitsLab {
  private let device: VulkanDevice
  private let memory: DeviceBuffer
  private let sink: DeviceBuffer
  private let timeline: VkSemaphore
  private var submitted: UInt64 = 0

  init(_ device: VulkanDevice) throws(ComputeError) {
    self.device = device
    memory = try DeviceBuffer(
      min(256 << 20, device.info.maxRangeBytes),
      .device,
      on: device,
      purpose: "the bandwidth test"
    )
    sink = try DeviceBuffer(256, .device, on: device, purpose: "the bandwidth test")
    var timeline: VkSemaphore?
    try check(unsafe cvk_create_timeline(device.handle, &timeline), "vkCreateSemaphore")
    guard let timeline = unsafe timeline else { preconditionFailure("no semaphore") }
    unsafe self.timeline = timeline
  }

  deinit {
    unsafe cvk_wait_idle(device.handle)
    unsafe cvk_destroy_timeline(device.handle, timeline)
  }

  /// A device has enough lanes with so many to be busy.
  private static let groups = 4096

  func bytesPerSecond() throws(ComputeError) -> Double {
    let vectors = memory.byteCount / 16
    return try best(
      "read_memory",
      [.buffer(memory), .buffer(sink)],
      push: vectors,
      work: Double(vectors) * 16
    )
  }

  /// `each` is the number of operations of one lane in one step of one of its eight chains.
  func operationsPerSecond(_ shader: String, each: Int) throws(ComputeError) -> Double {
    // Few at first, because an emulation is a thousand times slower than a GPU.
    var rounds = 64
    while true {
      let lanes = Self.groups * device.tuning.lanes
      let work = Double(lanes * rounds * 8 * each)
      let rate = try best(shader, [.buffer(sink)], push: rounds, work: work)
      if work / rate > 0.005 || rounds > 1 << 20 { return rate }
      rounds *= 8
    }
  }

  private func best(
    _ shader: String,
    _ bindings: [Binding],
    push: Int,
    work: Double
  ) throws(ComputeError) -> Double {
    let dispatch = Dispatch(
      op: 0,
      shader: shader,
      constants: [],
      bindings: bindings,
      push: [0, UInt32(push)],
      rows: .all,
      rowRange: 0..<1,
      shape: .columns(Self.groups * device.tuning.lanes, planes: 1),
      reads: [],
      writes: [],
      rowCost: 0
    )
    let recorder = try Recorder([dispatch], phases: [0], memory: [:], on: device)
    let recording = try unsafe recorder.recording(
      RowCounts(all: 1, wanted: 0),
      costLimit: .max,
      copies: []
    )
    var shortest = Duration.seconds(3600)
    for _ in 0..<5 {
      let began = ContinuousClock.now
      submitted += 1
      try unsafe device.submit(recording.parts[0], timeline, submitted)
      try unsafe device.wait(timeline, submitted)
      shortest = min(shortest, .now - began)
    }
    return work / (shortest / .seconds(1))
  }
}
