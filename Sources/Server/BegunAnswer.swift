// An answer that the coordinator has accepted, on its way to the client: whole, or as a stream of events.

internal import Client
internal import Wire

/// An answer under way, with its form.
struct BegunAnswer: Sendable {
  var answer: Answer
  var head: AnswerHead
  var form: any AnswerForm
  var choiceCount: Int
  /// How many choices share a prompt.
  var choicesOfPrompt: Int
  var streams: Bool
  var includesUsage: Bool

  /// Waits for the whole answer.
  ///
  /// - Throws: `APIError` if it cannot be finished; `CancellationError`.
  func whole() async throws -> JSON {
    var pieces = Array(repeating: AnswerPiece(), count: choiceCount)
    var usage = Usage()
    try await answer.forEach { event in
      switch event {
      case .piece(let choice, let piece):
        pieces[choice].text += piece.text
        pieces[choice].thought += piece.thought
        pieces[choice].scored += piece.scored
      case .end(let choice, let finished):
        guard finished.reason != .cancelled else { throw Self.cancelled }
        usage.add(choice, finished)
      case .failed(let error): throw APIError(error)
      case .quiet: break
      }
    }
    var form = form
    var choices: [JSON] = []
    for (index, piece) in pieces.enumerated() {
      choices.append(form.whole(index, piece, usage.finished[index]?.reason.name ?? "stop"))
    }
    var document = head.document(form.objects.whole, choices: choices)
    document.append(.init("usage", usage.document(choices: choicesOfPrompt)))
    document.append(.init("timings", usage.timings))
    return .object(document)
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
  /// Once a stream has begun its status is out; a failure is an event with an error, and no `[DONE]` follows.
  ///
  /// - Throws: What `write` throws; `CancellationError`.
  func stream(_ write: (String) async throws -> Void) async throws {
    var form = form
    var usage = Usage()
    func send(_ choices: [JSON], _ more: [JSON.Member] = []) async throws {
      var document = head.document(form.objects.piece, choices: choices)
      if includesUsage { document.append(.init("usage", .null)) }
      document.removeAll { member in more.contains { $0.name == member.name } }
      try await write("data: \(JSON.object(document + more).text)\n\n")
    }
    for index in 0..<choiceCount {
      if let opening = form.opening(index) { try await send([opening]) }
    }
    var failure: APIError?
    try await answer.forEach { event in
      switch event {
      case .piece(let choice, let piece): try await send([form.piece(choice, piece)])
      case .end(let choice, let finished):
        usage.add(choice, finished)
        guard let reason = finished.reason.name else {
          failure = Self.cancelled
          return
        }
        let isLast = usage.finished.count == choiceCount
        try await send(
          [form.closing(choice, reason)],
          isLast ? [.init("timings", usage.timings)] : []
        )
      case .failed(let error): failure = APIError(error)
      // A comment without an empty line: with one it would be an empty event, which breaks some clients.
      case .quiet: try await write(":\n")
      }
    }
    if let failure {
      try await write("data: \(failure.document.text)\n\n")
      return
    }
    if includesUsage {
      try await send([], [.init("usage", usage.document(choices: choicesOfPrompt))])
    }
    try await write("data: [DONE]\n\n")
  }
}
