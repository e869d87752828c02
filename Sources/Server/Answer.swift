// One request's answer under way: the sessions of its choices, what has come of them, and how it is told.

internal import Client
internal import Platform
internal import Wire

/// What is told of a whole answer beside its choices.
struct AnswerHead: Sendable {
  var id: String
  var created: Int
  var model: String
  /// The version of the program and the fingerprint of the weights.
  var system: String

  func document(_ object: String, choices: [JSON]) -> [JSON.Member] {
    [
      .init("id", .string(id)), .init("object", .string(object)),
      .init("created", .integer(created)),
      .init("model", .string(model)), .init("choices", .array(choices)),
      .init("system_fingerprint", .string(system)),
    ]
  }
}

/// What happens while an answer is under way.
enum AnswerEvent: Sendable {
  /// A choice waits for its turn, or does no longer.
  case accepted(isWaiting: Bool)
  case piece(choice: Int, AnswerPiece)
  case end(choice: Int, Finished)
  case failed(ClientError)
  /// Nothing has come for a while.
  case quiet
}

/// The sessions of a request that the coordinator has accepted.
struct Answer: Sendable {
  private let client: CoordinatorClient
  private let requests: [Generate]
  /// Those that begin at once, as many as a pipeline lets wait beside others.
  private let first: [Generation]
  private let cancellation: AnswerCancellation
  /// Whether a choice waited for its turn when it was accepted.
  let isWaiting: Bool

  /// How often `quiet` comes while nothing else does.
  private static let quiet = Duration.seconds(10)
  /// The most choices at once; the next begins when one of them has ended.
  ///
  /// A pipeline lets 64 requests wait, and others ask, too.
  private static let choicesAtOnce = 32
  /// How long a later choice waits before it asks again where too many wait.
  private static let pause = Duration.milliseconds(200)

  /// Begins the sessions, and waits until they are accepted.
  ///
  /// - Throws: `ClientError` if one is refused; then none goes on.
  init(_ requests: [Generate], of client: CoordinatorClient) async throws {
    self.client = client
    self.requests = requests
    first = requests.prefix(Self.choicesAtOnce).map { client.generate($0) }
    cancellation = AnswerCancellation(first)
    var isWaiting = false
    for generation in first {
      // While its prompt is read and its grammar compiled, a request is told to wait, and may be refused yet.
      var accepted: Accepted?
      while accepted?.promptTokens ?? 0 == 0 {
        guard case .accepted(let next)? = try await generation.next() else { break }
        accepted = next
      }
      isWaiting = isWaiting || accepted?.queuePosition ?? 0 > 0
    }
    self.isWaiting = isWaiting
  }

  /// Asks for the end of all choices, which then end as cancelled.
  func cancel() { cancellation.cancel() }

  /// Calls a closure with all that happens until every choice has ended, one event after another.
  ///
  /// - Parameters:
  ///   - onOverflow: Called if the closure takes so long that more has come than is kept for it. It must see to
  ///     it that the closure returns.
  ///   - take: What is called.
  /// - Throws: What the closure throws; `CancellationError`, also after an overflow.
  func forEach(
    onOverflow: @escaping @Sendable () -> Void,
    _ take: (AnswerEvent) async throws -> Void
  ) async throws {
    let queue = AnswerQueue(onOverflow: onOverflow)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in first.indices {
        group.addTask { await follow(from: index, queue) }
      }
      group.addTask {
        while true {
          try await Task.sleep(for: Self.quiet)
          queue.post(.quiet)
        }
      }
      defer { group.cancelAll() }
      var open = requests.count
      while let event = await queue.next() {
        try await take(event)
        if case .failed = event { return }
        if case .end = event { open -= 1 }
        if open == 0 { return }
      }
      throw CancellationError()
    }
  }

  /// Follows a choice that has begun, and then each that comes in its place.
  private func follow(from index: Int, _ queue: AnswerQueue) async {
    do {
      try await Self.follow(first[index], index, queue)
      for later in stride(from: index + first.count, to: requests.count, by: first.count) {
        try await begin(later, queue)
      }
    } catch let error as ClientError {
      queue.post(.failed(error))
    } catch {
      // Cancelled: nobody reads any more.
    }
  }

  /// Begins a choice, however long it takes until there is room for it, and follows it.
  private func begin(_ index: Int, _ queue: AnswerQueue) async throws {
    while true {
      do {
        let generation = client.generate(requests[index])
        cancellation.add(generation)
        return try await Self.follow(generation, index, queue)
      } catch let error as ClientError where error.code == .busy {
        try await Task.sleep(for: Self.pause)
      }
    }
  }

  private static func follow(
    _ generation: Generation,
    _ index: Int,
    _ queue: AnswerQueue
  ) async throws {
    for try await event in generation {
      switch event {
      case .accepted(let accepted):
        queue.post(.accepted(isWaiting: accepted.queuePosition > 0))
      case .delta(let delta):
        let piece = AnswerPiece(
          text: delta.text,
          thought: delta.thought,
          scored: delta.scored,
          tokenCount: delta.tokens.count
        )
        queue.post(.piece(choice: index, piece))
      case .finished(let finished): queue.post(.end(choice: index, finished))
      }
    }
  }
}

