// An answer that the coordinator has accepted, on its way to the client: whole, or as a stream of events.

internal import Client
internal import Wire

/// An answer under way, and how it is told.
struct BegunAnswer: Sendable {
  var answer: Answer
  var dialect: any AnswerDialect
  var choiceCount: Int
  var tools: ToolUse
  var streams: Bool
  var place: BoardPlace

  private func forEach(
    onOverflow: @escaping @Sendable () -> Void,
    _ take: (AnswerEvent) async throws -> Void
  ) async throws {
    try await answer.forEach(onOverflow: onOverflow) { event in
      place.take(event)
      try await take(event)
    }
  }

  /// Waits for the whole answer.
  ///
  /// - Throws: `APIError` if it cannot be finished; `CancellationError`.
  func whole() async throws -> JSON {
    var collected = CollectedAnswer(choiceCount: choiceCount, tools: tools)
    // What is taken at once cannot pile up.
    try await forEach(onOverflow: {}) { event in
      switch event {
      case .piece(let choice, let piece): _ = collected.take(choice, piece)
      case .end(let choice, let finished):
        guard finished.reason != .cancelled else { throw Self.cancelled }
        _ = collected.end(choice, finished)
      case .failed(let error): throw APIError(error)
      case .accepted, .quiet: break
      }
    }
    var dialect = dialect
    return dialect.whole(collected)
  }

  private static let cancelled = APIError(
    503,
    "the answer was cancelled by the pipeline",
    type: "server_error",
    code: "cancelled",
    retryAfter: 1
  )

  /// Writes the answer as server-sent events.
  ///
  /// Once a stream has begun its status is out; a failure is an event with an error, and nothing follows.
  ///
  /// - Parameters:
  ///   - onOverflow: Called if the client leaves more unread than is kept for it; ends its connection.
  ///   - write: Writes a text, and returns when the client has room for more.
  /// - Throws: What `write` throws; `CancellationError`.
  func stream(
    onOverflow: @escaping @Sendable () -> Void,
    _ write: (String) async throws -> Void
  ) async throws {
    var dialect = dialect
    var collected = CollectedAnswer(choiceCount: choiceCount, tools: tools)
    var failure: APIError?
    func send(_ events: [ServerEvent]) async throws {
      for event in events { try await write(event.text) }
    }
    func tell(_ choice: Int, _ piece: AnswerPiece) async throws {
      if !piece.isEmpty { try await send(dialect.piece(choice, piece)) }
    }
    try await send(dialect.opening())
    try await forEach(onOverflow: onOverflow) { event in
      switch event {
      case .piece(let choice, let piece):
        try await tell(choice, collected.take(choice, piece))
      case .end(let choice, let finished):
        guard finished.reason != .cancelled else {
          failure = Self.cancelled
          return
        }
        try await tell(choice, collected.end(choice, finished))
        try await send(dialect.closing(choice, collected))
      case .failed(let error): failure = APIError(error)
      case .accepted: break
      // A comment without an empty line: with one it would be an empty event, which breaks some clients.
      case .quiet: try await write(":\n")
      }
    }
    try await send(failure.map { [dialect.failure($0)] } ?? dialect.ending(collected))
  }
}
