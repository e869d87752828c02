// An opened device: its pipelines, its queue, and transfers to and from its memory.

internal import CVulkan
internal import Compute
internal import Synchronization
internal import VulkanKernels

/// A shader with the values of its specialization constants, by their numbers.
struct Kernel: Hashable, Sendable {
  var shader: String
  var constants: [UInt32]
}

/// A compiled kernel.
// @unchecked Sendable: the handles are never changed, and live as long as the device.
@safe struct Pipeline: @unchecked Sendable {
  let handle: VkPipeline
  let layout: VkPipelineLayout
}

/// A device that is open.
// @safe, @unchecked Sendable: handles are only read after init; what changes is behind locks.
@safe final class VulkanDevice: @unchecked Sendable {
  let info: VulkanDeviceInfo
  let tuning: Tuning
  private let instance: VulkanInstance
  let handle: OpaquePointer
  private let pipelines = Mutex(Pipelines())
  private let kept: KeptPipelines?
  /// By the number of their bindings.
  private let layouts: [cvk_layout]
  /// Guards the queue, and knows whether anything was ever submitted.
  private let queue = Mutex(false)
  private let transfers: Transfers

  /// The most buffers that a kernel has.
  private static let maxBindings = 8

  private struct Pipelines {
    var known: [Kernel: Pipeline] = [:]
    /// Whether some are not kept yet.
    var haveNew = false
  }

  /// - Parameters:
  ///   - info: The device.
  ///   - instance: What it is a device of.
  ///   - store: Where compiled pipelines are kept between runs; nil to keep none.
  ///   - tuning: How kernels are divided; nil for what suits the device.
  /// - Throws: `ComputeError` with code `device` or `memory`.
  init(
    _ info: VulkanDeviceInfo,
    of instance: VulkanInstance,
    keepingPipelinesIn store: PipelineStore? = nil,
    tuning: Tuning? = nil
  ) throws(ComputeError) {
    self.info = info
    kept = store.map { KeptPipelines($0, for: info) }
    self.tuning = tuning ?? Tuning(info)
    self.instance = instance
    var opened: OpaquePointer?
    try check(
      unsafe cvk_open_device(instance.handle, UInt32(info.index), &opened),
      "vkCreateDevice"
    )
    guard let handle = unsafe opened else {
      preconditionFailure("vkCreateDevice succeeded without a device")
    }
    unsafe self.handle = handle
    var layouts: [cvk_layout] = unsafe []
    for count in 0...Self.maxBindings {
      var layout = unsafe cvk_layout()
      try check(
        unsafe cvk_create_layout(handle, UInt32(count), &layout),
        "vkCreatePipelineLayout"
      )
      unsafe layouts.append(layout)
    }
    unsafe self.layouts = unsafe layouts
    transfers = unsafe Transfers(handle)
    if let kept { try openCache(kept.load() ?? []) }
  }

  deinit {
    // A driver without hardware cannot wait.
    if queue.withLock({ $0 }) { unsafe cvk_wait_idle(handle) }
    transfers.close()
    pipelines.withLock { pipelines in
      for pipeline in pipelines.known.values {
        unsafe cvk_destroy_pipeline(handle, pipeline.handle)
      }
    }
    unsafe layouts.forEach { unsafe cvk_destroy_layout(handle, $0) }
    unsafe cvk_close_device(handle)
  }

  /// The functions that tests replace to make the device fail.
  var hooks: UnsafeMutablePointer<cvk_hooks> { unsafe cvk_device_hooks(handle) }

  /// Returns the layout of descriptor sets of a kernel with so many buffers.
  func setLayout(bindings: Int) -> VkDescriptorSetLayout { unsafe layouts[bindings].set }

  // MARK: Pipelines

  /// Returns a kernel compiled; the first time this takes the driver some time.
  func pipeline(_ kernel: Kernel, bindings: Int) throws(ComputeError) -> Pipeline {
    let known = pipelines.withLock { $0.known[kernel] }
    if let known { return known }
    let new = try compile(kernel, bindings: bindings, captures: false)
    return pipelines.withLock { pipelines in
      if let other = pipelines.known[kernel] {
        unsafe cvk_destroy_pipeline(handle, new.handle)
        return other
      }
      pipelines.known[kernel] = new
      pipelines.haveNew = true
      return new
    }
  }

  private func openCache(_ data: [UInt8]) throws(ComputeError) {
    let result = unsafe data.withUnsafeBytes { bytes in
      unsafe cvk_open_pipeline_cache(handle, bytes.baseAddress, bytes.count)
    }
    try check(result, "vkCreatePipelineCache")
  }

  /// Keeps the pipelines that were compiled since the last call for the next run.
  ///
  /// That they cannot be kept costs only time, so it is no error.
  func keepPipelines() {
    let haveNew = pipelines.withLock { pipelines in
      defer { pipelines.haveNew = false }
      return pipelines.haveNew
    }
    guard let kept, haveNew else { return }
    var count = 0
    guard unsafe cvk_pipeline_cache_data(handle, nil, &count) == 0, count > 0 else { return }
    var data = Array(repeating: UInt8(0), count: count)
    let result = unsafe data.withUnsafeMutableBytes { bytes in
      unsafe cvk_pipeline_cache_data(handle, bytes.baseAddress, &count)
    }
    if result == 0 { kept.save(Array(data.prefix(count))) }
  }

