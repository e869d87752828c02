// Turns the dispatches of an executable into recorded commands, one list for each shape of a step.

internal import CVulkan
internal import Compute

/// The recorded commands of steps with the same numbers of rows.
// @safe: the handles live as long as the recorder's pool, which the recorder alone frees.
@safe struct Recording {
  /// Commands that are submitted one after another; one, unless the step would take too long.
  var parts: [VkCommandBuffer]
  /// The multiplications, roughly: of all parts, of the largest part, of the largest dispatch.
  var cost = 0
  var largestCost = 0
  var largestDispatchCost = 0
  var dispatchCount = 0
  var barrierCount = 0
  var weightByteCount = 0

  var submitCount: Int { unsafe parts.count }

  /// Returns whether the parts are of a size for this limit.
  ///
  /// A dispatch is not divided. Only a limit that has changed a lot is worth another recording, but a step
  /// that can be one submit is to be one.
  func fits(_ costLimit: Int) -> Bool {
    let limit = max(1, costLimit)
    let needed = max(1, cost / limit + (cost.isMultiple(of: limit) ? 0 : 1))
    let isSmall = largestCost / 2 <= limit || largestCost <= largestDispatchCost
    return isSmall && submitCount < 2 * needed
  }
}

/// Counts of what a step asks of the device.
struct StepCounts: Equatable, Sendable {
  var submits: Int
  var dispatches: Int
  var barriers: Int
  /// The bytes of packed weights that products read: once for all rows of activations that a lane takes
  /// together, and wholly, whatever is zero.
  var weightBytes: Int
}

/// The descriptor sets of an executable, and its recordings.
@safe final class Recorder {
  private let device: VulkanDevice
  private let dispatches: [Dispatch]
  private let phases: [Int]
  private let sets: [VkDescriptorSet]
  private let setPool: VkDescriptorPool
  private let commandPool: VkCommandPool
  private var recordings: [RowCounts: Recording] = [:]
  private let memory: [Area: DeviceBuffer]

  /// More shapes than this are not kept at once.
  private static let maxRecordings = 32

  /// - Parameters:
  ///   - dispatches: As lowering made them.
  ///   - phases: The phase of each dispatch.
  ///   - memory: The buffer of each area.
  ///   - device: Where they will run.
  /// - Throws: `ComputeError` with code `memory` or `device`.
  init(
    _ dispatches: [Dispatch],
    phases: [Int],
    memory: [Area: DeviceBuffer],
    on device: VulkanDevice
  ) throws(ComputeError) {
    // Dispatches of one phase stand together, in the order in which they were lowered.
    let order = dispatches.indices.sorted { (phases[$0], $0) < (phases[$1], $1) }
    self.dispatches = order.map { dispatches[$0] }
    self.phases = order.map { phases[$0] }
    self.device = device
    self.memory = memory
    var setPool: VkDescriptorPool?
    let bindingCount = dispatches.reduce(0) { $0 + $1.bindings.count }
    try check(
      unsafe cvk_create_descriptor_pool(
        device.handle,
        UInt32(max(dispatches.count, 1)),
        UInt32(max(bindingCount, 1)),
        &setPool
      ),
      "vkCreateDescriptorPool"
    )
    var commandPool: VkCommandPool?
    try check(
      unsafe cvk_create_command_pool(device.handle, &commandPool),
      "vkCreateCommandPool"
    )
    guard let setPool = unsafe setPool, let commandPool = unsafe commandPool else {
      preconditionFailure("pools were made, but are not there")
    }
    unsafe self.setPool = setPool
    unsafe self.commandPool = commandPool
    var sets: [VkDescriptorSet] = unsafe []
    for dispatch in self.dispatches {
      unsafe sets.append(
        try Self.makeSet(dispatch, memory: memory, pool: setPool, device: device)
      )
    }
    unsafe self.sets = unsafe sets
  }

  deinit {
    unsafe cvk_destroy_command_pool(device.handle, commandPool)
    unsafe cvk_destroy_descriptor_pool(device.handle, setPool)
  }

  private static func buffer(_ area: Area, of memory: [Area: DeviceBuffer]) -> DeviceBuffer {
    guard let buffer = memory[area] else { preconditionFailure("no memory for \(area)") }
    return buffer
  }

  private static func makeSet(
    _ dispatch: Dispatch,
    memory: [Area: DeviceBuffer],
    pool: VkDescriptorPool,
    device: VulkanDevice
  ) throws(ComputeError) -> VkDescriptorSet {
    let ranges = unsafe dispatch.bindings.map { binding in
      switch binding {
      case .place(let place): unsafe buffer(place.area, of: memory).range(place.bytes)
      case .buffer(let buffer): unsafe buffer.range(0..<buffer.byteCount)
      }
    }
    let layout = unsafe device.setLayout(bindings: dispatch.bindings.count)
    var set: VkDescriptorSet?
    let result = unsafe ranges.withUnsafeBufferPointer { ranges in
      unsafe cvk_create_set(
        device.handle,
        pool,
        layout,
        ranges.baseAddress,
        UInt32(ranges.count),
        &set
      )
    }
    try check(result, "vkAllocateDescriptorSets of \(dispatch.shader)")
    guard let set = unsafe set else { preconditionFailure("\(dispatch.shader): no descriptor set") }
    return unsafe set
  }

