// Knows which model a file holds: read from end to end once, and known from then on while the file is
// as it was. `up` reads it before its workers do, so that they find it known.

package import Content
package import Gemma
internal import ModelFiles
internal import Platform
internal import Wire

/// Which model a file holds.
package enum ModelContent {
  /// Returns the fingerprint of a model, and shows how far it is if that takes long.
  ///
  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - context: Where to show it, and where digests are kept.
  ///   - descriptors: End it when one is readable.
  ///   - interruption: How it ends then.
  /// - Returns: The digest of config and weights.
  /// - Throws: `interruption`, or why the files cannot be read.
  package static func fingerprint(
    of checkpoint: Checkpoint,
    in context: LaunchContext,
    interruptedBy descriptors: [CInt] = [],
    _ interruption: any Error = Interrupted()
  ) throws -> Digest {
    let reporter = context.reporter
    let line = reporter.progress("reading the model")
    defer { line.clear() }
    let isTold = Lock(false)
    let (began, path) = (ContinuousClock.now, checkpoint.path)
    let reader = ContentReader(keptIn: context.digests) { done, total in
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
      if isNews, !reporter.showsProgress {
        reporter.note("reading \(path) from end to end, once: \(total >> 20) MiB", cause: nil)
      }
    }
    return try checkpoint.fingerprint(reader)
  }

  /// How long it may take before it is shown.
  private static let patience = Duration.seconds(1)
}
