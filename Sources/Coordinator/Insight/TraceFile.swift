// The timeline's file: written as things happen, closed as a whole JSON document.

internal import Glibc

/// A file that a timeline is written to.
///
/// What is written is a JSON array that grows; `close` ends it. Used by one thread.
package final class TraceFile {
  // A write a hundred micro-batches or so: tracing must not cost a system call each.
  private static let bufferBytes = 64 << 10

  private let path: String
  private var descriptor: CInt
  private var buffer: [UInt8] = []
  private var format: TraceFormat
  private var isFirst = true
  private var hasWritten = false
  private var lastFlush: ContinuousClock.Instant
  /// Why the file has not taken everything; nil while it has.
  package private(set) var failure: CoordinatorError?

  /// Makes the file.
  ///
  /// One that exists is emptied when the first events are written, not before: it may be that of a
  /// pipeline which serves the endpoint that this one will be refused.
  ///
  /// - Throws: `CoordinatorError` if it cannot be written.
  package init(path: String, now: ContinuousClock.Instant = .now) throws(CoordinatorError) {
    self.path = path
    format = TraceFormat(origin: now)
    lastFlush = now
    descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CoordinatorError(
        .system,
        "cannot write the trace: \(unsafe String(cString: strerror(errno)))",
        context: path
      )
    }
    buffer = Array("[".utf8)
  }

  /// Leaves the file as it is: whoever has written ends it with `close`.
  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

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
    guard descriptor >= 0 else { return }
    append(format.end(at: now))
    buffer += Array("\n]\n".utf8)
    flush()
    Glibc.close(descriptor)
    descriptor = -1
  }

  private func append(_ events: [String]) {
    for event in events {
      buffer += Array((isFirst ? "\n" : ",\n").utf8)
      buffer += Array(event.utf8)
      isFirst = false
    }
    if buffer.count >= Self.bufferBytes { flush() }
  }

  private func flush() {
    var rest = buffer[...]
    buffer = []
    if !hasWritten {
      hasWritten = true
      // Refused for what is no regular file, a pipe say, which holds nothing to empty.
      _ = ftruncate(descriptor, 0)
    }
    while !rest.isEmpty, failure == nil {
      let count = unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        failure = CoordinatorError(
          .system,
          "the trace ends early: \(unsafe String(cString: strerror(errno)))",
          context: path
        )
      }
    }
  }
}
