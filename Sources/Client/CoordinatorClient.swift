// What a program needs to talk to a coordinator. Everything is asynchronous: a thousand requests share
// one connection and its one thread, and no task waits on a thread of its own.

package import Wire

/// What a client is told beside answers, for people who wait.
package enum ClientNews: Sendable {
  /// Nothing has come for so long, and somebody waits.
  case silence(Duration)
  /// How the workers are, while an answer is awaited.
  case health(HealthReply)
}

/// A piece of a generation's answer.
package enum GenerationEvent: Sendable, Hashable {
  /// The request waits or runs; comes again while it waits.
  case accepted(Accepted)
  /// Text and tokens that have come since the last one. What a slow reader has missed comes as one.
  case delta(Delta)
  /// The end: the reason, what was counted and timed, and where it was computed.
  case finished(Finished)
}

/// A piece of an evaluation's answer, in order of position.
package struct EvaluationPart: Sendable, Hashable {
  package var firstPosition: Int
  package var rowCount: Int
  /// One for each of the rows whose next token is scored; empty for logits.
  package var scores: [Double]
  private let payloads: [[Float]]

  init(_ part: Evaluated, _ payloads: [[Float]]) {
    firstPosition = part.firstPosition
    rowCount = part.rowCount
    scores = part.scores
    self.payloads = payloads
  }

  /// Returns the logits, [rowCount, vocabularySize]; nil if these are not what came.
  package func logits(vocabularySize: Int) -> [Float]? {
    guard payloads.count == 1, payloads[0].count == rowCount * vocabularySize else { return nil }
    return payloads[0]
  }
}

package typealias Generation = RequestStream<GenerationEvent>
package typealias Evaluation = RequestStream<EvaluationPart>

