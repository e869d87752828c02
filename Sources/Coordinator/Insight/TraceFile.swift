// The timeline's file: written as things happen, closed as a whole JSON document. The thread that has
// something to add never waits for the disk, nor for who reads a pipe.

internal import Glibc
internal import Platform
internal import Wire

/// A file that a timeline is written to.
///
/// What is written is a JSON array that grows; `close` ends it. Used by one thread; another one writes.
package final class TraceFile {
  // A piece a hundred micro-batches or so: tracing must not cost a system call each.
  private static let bufferBytes = 64 << 10
  // 4 MiB, at 1000 micro-batches a second the events of some seconds: so long a disk may think.
  private static let queue = BackgroundWriter.Limits(pieces: 4096, bytes: 4 << 20)
  /// How long `close` waits for the last of them.
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

  /// Makes the file.
  ///
  /// One that exists is emptied when the first events are written, not before: it may be that of a
  /// pipeline which serves the endpoint that this one will be refused. A pipe needs its reader first.
  ///
  /// - Parameters:
  ///   - path: Where to write.
  ///   - now: When the timeline begins.
  ///   - onFailure: Told once why the file is not whole: by the thread that writes when it takes no
  ///     more, or in `close`.
  /// - Throws: `CoordinatorError` if it cannot be written.
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
          : "cannot write the trace: \(unsafe String(cString: strerror(errno)))",
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
            "the trace ends early: \(unsafe String(cString: strerror(code)))",
            context: path
          )
        )
        return false
      }
    )
  }

  /// Leaves the file as it is: whoever has written ends it with `close`.
  deinit { if !isClosed { writer.close(within: .zero) } }

  /// Why the file has not taken everything; nil while it has.
  package var failure: CoordinatorError? { report.failure }

  func add(_ step: StepTrace) { append(format.events(for: step)) }

  func add(_ note: CoordinatorNote, at now: ContinuousClock.Instant) {
    append(format.events(for: note, at: now))
  }

  /// Takes the coordinator's phase; called at every event, so that the file lags by a second at most.
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

  /// Has text written; false if there was no room for it.
  @discardableResult
  private func post(_ text: String) -> Bool {
    if !hasBegun {
      // Refused for what is no regular file, a pipe say, which holds nothing to empty.
      _ = ftruncate(descriptor, 0)
    }
    let isAccepted = writer.post(Array(text.utf8))
    if isAccepted { hasBegun = true }
    return isAccepted
  }
}

/// What is wrong with a file: the first thing, which is told once.
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
