// Watches a model file that is in use: another program may write to it, truncate it or replace it.

internal import Content
internal import Gemma
internal import Logging
internal import ModelFiles
internal import Platform
internal import Wire

/// A thread that checks the files of a model at intervals.
///
/// A file that was written to is read again, because a file that was only touched is no reason to
/// end.
final class ModelWatch {
  /// How often it checks; a check takes a handful of system calls.
  private static let interval = Duration.milliseconds(500)

  private let stop: Mailbox<Void>
  private let thread: Thread

  /// - Parameters:
  ///   - checkpoint: The model, with its files open.
  ///   - fingerprint: The model's fingerprint when it was opened.
  ///   - logger: Receives changes that do no harm.
  ///   - onChange: Called once, on the watch's thread, with a description, when the bytes have
  ///     changed.
  /// - Throws: `PlatformError` if there is no thread or descriptor left.
  init(
    _ checkpoint: Checkpoint,
    fingerprint: Digest,
    logger: Logger,
    onChange: @escaping @Sendable (String) -> Void
  ) throws(PlatformError) {
    let stop = try Mailbox<Void>()
    self.stop = stop
    thread = try Thread {
      var harmless: Set<FileChange> = []
      while true {
        let ready = try? poll(
          sockets: [],
          descriptors: [stop.descriptor],
          timeout: Self.interval
        )
        if ready?.contains(descriptor: stop.descriptor) == true { return }
        for change in checkpoint.changes() where !harmless.contains(change) {
          switch Self.judge(change, checkpoint, fingerprint, stop) {
          case .harm:
            onChange(change.message)
            return
          case .none:
            harmless.insert(change)
            logger.warning(
              change.kind == .replaced
                ? "model file replaced while in use; this worker goes on with the old one"
                : "model file written to while in use; its bytes are the same",
              metadata: ["file": "\(change.path)"]
            )
          case .unknown: break
          }
        }
      }
    }
  }

  private enum Verdict {
    case harm
    case none
    /// The file is being changed right now.
    case unknown
  }

  private static func judge(
    _ change: FileChange,
    _ checkpoint: Checkpoint,
    _ fingerprint: Digest,
    _ stop: Mailbox<Void>
  ) -> Verdict {
    switch change.kind {
    case .cut: return .harm
    case .replaced: return .none
    case .written:
      // One thread, because steps go on computing beside it.
      let reader = ContentReader(share: 0, acceptsChanges: true) { _, _ in
        let ready = try poll(sockets: [], descriptors: [stop.descriptor], timeout: .zero)
        if !ready.isEmpty { throw WorkerError(.stopped, "was asked to stop") }
      }
      guard let now = try? checkpoint.fingerprint(reader) else { return .unknown }
      return now == fingerprint ? .none : .harm
    }
  }

  /// Ends the thread.
  func close() {
    stop.post(())
    thread.join()
  }
}
