// How much of the model each worker can hold: bytes held, in the device's own memory or in one that
// several workers take from.

internal import Compute
internal import Gemma
internal import Wire

/// What bounds the slices of one worker, looked up once for searches that ask often.
struct WorkerBounds {
  let footprint: ModelFootprint
  let limits: ExecutableLimits
  let cacheType: CacheType
  let memory: DeviceMemory
  let inability: Inability
  let obstacles: DeviceObstacles

  /// Returns what the worker holds with a slice.
  func held(_ slice: ModelSlice) -> HeldMemory {
    let held = footprint.held(slice, in: limits, cacheType: cacheType)
    return memory.isHostMemory ? held : held.copied
  }

  /// Whether the worker's device can run a slice, as far as is known, and it has not failed to hold it.
  func mayTry(_ slice: ModelSlice) -> Bool {
    obstacles.obstacle(to: slice) == nil && !inability.excludes(Double(held(slice).total))
  }

  /// Whether its memory has room for a slice, whatever others hold.
  func hasRoom(for slice: ModelSlice) -> Bool {
    UInt64(clamping: held(slice).total) <= memory.byteCount
  }
}

extension CoordinatorMachine {
  /// Returns what bounds a worker's slices; nil if it is not here.
  func bounds(of name: String) -> WorkerBounds? {
    guard let worker = workers[name] else { return nil }
    return WorkerBounds(
      footprint: model.footprint,
      limits: limits.executable,
      cacheType: worker.device.cacheType(beside: model.footprint.cacheType),
      memory: worker.device.memory,
      inability: worker.inability,
      obstacles: worker.obstacles
    )
  }

  /// Returns what a worker holds with a slice; as the host would, if the worker is not here.
  func held(_ slice: ModelSlice, by name: String) -> HeldMemory {
    bounds(of: name)?.held(slice)
      ?? model.footprint.held(
        slice,
        in: limits.executable,
        cacheType: model.footprint.cacheType
      )
  }

  /// Returns the bytes that a place takes in its worker's memory.
  func bytes(of place: PlannedWorker) -> Double {
    Double(held(place.slice, by: place.name).total)
  }

  /// Returns why a worker cannot hold a slice; nil if nothing speaks against it.
  func obstacle(to slice: ModelSlice, on name: String) -> String? {
    guard let bounds = bounds(of: name) else { return "worker \(name) is not connected" }
    guard bounds.mayTry(slice) else {
      return obstacle(ofDevice: name, to: slice) ?? bounds.inability.reason
    }
    guard !bounds.hasRoom(for: slice) else { return nil }
    let bytes = UInt64(clamping: bounds.held(slice).total)
    return "too little memory: \(name) would need \(megabytes(bytes)) for layers "
      + "\(model.config.line.text(slice)) and has \(megabytes(bounds.memory.byteCount))"
  }

  /// Returns why the workers of a placement cannot hold it; nil if nothing speaks against it.
  func obstacleOfMemory(to plan: [PlannedWorker]) -> String? {
    plan.lazy.compactMap { self.obstacle(to: $0.slice, on: $0.name) }.first
      ?? obstacleOfSharing(plan)
  }

  private func megabytes(_ bytes: UInt64) -> String { "\(bytes / 1_000_000) MB" }

  // MARK: Memory that workers share

  /// A memory that several workers take from.
  private struct MemoryKey: Hashable {
    var machine: String
    /// The device that has it; nil for the host.
    var device: String?
  }

  /// Returns which memory a worker shares with others of its machine; nil if it has one of its own, or
  /// nobody knows on which machine it runs.
  private func sharedMemory(of name: String) -> MemoryKey? {
    guard let worker = workers[name], worker.device.memory.isSharedByWorkers,
      !worker.hello.machine.isEmpty
    else { return nil }
    let device = worker.device
    return MemoryKey(
      machine: worker.hello.machine,
      device: device.memory.isHostMemory ? nil : device.name
    )
  }

  /// Returns which of some stages' workers take from one memory; nil if none do.
  ///
  /// Each tells how much of it there is for one worker; together they have as much as the one with most.
  func sharedMemory(of names: [String]) -> SharedMemory? {
    let keys = names.map { sharedMemory(of: $0) }
    var pools: [MemoryKey] = []
    for case .some(let key) in keys where keys.count(where: { $0 == key }) > 1 {
      if !pools.contains(key) { pools.append(key) }
    }
    guard !pools.isEmpty else { return nil }
    let bounds = names.map { self.bounds(of: $0) }
    return SharedMemory(
      pools: keys.map { key in key.flatMap { pools.firstIndex(of: $0) } },
      byteCounts: pools.map { pool in
        zip(names, keys).filter { $1 == pool }
          .compactMap { workers[$0.0]?.device.memory.byteCount }.max() ?? 0
      },
      held: { bounds[$0]?.held($1) ?? HeldMemory() }
    )
  }

  /// Returns why workers that share memory cannot hold a placement together; nil if they can.
  func obstacleOfSharing(_ plan: [PlannedWorker]) -> String? {
    guard let sharing = sharedMemory(of: plan.map(\.name)) else { return nil }
    let use = sharing.use(of: plan.map(\.slice))
    guard let pool = use.indices.first(where: { !sharing.fits(use[$0], in: $0) }) else {
      return nil
    }
    let names = plan.indices.filter { sharing.pools[$0] == pool }.map { plan[$0].name }
    return "too little memory: \(names.joined(separator: ", ")) would need "
      + "\(megabytes(UInt64(use[pool].total))) together, and their machine has "
      + "\(megabytes(sharing.byteCounts[pool]))"
  }
}