/// A client of one coordinator.
///
/// Requests run beside each other, and each ends exactly once: with its answer, or with an error that says
/// why there is none. When the coordinator ends or falls silent all that are open fail; the client stays
/// usable, and finds the next coordinator at the same endpoint.
///
/// Who reads slowly slows nobody but itself, within what the protocol allows: the coordinator counts what
/// a *connection* has not read, so text up to a mebibyte a request is taken in and put together here; of
/// larger answers, which are logits, what is not read holds back the whole connection. Whoever reads
/// logits slowly beside other requests does so through a client of its own.
package final class CoordinatorClient: Sendable {
  private let connection: Connection

  /// - Parameters:
  ///   - endpoint: The coordinator's.
  ///   - security: The keys to use.
  ///   - timeout: How long the coordinator may be silent while somebody waits. It is never busy for long,
  ///     since it computes nothing; but its process may be stopped, or its machine asleep, and then goes
  ///     on where it was.
  ///   - onNews: Told what people who wait want to know, on the connection's thread. It must not hold the
  ///     client.
  /// - Throws: `ClientError` if nobody listens there, or the system refuses a socket.
  package init(
    _ endpoint: Endpoint,
    security: Security = .localOnly,
    timeout: Duration = .seconds(60),
    onNews: @escaping @Sendable (ClientNews) -> Void = { _ in }
  ) throws(ClientError) {
    let options: ConnectionOptions
    let isServed: Bool
    do throws(WireError) {
      isServed = try endpoint.isListening()
      options = ConnectionOptions(
        endpoint: endpoint,
        socket: try security.options(.control, connectingToCoordinator: endpoint),
        timeout: timeout,
        advice: keyAdvice(security, endpoint),
        onNews: onNews
      )
    } catch {
      throw ClientError(error)
    }
    guard isServed else {
      throw ClientError(
        .notServed,
        "nothing serves \(endpoint); start a pipeline with `trestle up --model PATH`"
          + ", or name its --endpoint",
        context: "\(endpoint)"
      )
    }
    do throws(WireError) { connection = try Connection(options) } catch {
      throw ClientError(error)
    }
  }

  /// Ends what is open with the code `closed`, and the connection.
  ///
  /// It waits for what was sent last, a quarter of a second at most.
  package func close() { connection.close() }

  /// Continues a prompt.
  ///
  /// - Parameter generate: What to do; its number is given here, whatever it was.
  /// - Returns: What comes of it. Errors come there, too.
  package func generate(_ generate: Generate) -> Generation {
    connection.begin(.generation) { request in
      var generate = generate
      generate.request = request
      return .generate(generate)
    }
  }

  /// Runs tokens and returns numbers.
  ///
  /// - Parameters:
  ///   - tokens: What to run.
  ///   - kind: Which numbers.
  ///   - firstScored: Of scores: the first position whose token is scored.
  /// - Returns: What comes of it. Errors come there, too.
  package func evaluate(
    _ tokens: [Int32],
    _ kind: EvaluationKind,
    firstScored: Int = 0
  ) -> Evaluation {
    connection.begin(.evaluation) { request in
      .evaluate(Evaluate(request: request, tokens: tokens, kind: kind, firstScored: firstScored))
    }
  }

  /// Scores tokens.
  ///
  /// - Parameters:
  ///   - tokens: What to run.
  ///   - first: The first position whose token is scored.
  /// - Returns: How likely each token was, given those before it, as log probabilities.
  /// - Throws: `ClientError` if there are none.
  package func scores(of tokens: [Int32], from first: Int) async throws -> [Double] {
    var scores: [Double] = []
    for try await part in evaluate(tokens, .scores, firstScored: first) {
      scores += part.scores
    }
    return scores
  }

  /// Returns what each worker holds and does.
  ///
  /// - Throws: `ClientError` if the coordinator does not say.
  package func status() async throws -> StatusReply {
    try await reply(.status) { .statusRequest(StatusRequest(request: $0)) }
  }

  /// Asks whether the workers are well.
  ///
  /// - Parameter selfTest: Whether each tests its device first.
  /// - Returns: How each is.
  /// - Throws: `ClientError` if the coordinator does not say.
  package func health(selfTest: Bool = false) async throws -> HealthReply {
    try await reply(.health) {
      .healthRequest(HealthRequest(request: $0, runsSelfTest: selfTest))
    }
  }

  /// Moves layers between the workers, and waits until it is done.
  ///
  /// - Parameters:
  ///   - split: Layers a worker, in pipeline order; empty lets the coordinator choose.
  ///   - logitsSplit: Proportions of the vocabulary, from the worker with the last layer on.
  /// - Returns: What it took.
  /// - Throws: `ClientError` with the coordinator's reason if the layers stay where they are.
  package func rebalance(split: [Int], logitsSplit: [Int]) async throws -> Rebalanced {
    try await reply(.move) {
      .rebalance(Rebalance(request: $0, split: split, logitsSplit: logitsSplit))
    }
  }

  /// Gives a worker's layers to the others and lets it go, and waits until that is done.
  ///
  /// - Throws: `ClientError` with the coordinator's reason if the layers stay where they are.
  package func drain(_ worker: String) async throws -> Rebalanced {
    try await reply(.move) { .drain(Drain(request: $0, worker: worker)) }
  }

  /// Asks a question with one answer.
  private func reply<Reply: Sendable>(
    _ reading: Inbox<Reply>.Reading,
    _ message: (UInt64) -> Message
  ) async throws -> Reply {
    guard let reply = try await connection.begin(reading, message).next() else {
      preconditionFailure("a request has ended well without its answer")
    }
    return reply
  }
}

// MARK: Messages as elements

extension Inbox.Reading where Element == GenerationEvent {
  fileprivate static var generation: Self {
    Self(
      element: { message, _ in
        switch message {
        case .accepted(let accepted): .accepted(accepted)
        case .delta(let delta): .delta(delta)
        case .finished(let finished): .finished(finished)
        default: nil
        }
      },
      merge: { last, next in
        switch (last, next) {
        case (.delta(var delta), .delta(let more)):
          // Taken out first: so the text grows where it is.
          last = .delta(Delta(request: delta.request, text: "", tokens: []))
          delta.text += more.text
          delta.tokens += more.tokens
          last = .delta(delta)
          return true
        case (.accepted, .accepted):
          last = next
          return true
        default: return false
        }
      }
    )
  }
}

extension Inbox.Reading where Element == EvaluationPart {
  fileprivate static var evaluation: Self {
    Self { message, payloads in
      if case .evaluated(let part) = message {
        EvaluationPart(part, payloads)
      } else {
        nil
      }
    }
  }
}

extension Inbox.Reading where Element == StatusReply {
  fileprivate static var status: Self {
    Self { message, _ in if case .statusReply(let status) = message { status } else { nil } }
  }
}

extension Inbox.Reading where Element == HealthReply {
  fileprivate static var health: Self {
    Self { message, _ in if case .healthReply(let health) = message { health } else { nil } }
  }
}

extension Inbox.Reading where Element == Rebalanced {
  fileprivate static var move: Self {
    Self { message, _ in if case .rebalanced(let moved) = message { moved } else { nil } }
  }
}
