// What clients and the coordinator tell each other: requests here, answers in Messages+Answers.swift.

/// What an evaluation returns of each token; the raw values are the wire's.
package enum EvaluationKind: UInt32, Sendable, Hashable, CaseIterable {
  /// The logits after it.
  case logits = 1
  /// Its log probability, given those before it.
  case scores = 2
}

/// What a generation continues.
package enum Prompt: Sendable, Hashable {
  case text(String)
  case tokens([Int32])
}

/// Client → coordinator: continue a prompt.
///
/// Answered by Accepted, then Delta as tokens come, then Finished; or by RequestFailed.
package struct Generate: Sendable, Hashable {
  /// The client's number, repeated in every answer.
  package var request: UInt64
  package var prompt: Prompt
  /// The text is what a user says.
  package var appliesChatTemplate: Bool
  /// Special tokens are recognised in the text.
  package var parsesSpecial: Bool
  package var maxTokens: Int
  package var sampling: Sampling
  /// Strings that end the generation; not part of its text.
  package var stops: [String]
  package var ignoresEndOfTurn: Bool

  package init(
    request: UInt64,
    prompt: Prompt,
    appliesChatTemplate: Bool,
    parsesSpecial: Bool,
    maxTokens: Int,
    sampling: Sampling,
    stops: [String],
    ignoresEndOfTurn: Bool
  ) {
    self.request = request
    self.prompt = prompt
    self.appliesChatTemplate = appliesChatTemplate
    self.parsesSpecial = parsesSpecial
    self.maxTokens = maxTokens
    self.sampling = sampling
    self.stops = stops
    self.ignoresEndOfTurn = ignoresEndOfTurn
  }
}

/// Client → coordinator: run tokens and return numbers.
///
/// Answered by Accepted, then Evaluated, once or in parts; or by RequestFailed.
package struct Evaluate: Sendable, Hashable {
  package var request: UInt64
  package var tokens: [Int32]
  package var kind: EvaluationKind
  /// Of scores: the first position whose token is scored.
  package var firstScored: Int

  package init(request: UInt64, tokens: [Int32], kind: EvaluationKind, firstScored: Int) {
    self.request = request
    self.tokens = tokens
    self.kind = kind
    self.firstScored = firstScored
  }
}

/// Client → coordinator: end a request.
///
/// Answered by its Finished or RequestFailed; by nothing if it is not known.
package struct Cancel: Sendable, Hashable {
  package var request: UInt64

  package init(request: UInt64) {
    self.request = request
  }
}

/// Client → coordinator: what has arrived, so that the coordinator knows how much it may send on.
///
/// Sent after every 64 messages or megabyte, when a request has ended, and while nothing comes.
/// Answered by RequestFailed for each awaited request that is not being served.
package struct Receipt: Sendable, Hashable {
  /// Accepted, Delta, Finished, Evaluated and RequestFailed since the last receipt.
  package var messages: Int
  /// Requests of which the last message has not come.
  package var awaited: [UInt64]
  /// Of the last Evaluated among them; 0 if there is none.
  package var proof: UInt64

  package init(messages: Int, awaited: [UInt64], proof: UInt64 = 0) {
    self.messages = messages
    self.awaited = awaited
    self.proof = proof
  }
}

/// Client → coordinator: answered by StatusReply.
package struct StatusRequest: Sendable, Hashable {
  package var request: UInt64

  package init(request: UInt64) {
    self.request = request
  }
}

/// Client → coordinator: answered by HealthReply.
package struct HealthRequest: Sendable, Hashable {
  package var request: UInt64
  /// Each worker tests its device first.
  package var runsSelfTest: Bool

  package init(
    request: UInt64,
    runsSelfTest: Bool = false
  ) {
    self.request = request
    self.runsSelfTest = runsSelfTest
  }
}

/// Client → coordinator: move layers between the workers while sessions go on.
///
/// Answered by Rebalanced when the new epoch runs, or by RequestFailed; then the old one goes on.
package struct Rebalance: Sendable, Hashable {
  package var request: UInt64
  /// Layers a worker, in pipeline order; empty: the coordinator chooses.
  package var split: [Int]
  /// Proportions of the vocabulary, from the worker with the last layer on; empty: all with that one.
  package var logitsSplit: [Int]

  package init(request: UInt64, split: [Int], logitsSplit: [Int] = []) {
    self.request = request
    self.split = split
    self.logitsSplit = logitsSplit
  }
}

/// Client → coordinator: give a worker's layers to the others, then let it go.
///
/// Answered like Rebalance.
package struct Drain: Sendable, Hashable {
  package var request: UInt64
  package var worker: String

  package init(request: UInt64, worker: String) {
    self.request = request
    self.worker = worker
  }
}
