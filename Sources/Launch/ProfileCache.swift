// Profiles of this machine's devices. Each is measured once for a model, a device, its threads and
// a version of this program, and then kept in the user's cache.

internal import Compute
internal import Content
internal import Coordinator
internal import Foundation
internal import Gemma
internal import Platform
internal import Wire

/// Returns profiles from the cache, and measures those that it lacks.
struct ProfileCache {
  let checkpoint: Checkpoint
  /// Returns the digest of config and weights; called only if a profile is needed.
  let fingerprint: () throws -> Digest
  let shape: ModelShape
  let cacheType: CacheType?
  /// Whether to measure again what the cache has.
  let measuresAgain: Bool
  let context: LaunchContext

  /// If a token reads less than this, the model stays in the processor's cache, and memory
  /// bandwidth does not limit it.
  private static let cachedByteCount = 32.0 * 1024 * 1024

  /// How long measuring may take before it is told where no progress is shown.
  private static let patience = Duration.seconds(2)

  /// Returns the profiles of some workers, in their order, each under its worker's name.
  func profiles(of workers: [WorkerPlan]) throws -> [ProfileDocument] {
    var known: [String: ProfileDocument] = [:]
    var documents: [ProfileDocument] = []
    let fingerprint = try fingerprint()
    for worker in workers {
      let file = fileName(worker, fingerprint)
      var document =
        try known[file] ?? load(file, worker) ?? measure(worker, file, beside: known.values.first)
      known[file] = document
      // The available memory is different at each start, so the cached number is replaced.
      let memory = LocalMachine.availableMemoryBytes
      for index in document.devices.indices {
        document.devices[index].name = worker.name
        if !document.devices[index].hasOwnMemory { document.devices[index].memoryBytes = memory }
      }
      for index in document.machines.indices { document.machines[index].memoryBytes = memory }
      documents.append(document)
    }
    return documents
  }

  /// Returns what a worker's device cannot run of the model.
  func obstacles(of worker: WorkerPlan) throws -> DeviceObstacles {
    let device = try worker.device.describe(
      BackendSettings(threads: worker.threads, cpus: worker.cpus, cacheType: cacheType)
    )
    return DeviceObstacles(try checkpoint.config.ops(weights: checkpoint)) {
      device.support(for: $0)
    }
  }

  private func measure(
    _ worker: WorkerPlan,
    _ file: String,
    beside other: ProfileDocument?
  ) throws -> ProfileDocument {
    let machine = LocalMachine.name
    let memory = LocalMachine.availableMemoryBytes
    let device = try measureDevice(worker, machine: machine, memoryBytes: memory)
    let document = ProfileDocument(
      model: checkpoint.name,
      machines: try other?.machines ?? [measureMachine(machine, memoryBytes: memory)],
      devices: [device],
      links: try other?.links ?? [LinkLab.measure(machine: machine)]
    )
    store(document, file)
    return document
  }

  private func measureDevice(
    _ worker: WorkerPlan,
    machine: String,
    memoryBytes: Double
  ) throws -> DeviceProfile {
    let line = context.reporter.progress("measuring \(worker.name)")
    defer { line.clear() }
    line.show(0)
    let (began, isTold, reporter) = (ContinuousClock.now, Lock(false), context.reporter)
    let (checkpoint, shape, cacheType) = (checkpoint, shape, cacheType)
    return try onThreadOfItsOwn {
      let projection = worker.device.makeProjection
      let backend = try (projection ?? worker.device.makeBackend)(
        BackendSettings(threads: worker.threads, cpus: worker.cpus, cacheType: cacheType)
      )
      let lab = try StageLab(checkpoint, shape, backend: backend) { fraction in
        line.show(fraction)
        // Where no progress is shown, a line says what takes so long.
        guard !reporter.showsProgress, ContinuousClock.now - began > Self.patience else { return }
        let isNews = isTold.withLock { told in
          defer { told = true }
          return !told
        }
        if isNews { reporter.note("measuring \(worker.name), once for this model", cause: nil) }
      }
      let memory = backend.device.memory
      var profile = try lab.measure(
        name: worker.name,
        kind: projection != nil
          ? .projected : backend.device.isEmulated ? .emulated : .measured,
        machine: machine,
        memoryBytes: memory.isHostMemory ? memoryBytes : Double(memory.byteCount)
      )
      if projection != nil {
        profile.derivation =
          "one-layer programs, the CPU's part timed on this machine, the device's by arithmetic"
      }
      if !memory.isHostMemory { profile.ownsMemory = true }
      profile.cache = backend.device.cacheType(beside: shape.footprint.cacheType).rawValue
      return profile
    }
  }

  private func measureMachine(_ name: String, memoryBytes: Double) throws -> MachineProfile {
    var bandwidth: Double?
    if checkpoint.decodeCost.total > Self.cachedByteCount {
      bandwidth = try context.devices.measureMemory(AvailableCPUs.own.usableCount)
    }
    return MachineProfile(
      name: name,
      kind: .measured,
      derivation: bandwidth == nil
        ? "the model stays in the processor's cache"
        : "read by all CPUs at once, the best of five runs",
      memoryBytes: memoryBytes,
      sharedBandwidthBytesPerSecond: bandwidth
    )
  }

  // MARK: Files

  private var files: CacheFiles { CacheFiles(directory: context.profileDirectory) }

  private func fileName(_ worker: WorkerPlan, _ fingerprint: Digest) -> String {
    [
      LocalMachine.name, fingerprint.description,
      worker.device.name + (worker.device.isEmulation ? "-emulated" : ""), "\(worker.threads)",
      cacheType?.rawValue ?? "default", context.programVersion,
    ].joined(separator: "-") + ".json"
  }

  /// Returns a profile of the cache; nil if there is none that can be used, and says so.
  private func load(_ file: String, _ worker: WorkerPlan) -> ProfileDocument? {
    guard !measuresAgain else { return nil }
    do {
      guard let path = try files.path(of: file) else { return nil }
      let document = try ProfileDocument.read(path)
      guard document.devices.count == 1, document.machines.count == 1 else {
        throw LaunchError(
          .profile,
          "the profile has \(document.devices.count) devices and \(document.machines.count) machines; expected one of each"
        )
      }
      _ = try PipelineCosts(
        shape: shape,
        documents: [document],
        obstacles: try [document.devices[0].name: obstacles(of: worker)]
      )
      return document
    } catch {
      context.reporter.note("cached profile cannot be used; measuring again", cause: error)
      return nil
    }
  }

  /// Stores a profile.
  ///
  /// If that fails, the reason is reported, and the next start measures again.
  private func store(_ document: ProfileDocument, _ file: String) {
    do {
      try files.write(document.json(), as: file)
    } catch {
      context.reporter.note(
        "profile cannot be stored; the next start will measure again",
        cause: error
      )
    }
  }
}
