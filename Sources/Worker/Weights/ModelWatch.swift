// Looks after a model file that is in use: it may be written to, cut short or replaced meanwhile.

internal import Content
internal import Gemma
internal import Logging
internal import Platform
internal import Wire

/// A thread that looks at the files of a model now and then.
///
/// What was written to is read again: a file that was only touched is no reason to end.
final class ModelWatch {
  /// How often it looks: a handful of system calls.
  private static let interval = Duration.milliseconds(500)

  private let stop: Mailbox<Void>
  private let thread: Thread

  /// - Parameters:
  ///   - checkpoint: The model, its files open.
  ///   - fingerprint: What it was when it was opened.
  ///   - logger: Where to tell of what does no harm.
  ///   - onChange: Called once, on the watch's thread, when the bytes are others: with what happened.
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
    /// It is being changed right now.
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
      // Beside the steps that go on: one thread.
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
