// What a program needs to talk to a coordinator. Everything is asynchronous: a thousand requests
// share one connection and its one thread, and no request blocks a thread of its own.

package import Wire

/// News for people who wait for an answer.
package enum ClientNews: Sendable {
  /// Requests are open and nothing has come for this long.
  case silence(Duration)
  /// The health of the workers, asked for while an answer is awaited.
  case health(HealthReply)
}

/// A piece of a generation's answer.
package enum GenerationEvent: Sendable, Hashable {
  /// The request waits or runs; repeated while it waits.
  case accepted(Accepted)
  /// The text and tokens since the last delta. Those that a slow reader has not read are merged
  /// into one.
  case delta(Delta)
  /// The end: its reason, the counts and times, and the placement that computed it.
  case finished(Finished)
}

/// A piece of an evaluation's answer, in order of position.
package struct EvaluationPart: Sendable, Hashable {
  package var firstPosition: Int
  package var rowCount: Int
  /// One score for each row whose next token is scored; empty for logits.
  package var scores: [Double]
  private let payloads: [[Float]]

  init(_ part: Evaluated, _ payloads: [[Float]]) {
    firstPosition = part.firstPosition
    rowCount = part.rowCount
    scores = part.scores
    self.payloads = payloads
  }

  /// The logits of each row, as many as the model has; empty if the part has none.
  package var rows: [ArraySlice<Float>] {
    guard let logits = payloads.first, rowCount > 0, logits.count.isMultiple(of: rowCount) else {
      return []
    }
    let width = logits.count / rowCount
    return (0..<rowCount).map { logits[($0 * width)..<(($0 + 1) * width)] }
  }

  /// The sums of what the products were given in these rows' step, as `ObservationLayout` says; nil if the
  /// part has none.
  package var observed: [Float]? { payloads.first }

  /// Returns the logits, [rowCount, vocabularySize]; nil if the part has none of that size.
  package func logits(vocabularySize: Int) -> [Float]? {
    guard payloads.count == 1, payloads[0].count == rowCount * vocabularySize else { return nil }
    return payloads[0]
  }
}

package typealias Generation = RequestStream<GenerationEvent>
package typealias Evaluation = RequestStream<EvaluationPart>

/// A client of one coordinator.
///
/// Requests run concurrently, and each ends exactly once: with its answer, or with an error that
/// says why it has none. When the coordinator ends or falls silent, all open requests fail. The
/// client stays usable and connects to the next coordinator at the same endpoint.
///
/// A slow reader slows only its own request, as far as the protocol allows. The coordinator's flow
/// control counts what a *connection* has not read. So up to a mebibyte of text per request is
/// buffered and merged here and counts as read. Unread parts of larger answers, which are logits,
/// hold back the whole connection (backpressure). Use a separate client to read logits slowly
/// beside other requests.
package final class CoordinatorClient: Sendable {
  private let connection: Connection

  /// - Parameters:
  ///   - endpoint: The coordinator's endpoint.
  ///   - security: The keys to use.
  ///   - timeout: How long the coordinator may be silent while requests are open. It computes
  ///     nothing and is never busy for long. But its process may be stopped or its machine asleep,
  ///     and then it resumes where it was.
  ///   - onNews: Called on the connection's thread with news for people who wait. It must not keep
  ///     a reference to the client.
  /// - Throws: `ClientError` if no process listens there, or the system refuses a socket.
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

  /// Fails all open requests with the code `closed`, and disconnects.
  ///
  /// It waits until the messages sent last have left, for a quarter of a second at most.
  package func close() { connection.close() }

  /// Continues a prompt.
  ///
  /// - Parameter generate: The request; its number is replaced by one that is free.
  /// - Returns: The answer, in events. Errors are thrown there, too.
  package func generate(_ generate: Generate) -> Generation {
    connection.begin(.generation) { request in
      var generate = generate
      generate.request = request
      return .generate(generate)
    }
  }

  /// Runs tokens and returns their scores or logits.
  ///
  /// - Parameters:
  ///   - tokens: The tokens to run.
  ///   - kind: Whether to return scores or logits.
  ///   - firstScored: For scores, the first position whose token is scored.
  /// - Returns: The answer, in parts. Errors are thrown there, too.
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
  ///   - tokens: The tokens to run.
  ///   - first: The first position whose token is scored.
  /// - Returns: The log probability of each token, given those before it.
  /// - Throws: `ClientError` if the request fails.
  package func scores(of tokens: [Int32], from first: Int) async throws -> [Double] {
    var scores: [Double] = []
    for try await part in evaluate(tokens, .scores, firstScored: first) {
      scores += part.scores
    }
    return scores
  }

  /// Returns what each worker holds and does.
  ///
  /// - Throws: `ClientError` if the request fails.
  package func status() async throws -> StatusReply {
    try await reply(.status) { .statusRequest(StatusRequest(request: $0)) }
  }

  /// Asks whether the workers are healthy.
  ///
  /// - Parameter selfTest: Whether each worker tests its device first.
  /// - Returns: The health of each worker.
  /// - Throws: `ClientError` if the request fails.
  package func health(selfTest: Bool = false) async throws -> HealthReply {
    try await reply(.health) {
      .healthRequest(HealthRequest(request: $0, runsSelfTest: selfTest))
    }
  }

  /// Moves layers between the workers, and waits until it is done.
  ///
  /// - Parameters:
  ///   - split: The number of layers of each worker, in pipeline order; empty to let the
  ///     coordinator choose.
  ///   - logitsSplit: Proportions of the vocabulary, from the worker with the last layer on.
  /// - Returns: What was moved, and how long the pause was.
  /// - Throws: `ClientError` with the coordinator's reason if the layers stay where they are.
  package func rebalance(split: [Int], logitsSplit: [Int]) async throws -> Rebalanced {
    try await reply(.move) {
      .rebalance(Rebalance(request: $0, split: split, logitsSplit: logitsSplit))
    }
  }

  /// Gives a worker's layers to the others and releases it, and waits until that is done.
  ///
  /// - Throws: `ClientError` with the coordinator's reason if the layers stay where they are.
  package func drain(_ worker: String) async throws -> Rebalanced {
    try await reply(.move) { .drain(Drain(request: $0, worker: worker)) }
  }

  /// Sends a request that is answered by one message.
  private func reply<Reply: Sendable>(
    _ reading: Inbox<Reply>.Reading,
    _ message: (UInt64) -> Message
  ) async throws -> Reply {
    guard let reply = try await connection.begin(reading, message).next() else {
      preconditionFailure("a request has ended without an error and without its answer")
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
          // A thought that follows text stays behind it.
          if !delta.text.isEmpty, !more.thought.isEmpty { return false }
          // The delta is taken out first, so that its text is extended in place and not copied.
          last = .delta(Delta(request: delta.request, text: "", tokens: []))
          delta.thought += more.thought
          delta.text += more.text
          delta.tokens += more.tokens
          delta.scored += more.scored
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
