// What the tests of the launcher share: a context that keeps to a directory of its own, counts the backends
// that are made, and remembers what it was told.

import Compute
import Coordinator
import CPUBackend
import Foundation
import Gemma
import Launch
import ModelFiles
import Platform
import TestSupport
import Wire

/// Remembers what the launcher says.
final class Notes: LaunchReporter, LaunchProgress {
  private let noted = Lock<[String]>([])

  let showsProgress = false

  /// What was noted, apart from lines that say why a slow machine takes a while.
  var lines: [String] {
    noted.withLock { $0.filter { !$0.hasSuffix("once for this model") } }
  }

  func note(_ line: String, cause: (any Error)?) {
    noted.withLock { $0.append(line + (cause.map { ": \($0)" } ?? "")) }
  }

  func progress(_ label: String) -> any LaunchProgress { self }
  func show(_ fraction: Double) {}
  func clear() {}
}

/// A context in a directory, and what has become of it.
struct Surroundings {
  let context: LaunchContext
  let notes = Notes()
  /// How many backends have been made.
  let backends = Lock(0)

  init(in directory: String, version: String = "1", adding kinds: [DeviceKind] = []) {
    let backends = backends
    context = LaunchContext(
      devices: .tested(adding: kinds) { backends.withLock { $0 += 1 } },
      programVersion: version,
      reporter: notes,
      profileDirectory: "\(directory)/profiles",
      digests: DigestStore(directory: "\(directory)/digests")
    )
  }
}

extension DeviceRegistry {
  /// A fast device and a slow one, as the program has them, and whatever a test adds.
  static func tested(
    adding kinds: [DeviceKind] = [],
    onMake: @escaping @Sendable () -> Void = {}
  ) -> DeviceRegistry {
    DeviceRegistry(
      [
        DeviceKind("cpu") {
          CPU.describe(threads: $0.threads, cacheType: $0.cacheType)
        } makeBackend: {
          onMake()
          return try CPU(threads: $0.threads, pinnedTo: $0.cpus, cacheType: $0.cacheType)
        },
        DeviceKind("reference") {
          ReferenceBackend(threads: $0.threads).device
        } makeBackend: { _ in
          onMake()
          return ReferenceBackend()
        },
      ] + kinds,
      defaultDevices: ["cpu"],
      planned: ["npu"],
      measureMemory: { _ in 10e9 }
    )
  }
}

/// A model of a few layers and a small vocabulary, without a tokenizer.
func tinyCheckpoint() throws -> Checkpoint {
  try Checkpoint.open(Goldens.checkpoint("gemma3-random-a").path)
}
