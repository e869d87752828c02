// The backend for CPU cores: a program becomes a list of kernel calls, which a pool of threads runs
// in each step.

internal import CPUKernels
package import Compute

/// Runs programs on some of the machine's CPU cores.
@safe package struct CPU: Backend {
  package let device: DeviceDescription
  /// The instruction set in use.
  package let instructionSet: InstructionSet
  /// nil: `Program.cacheType`.
  private let cacheType: CacheType?
  let pool: ThreadPool
  /// What multiplies large matrices in the place of the CPU's kernels; nil if nothing does.
  private let products: (any ProductDevice)?
  // The tables are constants of the kernels' library.
  nonisolated(unsafe) let kernels: UnsafePointer<cpu_kernels>

  /// - Parameters:
  ///   - threads: How many threads compute, the caller of `run` included. It should be at most the
  ///     number of cores, because more is slower.
  ///   - cpus: The CPU that each thread is pinned to, the caller's first; nil to let the system
  ///     choose.
  ///   - cacheType: The type in which keys and values are stored; nil for f16, or f32 if weights
  ///     are floats.
  ///   - instructionSet: The instructions to use; nil for the best that this machine has.
  ///   - memoryByteCount: How much of the machine's memory it may use; nil for all.
  ///   - products: What multiplies large matrices in the place of the CPU's kernels.
  /// - Throws: `ComputeError` with code `device` if the machine lacks the instruction set, or the
  ///   threads cannot be started.
  package init(
    threads: Int,
    pinnedTo cpus: [Int]?,
    cacheType: CacheType? = nil,
    instructionSet: InstructionSet? = nil,
    memoryByteCount: UInt64? = nil,
    products: (any ProductDevice)? = nil
  ) throws(ComputeError) {
    let chosen = instructionSet ?? .best
    guard let kernels = unsafe cpu_kernels_for(chosen.identifier) else {
      throw ComputeError(.device, "this machine has no \(chosen.rawValue) instructions")
    }
    self.instructionSet = chosen
    self.cacheType = cacheType
    self.products = products
    device = Self.describe(
      threads: threads,
      cacheType: cacheType,
      memoryByteCount: memoryByteCount
    )
    unsafe self.kernels = unsafe kernels
    pool = try ThreadPool(threadCount: threads, cpus: cpus)
  }

  /// Returns the description of such a backend's device, without starting any thread.
  package static func describe(
    threads: Int,
    cacheType: CacheType? = nil,
    memoryByteCount: UInt64? = nil
  ) -> DeviceDescription {
    var device = DeviceDescription(
      kind: .cpu,
      name: "cpu",
      memory: .host(memoryByteCount),
      hostThreads: threads,
      // The matrix kernels are at their full rate from about 64 rows on (docs/SPEED.md). With twice as
      // many, a step's fixed cost is half as much a row.
      preferredRows: 128,
      rateHint: threads
    )
    if let cacheType { device.cacheTypes = [cacheType] }
    device.sensors = .processor
    return device
  }

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
    case .expandStreams(let op): return support(streams: op.projections.count + 1)
    case .mergeStreams(let op): return support(streams: op.projections.count + 1)
    case .altupPredict(let op): return support(streams: op.router.weight.rows.count)
    case .altupCorrect(let op): return support(streams: op.router.weight.rows.count)
    case .embed, .norm, .laurel, .projectKV, .appendKV, .projectQueries, .attend, .matmul,
      .addNormed, .feedForward, .injectPerLayerInput, .keepWanted, .logits:
      return .supported
    }
  }

  private func support(streams: Int) -> Support {
    guard streams > CPU_MAX_STREAMS else { return .supported }
    return .unsupported(reason: "\(streams) streams; at most \(CPU_MAX_STREAMS) are supported")
  }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try program.validate()
    try check(limits)
    let previous = previous as? CPUExecutable
    let loaded = unsafe CPUWeights(kernels: kernels, pool: pool, sharing: previous?.weights)
    for (index, op) in program.ops.enumerated() {
      if case .unsupported(let reason) = support(for: op) {
        throw ComputeError(.unsupported, reason, context: "op \(index), \(op.name)")
      }
      for weight in op.weights { try loaded.load(weight, from: weights) }
    }
    let caches = try caches(program, limits, sharing: previous)
    var lowering = unsafe try CallLowering(
      program: program,
      kernels: kernels,
      weights: loaded,
      caches: caches,
      limits: limits,
      device: products
    )
    try lowering.lower(progress: progress)
    loaded.finish()
    return try CPUExecutable(lowering, pool: pool)
  }

  /// Returns a program's caches, and takes over those of the previous executable that are the same.
  private func caches(
    _ program: Program,
    _ limits: ExecutableLimits,
    sharing previous: CPUExecutable?
  ) throws(ComputeError) -> [CPUCache] {
    let type = cacheType ?? program.cacheType
    var caches: [CPUCache] = []
    for cache in program.caches {
      let known = previous?.storage(of: cache, limits: limits) as? CPUCache
      if let known, known.type == type {
        caches.append(known)
      } else {
        let memory = unsafe try CPUCache(
          cache,
          type: type,
          limits: limits,
          kernels: kernels,
          pool: pool
        )
        caches.append(memory)
      }
    }
    return caches
  }

  private func check(_ limits: ExecutableLimits) throws(ComputeError) {
    for (name, value) in [
      ("rows", limits.maxRows), ("slots", limits.slots), ("context tokens", limits.contextTokens),
    ] where !(1...Int(Int32.max)).contains(value) {
      throw ComputeError(.unsupported, "\(value) \(name) are not in 1...\(Int32.max)")
    }
  }
}
