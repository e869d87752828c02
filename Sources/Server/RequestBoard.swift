// The answers under way through this front door, for who looks at its page and may end one.

internal import Platform

/// What is under way.
final class RequestBoard: Sendable {
  /// Where a request is.
  enum Phase: String, Sendable {
    /// It waits for its turn.
    case waiting
    /// Its prompt is read.
    case prompt
    /// Its answer comes.
    case answer
  }

  private struct Entry {
    var order: Int
    var began: ContinuousClock.Instant
    var phase: Phase
    var promptTokens: Int
    var generatedTokens: Int
    var answer: Answer
  }

  private struct State {
    var count = 0
    var entries: [String: Entry] = [:]
  }

  private let state = Lock(State())

  /// Notes an answer until its place is released.
  func add(_ id: String, promptTokens: Int, _ answer: Answer) -> BoardPlace {
    state.withLock { state in
      state.count += 1
      state.entries[id] = Entry(
        order: state.count,
        began: .now,
        phase: answer.isWaiting ? .waiting : .prompt,
        promptTokens: promptTokens,
        generatedTokens: 0,
        answer: answer
      )
    }
    return BoardPlace(board: self, id: id)
  }

  fileprivate func advance(_ id: String, to phase: Phase, tokens: Int = 0) {
    state.withLock { state in
      // Of several choices, one may wait while another is told.
      if state.entries[id]?.phase != .answer { state.entries[id]?.phase = phase }
      state.entries[id]?.generatedTokens += tokens
    }
  }

  fileprivate func remove(_ id: String) {
    _ = state.withLock { $0.entries.removeValue(forKey: id) }
  }

  /// Asks for the end of a request, and returns whether there is one with this id.
  func cancel(_ id: String) -> Bool {
    guard let answer = state.withLock({ $0.entries[id]?.answer }) else { return false }
    answer.cancel()
    return true
  }

  /// The requests, the oldest first.
  var document: JSON {
    let entries = state.withLock { $0.entries }.sorted { $0.value.order < $1.value.order }
    return .array(
      entries.map { id, entry in
        let age = entry.began.duration(to: .now)
        return [
          "id": .string(id), "phase": .string(entry.phase.rawValue),
          "age_ms": .integer(Int(age / .milliseconds(1))),
          "prompt_tokens": .integer(entry.promptTokens),
          "generated_tokens": .integer(entry.generatedTokens),
        ]
      }
    )
  }
}

/// The place of one answer on the board.
final class BoardPlace: Sendable {
  private let board: RequestBoard
  private let id: String

  fileprivate init(board: RequestBoard, id: String) {
    self.board = board
    self.id = id
  }

  deinit { board.remove(id) }

  /// Notes what has happened.
  func take(_ event: AnswerEvent) {
    switch event {
    case .accepted(let isWaiting): board.advance(id, to: isWaiting ? .waiting : .prompt)
    case .piece(_, let piece): board.advance(id, to: .answer, tokens: piece.tokenCount)
    case .end, .failed, .quiet: break
    }
  }
}
