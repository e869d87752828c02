// The file of a timeline: it grows while the pipeline runs, and closing completes its JSON
// document. The thread that adds events never waits for the disk, nor for the reader of a pipe.

internal import Glibc
internal import Platform
internal import Wire

/// A file that a timeline is written to.
///
/// The file holds a JSON array that grows; `close` ends the array. One thread uses a `TraceFile`,
/// another one writes the bytes.
package final class TraceFile {
  // About a hundred micro-batches fill a piece, so that tracing does not cost a system call for
  // each.
  private static let bufferBytes = 64 << 10
  // 4 MiB hold some seconds of events at 1000 micro-batches a second, so the disk may block that
  // long.
  private static let queue = BackgroundWriter.Limits(pieces: 4096, bytes: 4 << 20)
  /// How long `close` waits for the last pieces.
  private static let patience = Duration.seconds(2)

  private let path: String
  private let descriptor: CInt
  private let writer: BackgroundWriter
  private let report: Report
  private var events: [String] = []
  private var byteCount = 0
  private var format: TraceFormat
  private var hasBegun = false
  private var isClosed = false
  private var dropped = 0
  private var lastFlush: ContinuousClock.Instant

  /// Creates the file.
  ///
  /// An existing file is emptied only when the first events are written, because it may belong to a
  /// pipeline that already serves the endpoint, so that this process will be refused. A pipe needs
  /// its reader first.
  ///
  /// - Parameters:
  ///   - path: Where to write.
  ///   - now: The start of the timeline.
  ///   - onFailure: Called once with the reason if the file is incomplete: by the writing thread
  ///     when a write fails, or in `close`.
  /// - Throws: `CoordinatorError` if the file cannot be written.
  package init(
    path: String,
    now: ContinuousClock.Instant = .now,
    onFailure: @escaping @Sendable (CoordinatorError) -> Void = { _ in }
  ) throws(CoordinatorError) {
    self.path = path
    let report = Report(tell: onFailure)
    self.report = report
    format = TraceFormat(origin: now)
    lastFlush = now
    do throws(WireError) { try TrustedDirectory.refuseForeignLink(path) } catch {
      throw CoordinatorError(.system, "cannot write the trace: \(error.message)", context: path)
    }
    // With O_NONBLOCK: "ENXIO: O_NONBLOCK | O_WRONLY is set, the named file is a FIFO, and no process
    // has the FIFO open for reading" (open(2)). Without it the start would wait for a reader.
    let flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    descriptor = unsafe open(path, flags, 0o644)
    guard descriptor >= 0 else {
      throw CoordinatorError(
        .system,
        errno == ENXIO
          ? "cannot write the trace: nobody reads this pipe; start its reader first"
          : "cannot write the trace: \(systemMessage(errno))",
        context: path
      )
    }
    writer = BackgroundWriter(
      descriptor: descriptor,
      limits: Self.queue,
      closesDescriptor: true,
      onFailure: { code in
        report.file(
          CoordinatorError(
            .system,
            "the trace ends early: \(systemMessage(code))",
            context: path
          )
        )
        return false
      }
    )
  }

  /// Leaves the document incomplete: a caller that has written events ends it with `close`.
  deinit { if !isClosed { writer.close(within: .zero) } }

  /// Why the file is incomplete; nil while it has accepted everything.
  package var failure: CoordinatorError? { report.failure }

  func add(_ step: StepTrace) { append(format.events(for: step)) }

  func add(_ note: CoordinatorNote, at now: ContinuousClock.Instant) {
    append(format.events(for: note, at: now))
  }

  /// Records the coordinator's phase; called at every event, so the file lags by at most a second.
  func add(phase: String, at now: ContinuousClock.Instant) {
    append(format.events(forPhase: phase, at: now))
    if now - lastFlush > .seconds(1) {
      lastFlush = now
      flush()
    }
  }

  /// Ends the document and closes the file.
  func close(at now: ContinuousClock.Instant = .now) {
    guard !isClosed else { return }
    isClosed = true
    append(format.end(at: now))
    flush()
    post((hasBegun ? "" : "[") + "\n]\n")
    if !writer.close(within: Self.patience) {
      report.file(
        CoordinatorError(
          .system,
          "the trace ends early: it was not written within \(Self.patience) of the end",
          context: path
        )
      )
    } else if dropped > 0 {
      report.file(
        CoordinatorError(
          .system,
          "the trace lacks \(dropped) events: it was not written as fast as they came",
          context: path
        )
      )
    }
  }

  private func append(_ events: [String]) {
    self.events += events
    byteCount += events.reduce(0) { $0 + $1.utf8.count }
    if byteCount >= Self.bufferBytes { flush() }
  }

  private func flush() {
    let text = events.joined(separator: ",\n")
    let count = events.count
    events = []
    byteCount = 0
    guard count > 0, failure == nil else { return }
    if !post((hasBegun ? ",\n" : "[\n") + text) { dropped += count }
  }

  /// Queues text for writing; returns false if the queue was full.
  @discardableResult
  private func post(_ text: String) -> Bool {
    if !hasBegun {
      // ftruncate fails for anything but a regular file, such as a pipe, which has nothing to
      // empty.
      _ = ftruncate(descriptor, 0)
    }
    let isAccepted = writer.post(Array(text.utf8))
    if isAccepted { hasBegun = true }
    return isAccepted
  }
}

/// The first failure of a file, which is reported once.
private final class Report: Sendable {
  private let tell: @Sendable (CoordinatorError) -> Void
  private let first = Lock<CoordinatorError?>(nil)

  init(tell: @escaping @Sendable (CoordinatorError) -> Void) { self.tell = tell }

  var failure: CoordinatorError? { first.withLock { $0 } }

  func file(_ error: CoordinatorError) {
    let isFirst = first.withLock { first in
      defer { first = first ?? error }
      return first == nil
    }
    if isFirst { tell(error) }
  }
}