  /// Returns the commands of a step with so many rows, recorded the first time.
  ///
  /// - Parameters:
  ///   - counts: The numbers of rows.
  ///   - costLimit: The multiplications, roughly, that one submit may have.
  ///   - copies: What is copied at the end.
  /// - Returns: The commands, which live until the next call.
  /// - Throws: `ComputeError` with code `memory` or `device`.
  func recording(
    _ counts: RowCounts,
    costLimit: Int,
    copies: @autoclosure () -> [cvk_copy]
  ) throws(ComputeError) -> Recording {
    if let known = recordings[counts], known.fits(costLimit) { return known }
    if recordings.count >= Self.maxRecordings || recordings[counts] != nil { forget(counts) }
    let new = try unsafe record(counts, costLimit: costLimit, copies: copies())
    device.keepPipelines()
    recordings[counts] = new
    return new
  }

  /// Frees the recording of a shape; if there is none, all of them.
  private func forget(_ counts: RowCounts) {
    let old = recordings[counts].map { [$0] } ?? Array(recordings.values)
    if recordings.removeValue(forKey: counts) == nil { recordings.removeAll() }
    for recording in old {
      unsafe recording.parts.forEach { unsafe cvk_free_commands(device.handle, commandPool, $0) }
    }
  }

  private func record(
    _ counts: RowCounts,
    costLimit: Int,
    copies: [cvk_copy]
  ) throws(ComputeError) -> Recording {
    var recording = unsafe Recording(parts: [])
    var part: [cvk_dispatch] = unsafe []
    var cost = 0
    var phase: Int?
    for index in dispatches.indices {
      let dispatch = dispatches[index]
      let rows = dispatch.rowCount(counts)
      guard rows > 0 else { continue }
      let own = dispatch.rowCost * rows
      if unsafe !part.isEmpty, cost + own > costLimit {
        unsafe recording.parts.append(try record(part, copies: []))
        unsafe part = unsafe []
        recording.largestCost = max(recording.largestCost, cost)
        (cost, phase) = (0, nil)
      }
      // The commands of a submit begin with a barrier.
      let waits = phase != nil && phase != phases[index]
      phase = phases[index]
      unsafe part.append(try call(index, rows: rows, waits: waits))
      cost += own
      recording.largestDispatchCost = max(recording.largestDispatchCost, own)
      recording.cost += own
      recording.dispatchCount += 1
      recording.barrierCount += waits ? 1 : 0
      recording.weightByteCount += dispatch.weightByteCount(rows: rows, device.tuning)
    }
    unsafe recording.parts.append(try record(part, copies: copies))
    recording.largestCost = max(recording.largestCost, cost)
    return recording
  }

  /// Runs the dispatches of one op alone, with a barrier before each.
  func run(
    op: Int,
    _ counts: RowCounts,
    _ submit: (VkCommandBuffer) throws(ComputeError) -> Void
  )
    throws(ComputeError)
  {
    var calls: [cvk_dispatch] = unsafe []
    for index in dispatches.indices where dispatches[index].op == op {
      let rows = dispatches[index].rowCount(counts)
      if rows > 0 { unsafe calls.append(try call(index, rows: rows, waits: true)) }
    }
    guard unsafe !calls.isEmpty else { return }
    let commands = unsafe try record(calls, copies: [])
    defer { unsafe cvk_free_commands(device.handle, commandPool, commands) }
    try unsafe submit(commands)
  }

  private func call(_ index: Int, rows: Int, waits: Bool) throws(ComputeError) -> cvk_dispatch {
    let dispatch = dispatches[index]
    let (kernel, groups) = dispatch.resolve(rows: rows, device.tuning)
    let pipeline = try device.pipeline(kernel, bindings: dispatch.bindings.count)
    var call = unsafe cvk_dispatch()
    unsafe call.pipeline = unsafe pipeline.handle
    unsafe call.layout = unsafe pipeline.layout
    unsafe call.set = unsafe sets[index]
    unsafe call.waits = waits
    unsafe call.push_words = UInt32(dispatch.push.count)
    var push = dispatch.push
    push[0] = UInt32(rows)
    unsafe withUnsafeMutableBytes(of: &call.push) {
      unsafe $0.copyBytes(from: push.flatMap(\.bytes))
    }
    if let groups {
      unsafe call.groups = (UInt32(groups[0]), UInt32(groups[1]), UInt32(groups[2]))
    } else if case .indirect(let place) = dispatch.shape {
      let range = unsafe Self.buffer(place.area, of: memory).range(place.bytes)
      unsafe call.indirect = unsafe range.buffer
      unsafe call.indirect_offset = unsafe range.offset
    }
    return unsafe call
  }

  private func record(
    _ calls: [cvk_dispatch],
    copies: [cvk_copy]
  ) throws(ComputeError) -> VkCommandBuffer {
    var commands: VkCommandBuffer?
    let result = unsafe calls.withUnsafeBufferPointer { calls in
      unsafe copies.withUnsafeBufferPointer { copies in
        unsafe cvk_record(
          device.handle,
          commandPool,
          calls.baseAddress,
          calls.count,
          copies.baseAddress,
          copies.count,
          &commands
        )
      }
    }
    try check(result, "vkEndCommandBuffer")
    guard let commands = unsafe commands else { preconditionFailure("no commands were recorded") }
    return unsafe commands
  }
}

extension UInt32 {
  /// The bytes in the order of the machine.
  fileprivate var bytes: [UInt8] {
    var value = self
    return unsafe withUnsafeBytes(of: &value) { unsafe Array($0) }
  }
}
