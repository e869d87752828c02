// The fingerprint of a model's files. They are read from end to end once, and the digests are
// cached for as long as the files are unchanged. `up` reads them before its workers start, so the
// workers find the digests in the cache.

package import Content
package import Gemma
internal import ModelFiles
internal import Platform
internal import Wire

/// Computes fingerprints of models.
package enum ModelContent {
  /// Returns the fingerprint of a model, and shows progress if that takes long.
  ///
  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - context: Where to show progress, and the cache of digests.
  ///   - descriptors: The reading ends when one of these is readable.
  ///   - interruption: The error to throw then.
  /// - Returns: The digest of config and weights.
  /// - Throws: `interruption`, or the reason why the files cannot be read.
  package static func fingerprint(
    of checkpoint: Checkpoint,
    in context: LaunchContext,
    interruptedBy descriptors: [CInt] = [],
    throwing interruption: any Error = Interrupted()
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

  /// How long the reading may take before progress is shown.
  private static let patience = Duration.seconds(1)
}