  func compile(
    _ kernel: Kernel,
    bindings: Int,
    captures: Bool
  ) throws(ComputeError) -> Pipeline {
    guard let shader = unsafe vulkan_shader_named(kernel.shader) else {
      preconditionFailure("there is no shader \(kernel.shader)")
    }
    let layout = unsafe layouts[bindings].pipeline
    var pipeline: VkPipeline?
    let result = unsafe kernel.constants.withUnsafeBufferPointer { constants in
      unsafe cvk_create_pipeline(
        handle,
        layout,
        shader.pointee.words,
        shader.pointee.byte_count,
        constants.baseAddress,
        UInt32(constants.count),
        captures,
        &pipeline
      )
    }
    try check(result, "vkCreateComputePipelines of \(kernel.shader)")
    guard let handle = unsafe pipeline, let layout = unsafe layout else {
      preconditionFailure("\(kernel.shader): no pipeline")
    }
    return unsafe Pipeline(handle: handle, layout: layout)
  }

  // MARK: Work

  /// Submits commands; the timeline reaches `value` when they have ended.
  func submit(
    _ commands: VkCommandBuffer,
    _ timeline: VkSemaphore,
    _ value: UInt64
  ) throws(ComputeError) {
    let result = queue.withLock { isUsed in
      isUsed = true
      return unsafe cvk_submit(handle, commands, timeline, value)
    }
    try check(result, "vkQueueSubmit")
  }

  /// Waits until the timeline has reached `value`.
  ///
  /// - Throws: `ComputeError` with code `device` if that takes longer than a minute: a driver ends
  ///   work that hangs much earlier.
  func wait(_ timeline: VkSemaphore, _ value: UInt64) throws(ComputeError) {
    try check(unsafe cvk_wait(handle, timeline, value, 60_000_000_000), "vkWaitSemaphores")
  }

  /// Runs copies between buffers, and returns when they have ended.
  func copy(_ copies: [cvk_copy]) throws(ComputeError) {
    guard unsafe !copies.isEmpty else { return }
    try unsafe transfers.run(copies, on: self)
  }

  /// Writes bytes to a buffer.
  func write(
    _ bytes: UnsafeRawBufferPointer,
    to buffer: DeviceBuffer,
    at offset: Int
  ) throws(ComputeError) {
    guard let source = bytes.baseAddress else { return }
    if let mapped = unsafe buffer.mapped {
      unsafe (mapped + offset).copyMemory(from: source, byteCount: bytes.count)
      return
    }
    let staging = try DeviceBuffer(bytes.count, .upload, on: self, purpose: "a transfer")
    try unsafe write(bytes, to: staging, at: 0)
    try unsafe copy([buffer.copy(from: staging, at: 0, to: offset, byteCount: bytes.count)])
  }

  /// Writes values to a buffer.
  func write<Value: BitwiseCopyable>(
    _ values: [Value],
    to buffer: DeviceBuffer,
    at offset: Int
  ) throws(ComputeError) {
    var thrown: ComputeError?
    unsafe values.withUnsafeBytes { bytes in
      do throws(ComputeError) {
        try unsafe write(bytes, to: buffer, at: offset)
      } catch {
        thrown = error
      }
    }
    if let thrown { throw thrown }
  }

  /// Reads bytes of a buffer, by the device if the host would read them slowly.
  func read<Value: BitwiseCopyable>(
    _ type: Value.Type,
    from buffer: DeviceBuffer,
    at offset: Int,
    count: Int
  ) throws(ComputeError) -> [Value] {
    if let mapped = unsafe buffer.mapped, buffer.isCached {
      let values = unsafe (mapped + offset).assumingMemoryBound(to: type)
      return unsafe Array(UnsafeBufferPointer(start: values, count: count))
    }
    let byteCount = count * MemoryLayout<Value>.stride
    let staging = try DeviceBuffer(byteCount, .download, on: self, purpose: "a transfer")
    try unsafe copy([staging.copy(from: buffer, at: offset, to: 0, byteCount: byteCount)])
    let values = unsafe staging.hostMemory.assumingMemoryBound(to: type)
    return unsafe Array(UnsafeBufferPointer(start: values, count: count))
  }
}

/// Copies outside the steps of executables, one list at a time.
// @unchecked Sendable: all use is behind the lock.
@safe private final class Transfers: @unchecked Sendable {
  // @unchecked Sendable: the handles are used behind the lock alone.
  @safe private struct State: @unchecked Sendable {
    var pool: VkCommandPool?
    var timeline: VkSemaphore?
    var value: UInt64 = 0
  }

  private let device: OpaquePointer
  private let state = Mutex(State())

  init(_ device: OpaquePointer) { unsafe self.device = device }

  func close() {
    state.withLock { state in
      if let pool = unsafe state.pool { unsafe cvk_destroy_command_pool(device, pool) }
      if let timeline = unsafe state.timeline { unsafe cvk_destroy_timeline(device, timeline) }
    }
  }

  func run(_ copies: [cvk_copy], on owner: VulkanDevice) throws(ComputeError) {
    try state.withLock { (state) throws(ComputeError) in
      // Made when they are first needed: a driver without hardware has no semaphores.
      if unsafe state.pool == nil {
        try check(unsafe cvk_create_command_pool(device, &state.pool), "vkCreateCommandPool")
        try check(unsafe cvk_create_timeline(device, &state.timeline), "vkCreateSemaphore")
      }
      var commands: VkCommandBuffer?
      let result = unsafe copies.withUnsafeBufferPointer { copies in
        unsafe cvk_record(device, state.pool, nil, 0, copies.baseAddress, copies.count, &commands)
      }
      try check(result, "vkEndCommandBuffer")
      guard let commands = unsafe commands, let timeline = unsafe state.timeline else { return }
      defer { unsafe cvk_free_commands(device, state.pool, commands) }
      state.value += 1
      try unsafe owner.submit(commands, timeline, state.value)
      try unsafe owner.wait(timeline, state.value)
    }
  }
}
