// The messages that have come for one request and wait for its reader. The connection's thread
// fills an inbox, and one task empties it. Unread text is merged, so a slow reader costs little
// memory and delays nobody else.

internal import Platform
internal import Wire

/// An inbox as the connection's thread sees it.
protocol AnyInbox: Sendable {
  /// Accepts a message.
  ///
  /// - Parameters:
  ///   - message: An answer to the inbox's request.
  ///   - payloads: Its tensors.
  ///   - serial: Its number in the receipt ledger; nil if it is not counted there.
  /// - Returns: Whether it counts as read already; if not, the reader reports it when it takes it.
  func deliver(_ message: Message, _ payloads: [[Float]], serial: UInt64?) -> Bool

  /// Notes that the answer is complete, or the error that ends it. Only the first call counts.
  func finish(_ error: ClientError?)
}

/// The inbox of a request, which turns messages into elements.
final class Inbox<Element: Sendable>: AnyInbox {
  /// How a message becomes an element.
  struct Reading: Sendable {
    /// Returns nil for a message that the reader does not need.
    var element: @Sendable (Message, [[Float]]) -> Element?
    /// Appends an element to one that has not been read; returns false if they cannot be merged.
    var merge: @Sendable (inout Element, Element) -> Bool = { _, _ in false }
  }

  /// An element that its reader has taken, with the serial to report to the connection.
  struct Taken: Sendable {
    var element: Element
    /// The serial of the message, which counts as read from now on; nil if it did before.
    var serial: UInt64?
  }

  /// Called with what a reader has waited for.
  typealias Receiver = @Sendable (Result<Taken?, any Error>) -> Void

  /// How many bytes may be buffered here and count as read.
  ///
  /// A mebibyte holds the text and tokens of an answer of a hundred thousand tokens, but only one
  /// or a few rows of logits.
  static var spareBytes: Int { 1 << 20 }

  private struct Waiting: Sendable {
    var taken: Taken
    var bytes: Int
  }

  private enum End: Sendable {
    case finished
    case failed(ClientError)
    /// The reader was cancelled.
    case cancelled

    var outcome: Result<Taken?, any Error> {
      switch self {
      case .finished: .success(nil)
      case .failed(let error): .failure(error)
      case .cancelled: .failure(CancellationError())
      }
    }
  }

  private struct State: Sendable {
    var waiting: [Waiting] = []
    var bytes = 0
    var reader: Receiver?
    var end: End?

    /// Accepts an element.
    ///
    /// Returns the reader that waits for it, if any, and whether the element counts as read.
    mutating func take(
      _ element: Element,
      _ size: Int,
      _ serial: UInt64?,
      _ merge: (inout Element, Element) -> Bool
    ) -> (reader: Receiver?, counts: Bool) {
      guard end == nil else { return (nil, true) }
      if let reader {
        self.reader = nil
        return (reader, true)
      }
      bytes += size
      let fits = bytes <= Inbox.spareBytes
      if fits, let last = waiting.indices.last, merge(&waiting[last].taken.element, element) {
        waiting[last].bytes += size
        return (nil, true)
      }
      let isHeld = !fits && serial != nil
      waiting.append(
        Waiting(
          taken: Taken(element: element, serial: isHeld ? serial : nil),
          bytes: size
        )
      )
      return (nil, !isHeld)
    }

    /// Returns the reader's result if there is one already; nil if the reader has to wait.
    mutating func next(_ receiver: @escaping Receiver) -> Result<Taken?, any Error>? {
      precondition(reader == nil, "two tasks read the answer of one request")
      if !waiting.isEmpty {
        let next = waiting.removeFirst()
        bytes -= next.bytes
        return .success(next.taken)
      }
      if let end { return end.outcome }
      reader = receiver
      return nil
    }
  }

  private let reading: Reading
  private let state = Lock(State())

  init(_ reading: Reading) { self.reading = reading }

  func deliver(_ message: Message, _ payloads: [[Float]], serial: UInt64?) -> Bool {
    guard let element = reading.element(message, payloads) else { return true }
    let bytes = message.bytesToKeep + payloads.reduce(0) { $0 + 4 * $1.count }
    let (reader, counts) = state.withLock { state in
      state.take(element, bytes, serial, reading.merge)
    }
    reader?(.success(Taken(element: element, serial: nil)))
    return counts
  }

  func finish(_ error: ClientError?) { end(error.map { .failed($0) } ?? .finished) }

  /// Ends the inbox for a reader that has been cancelled.
  func cancel() { end(.cancelled) }

  /// Whether the answer has ended and all of it has been read.
  var isDone: Bool { state.withLock { $0.end != nil && $0.waiting.isEmpty } }

  /// Waits for the next element.
  ///
  /// - Returns: The element; nil at the end of the answer.
  /// - Throws: The error that ended the answer; `CancellationError` after `cancel()`.
  /// - Precondition: No other task waits.
  func next() async throws -> Taken? {
    try await withCheckedThrowingContinuation { continuation in
      next { continuation.resume(with: $0) }
    }
  }

  /// Calls a closure once with the result that the asynchronous `next` would return: at once, or
  /// later on the connection's thread.
  func next(_ receiver: @escaping Receiver) {
    let outcome = state.withLock { $0.next(receiver) }
    if let outcome { receiver(outcome) }
  }

  private func end(_ end: End) {
    let reader = state.withLock { state -> Receiver? in
      // Cancellation also discards what has not been read, and overrides an earlier end.
      if case .cancelled = end { state.waiting = [] } else if state.end != nil { return nil }
      state.end = end
      defer { state.reader = nil }
      return state.reader
    }
    reader?(end.outcome)
  }
}

extension Message {
  /// The memory that it takes, without its tensors.
  fileprivate var bytesToKeep: Int {
    switch self {
    case .delta(let delta): delta.contentBytes
    case .evaluated(let part): 128 + 8 * part.scores.count
    default: 0
    }
  }
}
