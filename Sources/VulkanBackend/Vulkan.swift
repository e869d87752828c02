// The backend for GPUs through Vulkan: a program becomes a list of dispatches, which are recorded once for
// each shape of a step and submitted together.

package import Compute

/// Runs programs on a device through Vulkan.
package struct Vulkan: Backend {
  package let device: DeviceDescription
  /// nil: `Program.cacheType`.
  private let cacheType: CacheType?
  let opened: VulkanDevice

  /// The name of the silicon, as its driver has it.
  package var deviceName: String { opened.info.name }

  /// Opens a device.
  ///
  /// - Parameters:
  ///   - index: Its number in the loader's order; nil for the first that is no emulation.
  ///   - cacheType: The type in which keys and values are stored; nil for f16, or f32 if weights
  ///     are floats.
  ///   - store: Where compiled pipelines are kept between runs; nil to keep none.
  /// - Throws: `ComputeError` with code `device` if there is none, or it lacks something.
  package init(
    index: Int? = nil,
    cacheType: CacheType? = nil,
    keepingPipelinesIn store: PipelineStore? = nil
  ) throws(ComputeError) {
    try self.init(
      index: index,
      cacheType: cacheType,
      keepingPipelinesIn: store,
      of: VulkanInstance.open()
    )
  }

  init(
    index: Int?,
    cacheType: CacheType? = nil,
    keepingPipelinesIn store: PipelineStore? = nil,
    of instance: VulkanInstance,
    dividesAsOnGPU: Bool = false
  ) throws(ComputeError) {
    let info = try instance.device(index)
    self.cacheType = cacheType
    device = try Self.describe(info, name: Self.name(index), cacheType: cacheType)
    opened = try VulkanDevice(
      info,
      of: instance,
      keepingPipelinesIn: store,
      tuning: dividesAsOnGPU ? Tuning(info, isSoftware: false) : nil
    )
  }

  /// Returns the description of such a backend's device, without opening it.
  ///
  /// - Throws: As `init`.
  package static func describe(
    index: Int? = nil,
    cacheType: CacheType? = nil
  ) throws(ComputeError) -> DeviceDescription {
    let info = try VulkanInstance.open().device(index)
    return try describe(info, name: name(index), cacheType: cacheType)
  }

  /// Returns the name on the command line of the device with a number, or of the first GPU.
  package static func name(_ index: Int?) -> String { index.map { "vulkan:\($0)" } ?? "vulkan" }

  private static func describe(
    _ info: VulkanDeviceInfo,
    name: String,
    cacheType: CacheType?
  ) throws(ComputeError) -> DeviceDescription {
    var device = DeviceDescription(
      kind: .gpu,
      name: name,
      memory: info.memory,
      // A thread of the host submits and waits.
      hostThreads: 1,
      preferredRows: 128,
      // As fast as one thread where threads of the host compute, otherwise as a few.
      rateHint: info.isSoftware ? 1 : 8
    )
    device.isEmulated = info.isSoftware
    if let cacheType { device.cacheTypes = [cacheType] }
    device.sensors = DeviceSensors(monitors: ["amdgpu", "nouveau", "i915", "xe"])
    return device
  }

  /// The most AltUp streams that the kernels keep in registers.
  private static let maxStreams = 8

  package func support(for op: Op) -> Support {
    let known = device.support(for: op)
    guard case .supported = known else { return known }
    switch op {
    case .perLayerInputs(let op):
      let block = op.table.type.blockLength
      guard op.tableColumns.lowerBound.isMultiple(of: block),
        op.tableColumns.count.isMultiple(of: block)
      else {
        return .unsupported(
          reason: "columns \(op.tableColumns) of \(op.table.name) are not whole blocks of \(block)"
        )
      }
      return .supported
    case .addNormed(let op):
      let most = DispatchLowering.maxResiduals
      guard op.residuals.count > most else { return .supported }
      return .unsupported(reason: "\(op.residuals.count) residuals; at most \(most) are supported")
    case .expandStreams(let op): return support(streams: op.projections.count + 1)
    case .mergeStreams(let op): return support(streams: op.projections.count + 1)
    case .altupPredict(let op): return support(streams: op.router.weight.rows.count)
    case .altupCorrect(let op): return support(streams: op.router.weight.rows.count)
    case .projectKV(let op): return support(headDim: op.headDim)
    case .projectQueries(let op): return support(headDim: op.headDim)
    case .embed, .norm, .laurel, .appendKV, .attend, .matmul, .feedForward, .injectPerLayerInput,
      .keepWanted, .logits:
      return .supported
    }
  }

  private func support(streams: Int) -> Support {
    guard streams > Self.maxStreams else { return .supported }
    return .unsupported(reason: "\(streams) streams; at most \(Self.maxStreams) are supported")
  }

  private func support(headDim: Int) -> Support {
    guard !headDim.isMultiple(of: 2) else { return .supported }
    return .unsupported(reason: "heads of \(headDim) values, which are no pairs")
  }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    guard !program.observesInputs else {
      throw ComputeError(.unsupported, "a GPU does not observe the inputs of products; use cpu")
    }
    let previous = (previous as? VulkanExecutable).flatMap { $0.device === opened ? $0 : nil }
    let loaded = VulkanWeights(on: opened, sharing: previous?.weights)
    let lowering = try lower(
      program,
      weights: weights,
      into: loaded,
      limits: limits,
      sharing: previous,
      progress: progress
    )
    loaded.finish()
    return try VulkanExecutable(lowering, on: opened)
  }

  /// Returns a program's dispatches, with its weights loaded.
  func lower(
    _ program: Program,
    weights: any WeightSource,
    into loaded: VulkanWeights,
    limits: ExecutableLimits,
    sharing previous: VulkanExecutable? = nil,
    progress: (Double) -> Void = { _ in }
  ) throws -> DispatchLowering {
    try program.validate()
    try check(limits)
    for (index, op) in program.ops.enumerated() {
      if case .unsupported(let reason) = support(for: op) {
        throw ComputeError(.unsupported, reason, context: "op \(index), \(op.name)")
      }
      for weight in op.weights { try loaded.load(weight, from: weights) }
    }
    var lowering = try DispatchLowering(
      program: program,
      limits: limits,
      weights: loaded,
      caches: try caches(program, limits, sharing: previous),
      device: opened
    )
    try lowering.lower(progress: progress)
    return lowering
  }

  /// Returns a program's caches, and takes over those of the previous executable that are the same.
  private func caches(
    _ program: Program,
    _ limits: ExecutableLimits,
    sharing previous: VulkanExecutable?
  ) throws(ComputeError) -> [VulkanCache] {
    let type = cacheType ?? program.cacheType
    var caches: [VulkanCache] = []
    for cache in program.caches {
      let known = previous?.storage(of: cache, limits: limits) as? VulkanCache
      if let known, known.type == type {
        caches.append(known)
      } else {
        caches.append(try VulkanCache(cache, type: type, limits: limits, on: opened))
      }
    }
    return caches
  }

  private func check(_ limits: ExecutableLimits) throws(ComputeError) {
    // Rows are numbered by workgroups, of which every device has 65535 in a dimension.
    for (name, value, most) in [
      ("rows", limits.maxRows, 65535), ("slots", limits.slots, Int(Int32.max)),
      ("context tokens", limits.contextTokens, Int(Int32.max)),
    ] where !(1...most).contains(value) {
      throw ComputeError(.unsupported, "\(value) \(name) are not in 1...\(most)")
    }
  }
}