/// What ends the choices of an answer: those that have begun, and those that begin later.
private final class AnswerCancellation: Sendable {
  private struct State {
    var generations: [Generation]
    var isCancelled = false
  }

  private let state: Lock<State>

  init(_ generations: [Generation]) { state = Lock(State(generations: generations)) }

  func add(_ generation: Generation) {
    let isCancelled = state.withLock { state in
      state.generations.append(generation)
      return state.isCancelled
    }
    if isCancelled { generation.cancel() }
  }

  func cancel() {
    let generations = state.withLock { state in
      state.isCancelled = true
      return state.generations
    }
    for generation in generations { generation.cancel() }
  }
}

// MARK: Counts

/// What choices have cost.
struct Usage: Sendable {
  private(set) var finished: [Int: Finished] = [:]

  mutating func add(_ choice: Int, _ end: Finished) { finished[choice] = end }

  /// - Parameter choices: How many choices share a prompt; it is counted once.
  /// - Returns: The API's `usage`.
  func document(choices: Int) -> JSON {
    let prompts = finished.filter { $0.key.isMultiple(of: choices) }.map(\.value)
    let prompt = prompts.reduce(0) { $0 + $1.promptTokens }
    let answer = finished.values.reduce(0) { $0 + $1.generatedTokens }
    let thoughts = finished.values.reduce(0) { $0 + $1.thoughtTokens }
    let cached = prompts.reduce(0) { $0 + $1.cachedTokens }
    return [
      "prompt_tokens": .integer(prompt), "completion_tokens": .integer(answer),
      "total_tokens": .integer(prompt + answer),
      "prompt_tokens_details": ["cached_tokens": .integer(cached)],
      "completion_tokens_details": ["reasoning_tokens": .integer(thoughts)],
    ]
  }

  /// llama.cpp's names for where the time of the first choice went.
  var timings: JSON {
    guard let end = finished[0] else { return .null }
    let computed = end.promptTokens - end.cachedTokens
    let prompt = Double(end.timing.prefillMicroseconds) / 1000
    let answer = Double(end.timing.decodeMicroseconds) / 1000
    func rate(_ tokens: Int, _ milliseconds: Double) -> JSON {
      milliseconds > 0 ? .number(Double(tokens) / milliseconds * 1000) : .null
    }
    // The first token comes with the prompt.
    let decoded = max(0, end.generatedTokens - 1)
    return [
      "cache_n": .integer(end.cachedTokens), "prompt_n": .integer(computed),
      "prompt_ms": .number(prompt), "prompt_per_second": rate(computed, prompt),
      "predicted_n": .integer(end.generatedTokens), "predicted_ms": .number(answer),
      "predicted_per_second": rate(decoded, answer),
      "first_token_ms": .number(Double(end.timing.firstTokenMicroseconds) / 1000),
    ]
  }
}

extension APIError {
  /// The coordinator's refusals in the API's terms.
  ///
  /// - Parameters:
  ///   - error: What the coordinator said.
  ///   - contextTokens: How many tokens a session holds; 0 if that is not known.
  ///   - promptTokens: How many the prompt has.
  init(_ error: ClientError, contextTokens: Int = 0, promptTokens: Int = 0) {
    switch error.code {
    case .tooLong:
      // Clients look for the code, or for this sentence.
      self.init(
        400,
        "This model's maximum context length is \(contextTokens) tokens. However, your messages "
          + "resulted in \(promptTokens) tokens. Please reduce the length of the messages.",
        code: "context_length_exceeded"
      )
      messagesMessage = "prompt is too long: \(promptTokens) tokens > \(contextTokens) maximum"
    case .invalid, .template, .constraint: self.init(400, error.message)
    case .busy:
      self.init(429, error.message, type: "rate_limit_error", code: "busy", retryAfter: 1)
    case .notAllowed: self.init(403, error.message, type: "permission_error")
    case .lost, .shuttingDown, .cancelled, .notServed, .ended, .silent, .connection, .closed:
      let code =
        switch error.code {
        case .shuttingDown: "shutting_down"
        case .notServed: "not_served"
        default: error.code.rawValue
        }
      self.init(503, error.message, type: "server_error", code: code, retryAfter: 2)
    case .internal: self.init(500, error.message, type: "server_error")
    }
  }
}
