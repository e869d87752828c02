// What a placement is planned for: how many streams there are, and which tokens of their requests count.

/// The size of a request.
package struct RequestSize: Sendable, Hashable {
  package var promptTokens: Int
  /// The prompt's last step gives the first of them, so one token is the prompt alone.
  package var answerTokens: Int

  /// A page of text and a paragraph as its answer, where nothing else is said.
  package static let usual = RequestSize(promptTokens: 512, answerTokens: 128)

  /// - Precondition: There is a prompt, and at least one token of an answer.
  package init(promptTokens: Int, answerTokens: Int) {
    precondition(
      promptTokens > 0 && answerTokens > 0,
      "a request of \(promptTokens) and \(answerTokens) tokens"
    )
    self.promptTokens = promptTokens
    self.answerTokens = answerTokens
  }
}

/// The goal of a placement.
package struct PlanObjective: Sendable, Hashable {
  /// What is to be fast.
  package enum Goal: String, Sendable, Hashable {
    /// All streams together.
    case throughput
    /// A single stream.
    case latency
  }

  package var goal: Goal
  /// The streams that run at once.
  package var streams: Int
  /// The requests whose time counts; nil if only the tokens of answers count, however long the prompts
  /// are.
  package var request: RequestSize?

  private init(_ goal: Goal, streams: Int, request: RequestSize?) {
    self.goal = goal
    self.streams = streams
    self.request = request
  }

  /// The most tokens per second of `streams` streams together; with a request, the least time in which
  /// as many requests that start together are answered.
  package static func throughput(streams: Int, request: RequestSize? = nil) -> PlanObjective {
    PlanObjective(.throughput, streams: streams, request: request)
  }

  /// The least time per token of a single stream; with a request, its least time.
  package static func latency(request: RequestSize? = nil) -> PlanObjective {
    PlanObjective(.latency, streams: 1, request: request)
  }

  /// The least time per token of a single stream.
  package static var latency: PlanObjective { latency() }

  /// The same for prompts alone: as soon as they are read, the requests end.
  package var promptsAlone: PlanObjective {
    var objective = self
    objective.request = RequestSize(promptTokens: promptTokens, answerTokens: 1)
    return objective
  }

  /// The same for the tokens of answers alone.
  package var answersAlone: PlanObjective {
    var objective = self
    objective.request = nil
    return objective
  }

  /// Whether the time that prompts take counts.
  var countsPrompts: Bool { request != nil }

  /// Whether the time of tokens after the first counts.
  var countsAnswers: Bool { request?.answerTokens != 1 }

  /// The tokens of the prompts that a placement's prefill rate is predicted for.
  package var promptTokens: Int { (request ?? .usual).promptTokens }

  /// Returns what a placement has to make short.
  ///
  /// - Parameters:
  ///   - prompts: The time in which all streams' prompts are read.
  ///   - cycle: The time in which each stream gets one token.
  /// - Returns: The time of the requests; that of one token where only answers count.
  func microseconds(prompts: Double, cycle: Double) -> Double {
    guard let request else { return cycle }
    return prompts + Double(request.answerTokens - 1) * cycle
  }
}
