// The answer to one request, as its reader sees it.

internal import Wire

/// The elements of the answer to one request, until it ends.
///
/// It has one reader. If the reader's task is cancelled, or the stream is released, the request is
/// cancelled at the coordinator, too, and nothing more comes.
package final class RequestStream<Element: Sendable>: AsyncSequence, Sendable {
  package struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let stream: RequestStream

    /// Returns the next element; nil at the end.
    package mutating func next() async throws -> Element? { try await stream.next() }
  }

  private let request: UInt64
  private let inbox: Inbox<Element>
  private let connection: Connection

  init(_ request: UInt64, _ inbox: Inbox<Element>, _ connection: Connection) {
    self.request = request
    self.inbox = inbox
    self.connection = connection
  }

  deinit { if !inbox.isDone { connection.post(.abandon(request)) } }

  package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

  /// Returns the next element; nil at the end.
  ///
  /// - Throws: `ClientError` if the request has failed, `CancellationError` if this task was cancelled.
  /// - Precondition: No other task waits for an element of this stream.
  package func next() async throws -> Element? {
    let taken = try await withTaskCancellationHandler {
      try await inbox.next()
    } onCancel: {
      inbox.cancel()
      connection.post(.abandon(request))
    }
    return take(taken)
  }

  /// Calls a closure once with the next element, or with what ends the stream: at once, or later on
  /// the connection's thread, which the closure must not block.
  ///
  /// It is meant for a thread that waits outside of tasks and holds the client and the stream
  /// meanwhile. The cancellation of a task does not end this wait.
  ///
  /// - Precondition: No task waits for an element of this stream.
  package func next(_ receiver: @escaping @Sendable (Result<Element?, any Error>) -> Void) {
    inbox.next { outcome in receiver(outcome.map { self.take($0) }) }
  }

  /// Unwraps an element, and reports it as read if it did not count as read before.
  private func take(_ taken: Inbox<Element>.Taken?) -> Element? {
    if let serial = taken?.serial { connection.post(.read(serial)) }
    return taken?.element
  }

  /// Asks the coordinator to end the request; what it says to that still comes.
  ///
  /// A generation ends with `finished` and the reason `cancelled`, or fails with the code `cancelled` if it
  /// had not begun.
  package func cancel() { connection.post(.cancel(request)) }
}
