// An answer that the coordinator has accepted, on its way to the client: whole, or as a stream of events.

internal import Client
internal import Wire

/// An answer under way, and how it is told.
struct BegunAnswer: Sendable {
  var answer: Answer
  var dialect: any AnswerDialect
  var choiceCount: Int
  var streams: Bool

  /// Waits for the whole answer.
  ///
  /// - Throws: `APIError` if it cannot be finished; `CancellationError`.
  func whole() async throws -> JSON {
    var collected = CollectedAnswer(choiceCount: choiceCount)
    try await answer.forEach { event in
      switch event {
      case .piece(let choice, let piece): collected.pieces[choice].append(piece)
      case .end(let choice, let finished):
        guard finished.reason != .cancelled else { throw Self.cancelled }
        collected.usage.add(choice, finished)
      case .failed(let error): throw APIError(error)
      case .quiet: break
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
  /// - Throws: What `write` throws; `CancellationError`.
  func stream(_ write: (String) async throws -> Void) async throws {
    var dialect = dialect
    var collected = CollectedAnswer(choiceCount: choiceCount)
    var failure: APIError?
    func send(_ events: [ServerEvent]) async throws {
      for event in events { try await write(event.text) }
    }
    try await send(dialect.opening())
    try await answer.forEach { event in
      switch event {
      case .piece(let choice, let piece):
        collected.pieces[choice].append(piece)
        try await send(dialect.piece(choice, piece))
      case .end(let choice, let finished):
        guard finished.reason != .cancelled else {
          failure = Self.cancelled
          return
        }
        collected.usage.add(choice, finished)
        try await send(dialect.closing(choice, collected))
      case .failed(let error): failure = APIError(error)
      // A comment without an empty line: with one it would be an empty event, which breaks some clients.
      case .quiet: try await write(":\n")
      }
    }
    try await send(failure.map { [dialect.failure($0)] } ?? dialect.ending(collected))
  }
}
