// Profiles of this machine's devices: measured once for a model, a device, its threads and a version of
// this program, then kept in the user's cache.

import Compute
import Content
import Coordinator
import CPUBackend
import Foundation
import Gemma
import Glibc
import Platform
import Wire

/// Measures profiles, or finds those measured before.
struct ProfileCache {
  let checkpoint: Checkpoint
  /// Of config and weights; asked for only where a profile is.
  let fingerprint: () throws -> Digest
  let shape: ModelShape
  let cacheType: CacheType?
  /// Whether to measure what the cache has.
  let measuresAgain: Bool

  /// Models of which a token reads less stay in the processor's cache: memory does not limit them.
  private static let cachedByteCount = 32.0 * 1024 * 1024

  /// Returns the profiles of some workers, in their order, each under its worker's name.
  func profiles(of workers: [WorkerPlan]) throws -> [ProfileDocument] {
    var known: [String: ProfileDocument] = [:]
    var documents: [ProfileDocument] = []
    let fingerprint = try fingerprint()
    for worker in workers {
      let file = fileName(worker, fingerprint)
      var document =
        try known[file] ?? load(file) ?? measure(worker, file, beside: known.values.first)
      known[file] = document
      // What is free changes from start to start.
      let memory = Double(SystemMemory.available ?? SystemMemory.total)
      for index in document.devices.indices {
        document.devices[index].name = worker.name
        document.devices[index].memoryBytes = memory
      }
      for index in document.machines.indices { document.machines[index].memoryBytes = memory }
      documents.append(document)
    }
    return documents
  }

  private func measure(
    _ worker: WorkerPlan,
    _ file: String,
    beside other: ProfileDocument?
  ) throws -> ProfileDocument {
    let machine = Self.hostName()
    let memory = Double(SystemMemory.available ?? SystemMemory.total)
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
    let line = ProgressLine(label: "measuring \(worker.name)")
    defer { line.clear() }
    line.show(0)
    let (checkpoint, shape, cacheType) = (checkpoint, shape, cacheType)
    return try onThreadOfItsOwn {
      let backend = try worker.device.makeBackend(
        threads: worker.threads,
        pinnedTo: worker.cpus,
        cacheType: cacheType
      )
      return try StageLab(checkpoint, shape, backend: backend) { line.show($0) }
        .measure(
          name: worker.name,
          kind: worker.device.numberKind,
          machine: machine,
          memoryBytes: memoryBytes
        )
    }
  }

  private func measureMachine(_ name: String, memoryBytes: Double) throws -> MachineProfile {
    var bandwidth: Double?
    if checkpoint.decodeCost.total > Self.cachedByteCount {
      bandwidth = try CPU(threads: usableCPUCount(), pinnedTo: nil).measureLimits()
        .bytesPerSecond
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

  private var directory: URL { URL(filePath: UserCache.directory("profiles")) }

  private func fileName(_ worker: WorkerPlan, _ fingerprint: Digest) -> String {
    [
      Self.hostName(), fingerprint.description, worker.device.rawValue,
      "\(worker.threads)", cacheType?.rawValue ?? "default", programVersion,
    ].joined(separator: "-") + ".json"
  }

  /// Returns a profile of the cache; nil if there is none that can be used, and says so.
  private func load(_ file: String) -> ProfileDocument? {
    let url = directory.appending(path: file)
    guard !measuresAgain, FileManager.default.fileExists(atPath: url.path) else { return nil }
    do {
      _ = try TrustedDirectory.open(directory.path, for: .cache)
      let document = try ProfileDocument.read(url.path)
      guard document.devices.count == 1, document.machines.count == 1 else {
        throw CommandError("\(document.devices.count) devices where one was measured")
      }
      _ = try PipelineCosts(shape: shape, documents: [document])
      return document
    } catch {
      printError("profile of the cache not used, measured again: \(reason(error))")
      return nil
    }
  }

  /// Keeps a profile; without a cache one measures at every start, and is told why.
  private func store(_ document: ProfileDocument, _ file: String) {
    do {
      try FileManager.default.createDirectory(
        at: directory,
        withIntermediateDirectories: true,
        attributes: [.posixPermissions: 0o700]
      )
      _ = try TrustedDirectory.open(directory.path, for: .cache)
      try document.json().write(to: directory.appending(path: file), options: .atomic)
    } catch {
      printError("profile not kept, measured again next time: \(reason(error))")
    }
  }

  // MARK: This machine

  /// Returns the machine's name, without asking the network.
  static func hostName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return String(text.filter { $0.isLetter || $0.isNumber || $0 == "." })
  }
}

/// Runs work on a thread that ends with it: a pinned backend pins the thread that runs it, and this
/// one's children would inherit that.
private func onThreadOfItsOwn<Result: Sendable>(
  _ work: @escaping @Sendable () throws -> Result
) throws -> Result {
  let outcome = Lock<Swift.Result<Result, any Error>?>(nil)
  let thread = try Platform.Thread {
    let result = Swift.Result { try work() }
    outcome.withLock { $0 = result }
  }
  thread.join()
  guard let result = outcome.withLock({ $0 }) else {
    preconditionFailure("a thread has ended without a result")
  }
  return try result.get()
}

extension DeviceKind {
  /// What kind of number a time of such a device is.
  fileprivate var numberKind: NumberKind {
    switch self {
    case .cpu, .reference: .measured
    }
  }
}

extension ProfileDocument {
  /// Reads a file of profiles.
  static func read(_ path: String) throws -> ProfileDocument {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw CommandError("\(path): cannot be read")
    }
    defer { try? handle.close() }
    let bytes = try handle.read(upToCount: maxByteCount + 1) ?? Data()
    return try ProfileDocument(json: bytes, context: path)
  }
}
