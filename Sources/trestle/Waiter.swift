// How a command waits on its own thread for asynchronous work, and for a signal beside it.

import Client
import Launch
import Platform
import Wire

/// Lets a command's own thread wait for asynchronous work, and for the user's interrupt beside it.
final class Waiter {
  private let done: Mailbox<Void>
  private let interrupt: CInt?
  private var isInterrupted = false

  /// - Parameter interrupt: A descriptor that is readable when the user wants the command to end; nil for
  ///   none. It is heeded once.
  /// - Throws: `PlatformError` if the process has no descriptor or thread left.
  init(interruptedBy interrupt: CInt? = nil) throws {
    done = try Mailbox()
    // Where the system has no thread for them, the pool that runs tasks tries for ever: asked before.
    try Platform.Thread {}.join()
    self.interrupt = interrupt
  }

  /// Runs work and waits for it.
  ///
  /// - Parameters:
  ///   - onInterrupt: What an interrupt does while the work goes on; nil cancels it.
  ///   - work: What to wait for.
  /// - Returns: What comes of it.
  /// - Throws: What the work throws; `Interrupted` if it was cancelled.
  func wait<Output: Sendable>(
    onInterrupt: (() -> Void)? = nil,
    for work: @escaping @Sendable () async throws -> Output
  ) throws -> Output {
    let outcome = Lock<Result<Output, any Error>?>(nil)
    let done = done
    let task = Task {
      let result: Result<Output, any Error>
      do { result = .success(try await work()) } catch { result = .failure(error) }
      outcome.withLock { $0 = result }
      done.post(())
    }
    return try wait(for: outcome, onInterrupt: onInterrupt ?? { task.cancel() })
  }

  /// Waits for the next element of an answer, without a task between the connection and this thread: it is
  /// what a stream of tokens does a thousand times.
  ///
  /// - Parameters:
  ///   - stream: The answer.
  ///   - onInterrupt: What an interrupt does meanwhile.
  /// - Returns: The element; nil at the end.
  /// - Throws: Why nothing more comes.
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
        do { return try result.get() } catch is CancellationError { throw Interrupted() }
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
