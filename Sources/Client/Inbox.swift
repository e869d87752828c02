// What has come for one request and waits for its reader: filled by the connection's thread, emptied by
// one task. Text that nobody reads is put together, so a slow reader keeps a little memory and nobody
// else.

internal import Platform
internal import Wire

/// An inbox as the connection's thread sees it.
protocol AnyInbox: Sendable {
  /// Takes a message.
  ///
  /// - Parameters:
  ///   - message: One that answers the inbox's request.
  ///   - payloads: Its tensors.
  ///   - serial: Its number in the receipt ledger; nil if it is in none.
  /// - Returns: Whether it counts as read; otherwise the reader tells of it when it takes it.
  func deliver(_ message: Message, _ payloads: [[Float]], serial: UInt64?) -> Bool

  /// Takes note that nothing follows, or why not. Only the first word counts.
  func finish(_ error: ClientError?)
}

/// The inbox of a request whose answers are turned into elements.
final class Inbox<Element: Sendable>: AnyInbox {
  /// How a message becomes an element.
  struct Reading: Sendable {
    /// Returns nil for a message that is of no interest.
    var element: @Sendable (Message, [[Float]]) -> Element?
    /// Adds an element to one that has not been read; false if they stay two.
    var merge: @Sendable (inout Element, Element) -> Bool = { _, _ in false }
  }

  /// An element that its reader has taken, and what to tell the connection of it.
  struct Taken: Sendable {
    var element: Element
    /// The messages that now count as read.
    var serial: UInt64?
  }

  /// Takes what a reader has waited for.
  typealias Receiver = @Sendable (Result<Taken?, any Error>) -> Void

  /// So many bytes may wait and yet count as read.
  ///
  /// A mebibyte holds the text and tokens of an answer of a hundred thousand tokens; of logits it is a row
  /// or a few.
  static var spareBytes: Int { 1 << 20 }

  private struct Waiting: Sendable {
    var taken: Taken
    var bytes: Int
  }

  private enum End: Sendable {
    case finished
    case failed(ClientError)
    /// The reader has gone.
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

    /// Takes an element, and returns the reader that waits for it, and whether it counts as read.
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

    /// Returns what a reader gets at once; nil if it has to wait.
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

  /// Whether nothing more will come, and all has been read.
  var isDone: Bool { state.withLock { $0.end != nil && $0.waiting.isEmpty } }

  /// Waits for the next element.
  ///
  /// - Returns: The element; nil when all has been read.
  /// - Throws: Why nothing more comes; `CancellationError` after `cancel()`.
  /// - Precondition: Nobody else waits.
  func next() async throws -> Taken? {
    try await withCheckedThrowingContinuation { continuation in
      next { continuation.resume(with: $0) }
    }
  }

  /// Calls a closure once with the next element, as the asynchronous one returns it: at once, or on the
  /// thread that it comes from.
  func next(_ receiver: @escaping Receiver) {
    let outcome = state.withLock { $0.next(receiver) }
    if let outcome { receiver(outcome) }
  }

  private func end(_ end: End) {
    let reader = state.withLock { state -> Receiver? in
      // A reader that has gone is gone, whatever came before.
      if case .cancelled = end { state.waiting = [] } else if state.end != nil { return nil }
      state.end = end
      defer { state.reader = nil }
      return state.reader
    }
    reader?(end.outcome)
  }
}

extension Message {
  /// What it takes to keep it, beside its tensors.
  fileprivate var bytesToKeep: Int {
    switch self {
    case .delta(let delta): delta.text.utf8.count + 4 * delta.tokens.count
    case .evaluated(let part): 128 + 8 * part.scores.count
    default: 0
    }
  }
}
