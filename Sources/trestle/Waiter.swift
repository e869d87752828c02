// Lets a command's thread wait for asynchronous work and, at the same time, for a signal.

import Client
import Launch
import Platform
import Wire

/// Lets a command's own thread wait for asynchronous work and for the user's interrupt.
final class Waiter {
  private let done: Mailbox<Void>
  private let interrupt: CInt?
  private var isInterrupted = false
  /// Whether an interrupt has cancelled work and nobody has been told yet.
  private var isCancelled = false

  /// - Parameter interrupt: A descriptor that is readable when the user wants the command to end;
  ///   nil for none. Only the first interrupt counts.
  /// - Throws: `PlatformError` if the process has no descriptor or thread left.
  init(interruptedBy interrupt: CInt? = nil) throws {
    done = try Mailbox()
    // If the system has no threads left, the pool that runs tasks retries forever. So whether a
    // thread can be made is checked here first.
    try Platform.Thread {}.join()
    self.interrupt = interrupt
  }

  /// Runs work and waits for it.
  ///
  /// - Parameters:
  ///   - onInterrupt: Called at an interrupt while the work goes on; nil cancels the work.
  ///   - work: The work to wait for.
  /// - Returns: The result of the work.
  /// - Throws: The error of the work; `Interrupted` if it was cancelled, or if an interrupt came too late for the
  ///   work before it.
  func wait<Output: Sendable>(
    onInterrupt: (() -> Void)? = nil,
    for work: @escaping @Sendable () async throws -> Output
  ) throws -> Output {
    // The work before may have ended in the moment of the interrupt, which is meant for the whole command.
    if isCancelled, onInterrupt == nil {
      isCancelled = false
      throw Interrupted()
    }
    let outcome = Lock<Result<Output, any Error>?>(nil)
    let done = done
    let task = Task {
      let result: Result<Output, any Error>
      do { result = .success(try await work()) } catch { result = .failure(error) }
      outcome.withLock { $0 = result }
      done.post(())
    }
    return try wait(
      for: outcome,
      onInterrupt: onInterrupt ?? {
        self.isCancelled = true
        task.cancel()
      }
    )
  }

  /// Waits for the next element of an answer.
  ///
  /// It needs no task between the connection and this thread, because a stream of tokens does this
  /// a thousand times.
  ///
  /// - Parameters:
  ///   - stream: The answer.
  ///   - onInterrupt: Called at an interrupt meanwhile.
  /// - Returns: The element; nil at the end.
  /// - Throws: The error that ended the answer.
  func next<Element: Sendable>(
    of stream: RequestStream<Element>,
    onInterrupt: () -> Void
  ) throws -> Element? {
    let outcome = Lock<Result<Element?, any Error>?>(nil)
    let done = done
    stream.next { result in
      outcome.withLock { $0 = result }
      done.post(())
    }
    return try wait(for: outcome, onInterrupt: onInterrupt)
  }

  private func wait<Output: Sendable>(
    for outcome: Lock<Result<Output, any Error>?>,
    onInterrupt: () -> Void
  ) throws -> Output {
    while true {
      let result = outcome.withLock { $0 }
      if let result {
        do { return try result.get() } catch is CancellationError {
          isCancelled = false
          throw Interrupted()
        }
      }
      let descriptors = [done.descriptor, isInterrupted ? nil : interrupt].compactMap(\.self)
      let ready = try poll(sockets: [], descriptors: descriptors, timeout: nil)
      _ = done.takeAll()
      guard !isInterrupted, let interrupt, ready.contains(descriptor: interrupt) else { continue }
      isInterrupted = true
      onInterrupt()
    }
  }
}
