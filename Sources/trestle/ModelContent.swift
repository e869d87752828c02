// Knows which model a file holds: read from end to end once, and known from then on while the file is
// as it was. `up` reads it before its workers do, so that they find it known.

import Content
import Gemma
import Glibc
import ModelFiles
import Platform
import Wire

enum ModelContent {
  /// Where digests of model files are kept, in the user's cache.
  static var store: DigestStore { DigestStore(directory: UserCache.directory("digests")) }

  /// Returns the fingerprint of a model, and shows on stderr how far it is if that takes long.
  ///
  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - descriptors: End it when one is readable.
  ///   - interruption: How it ends then.
  /// - Returns: The digest of config and weights.
  /// - Throws: `interruption`, or why the files cannot be read.
  static func fingerprint(
    of checkpoint: Checkpoint,
    interruptedBy descriptors: [CInt] = [],
    _ interruption: any Error = Interrupted()
  ) throws -> Digest {
    let line = ProgressLine(label: "reading the model")
    defer { line.clear() }
    let isTold = Lock(false)
    let (began, path) = (ContinuousClock.now, checkpoint.path)
    let reader = ContentReader(keptIn: store) { done, total in
      if !descriptors.isEmpty,
        try !poll(sockets: [], descriptors: descriptors, timeout: .zero).isEmpty
      {
        throw interruption
      }
      guard ContinuousClock.now - began > patience else { return }
      line.show(Double(done) / Double(total))
      let isNews = isTold.withLock { told in
        defer { told = true }
        return !told
      }
      if isNews, isatty(STDERR_FILENO) == 0 {
        printError("reading \(path) from end to end, once: \(total >> 20) MiB")
      }
    }
    return try checkpoint.fingerprint(reader)
  }

  /// How long it may take before it is shown.
  private static let patience = Duration.seconds(1)
}
