// What has come of an answer and is not told yet. The sessions of one front door share a connection to the
// coordinator, so what comes is taken at once, however slowly a client reads; what it leaves unread is bounded.

internal import Platform
internal import Wire

/// The events of an answer, for one reader.
final class AnswerQueue: Sendable {
  private struct State {
    var events: [AnswerEvent] = []
    var bytes = 0
    var reader: CheckedContinuation<AnswerEvent?, Never>?
    var isOver = false
  }

  /// What a reader may leave unread, beside what the kernel holds for it: far more than any answer's text, and
  /// about a thousand tokens with twenty log probabilities each.
  private static let byteLimit = 1 << 20

  private let state = Lock(State())
  private let onOverflow: @Sendable () -> Void

  /// - Parameter onOverflow: Called once if more is left unread than may be; nothing comes any more then.
  init(onOverflow: @escaping @Sendable () -> Void) { self.onOverflow = onOverflow }

  /// Takes an event, without waiting.
  func post(_ event: AnswerEvent) {
    var overflows = false
    let reader = state.withLock { state -> CheckedContinuation<AnswerEvent?, Never>? in
      guard !state.isOver else { return nil }
      if let reader = state.reader {
        state.reader = nil
        return reader
      }
      // While something waits to be told, nobody needs to hear that nothing comes.
      if case .quiet = event, !state.events.isEmpty { return nil }
      state.bytes += event.byteCount
      Self.append(event, to: &state.events)
      if state.bytes > Self.byteLimit {
        overflows = true
        state.isOver = true
        state.events = []
      }
      return nil
    }
    reader?.resume(returning: event)
    if overflows { onOverflow() }
  }

  private static func append(_ event: AnswerEvent, to events: inout [AnswerEvent]) {
    if case .piece(let choice, let more) = event,
      case .piece(let lastChoice, var piece)? = events.last, lastChoice == choice
    {
      // Else there would be two owners of the text, and it would be copied each time.
      events[events.count - 1] = .quiet
      piece.append(more)
      events[events.count - 1] = .piece(choice: choice, piece)
    } else {
      events.append(event)
    }
  }

  /// Returns the next event; nil if the task is cancelled, or after an overflow.
  func next() async -> AnswerEvent? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let event = state.withLock { state -> AnswerEvent?? in
          if state.isOver || Task.isCancelled { return .some(nil) }
          guard !state.events.isEmpty else {
            state.reader = continuation
            return nil
          }
          let event = state.events.removeFirst()
          state.bytes -= event.byteCount
          return event
        }
        if let event { continuation.resume(returning: event) }
      }
    } onCancel: {
      let reader = state.withLock { state in
        state.isOver = true
        defer { state.reader = nil }
        return state.reader
      }
      reader?.resume(returning: nil)
    }
  }
}

extension AnswerEvent {
  /// About what it takes in memory.
  fileprivate var byteCount: Int {
    guard case .piece(_, let piece) = self else { return 64 }
    return piece.text.utf8.count + piece.thought.utf8.count
      + piece.scored.reduce(0) { $0 + 64 * (1 + $1.likeliest.count) }
  }
}
