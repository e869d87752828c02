// One request as the pipeline sees it: its tokens, how far they are computed, and what is wanted of them.
// Who asked, and the text of the answer, are in Clients/ClientRequest.swift.

package import Wire

/// What a request wants of its tokens.
package enum SessionGoal: Sendable {
  /// New tokens, drawn with `sampling`, until `maxTokens`, a stop string or the end of the turn.
  case generate(sampling: Sampling, maxTokens: Int, ignoresEndOfTurn: Bool)
  /// The logits of every token.
  case logits
  /// The log probability of each token from `first` on, given those before it.
  case scores(first: Int)
  /// How large the inputs of the model's products were, summed up over the tokens.
  case inputs

  /// What its biases take in a step's header: about a dozen bytes each.
  fileprivate var biasBytes: Int {
    guard case .generate(let sampling, _, _) = self else { return 0 }
    return 12 * sampling.biases.count
  }

  /// Whether it asks for sums over its rows, in which those of others must not be.
  package var isObserved: Bool {
    if case .inputs = self { true } else { false }
  }

  /// Whether the request asks for numbers instead of new tokens.
  package var isEvaluation: Bool {
    switch self {
    case .generate: false
    case .logits, .scores, .inputs: true
    }
  }
}

/// Tokens that end a turn, which must not come before an answer has so many.
package struct EarlyEnd: Sendable {
  package var minTokens: Int
  package var endTokens: [Int32]

  package init(minTokens: Int, endTokens: [Int32]) {
    self.minTokens = minTokens
    self.endTokens = endTokens
  }

  /// Makes their logits so small that they are drawn only if a mask allows nothing else.
  fileprivate var biases: [TokenBias] { endTokens.map { TokenBias(token: $0, value: -1e30) } }
}

/// A request's tokens, waiting or being computed.
package struct Session: Sendable {
  package let id: UInt64
  package let goal: SessionGoal
  package let promptCount: Int
  /// Whose prefixes it may take over, and who may take over its own; see `PrefixSharing.group`.
  package let prefixGroup: PublicKey?
  private let earlyEnd: EarlyEnd?
  /// The prompt's tokens and those generated.
  package private(set) var tokens: [Int32]
  /// How many of `tokens` have been sent through the pipeline, or are on their way.
  package private(set) var submitted = 0
  /// The most positions its slot's rings have come to, earlier sessions' included: what a ring has
  /// overwritten stays so when a session goes back to a prefix.
  package private(set) var reached = 0
  /// How many of the prompt's tokens it has not had computed: its slot held their keys and values.
  package private(set) var cachedCount = 0
  /// How many of `tokens` have come back; results before this position have been delivered.
  package private(set) var completed = 0
  /// Steps of it that a worker could not run, since it last got anything new.
  package private(set) var failedSteps = 0
  /// Workers that were lost while they ran it, since it last got anything new.
  package private(set) var losses = LossRecord()
  /// The session's place in the KV caches; nil while it waits for one.
  package private(set) var slot: Int?
  /// What its answer must conform to; nil if anything is good.
  private var constraint: (any TokenConstraint)?
  /// The tokens that may come next; nil if all may.
  package private(set) var mask: TokenMask?
  /// What its next draw adds to a step's header: biases and mask.
  package private(set) var drawBytes: Int

  package init(
    id: UInt64,
    goal: SessionGoal,
    tokens: [Int32],
    prefixGroup: PublicKey? = nil,
    earlyEnd: EarlyEnd? = nil,
    constraint: (any TokenConstraint)? = nil
  ) {
    self.id = id
    self.goal = goal
    self.tokens = tokens
    self.prefixGroup = prefixGroup
    self.earlyEnd = earlyEnd
    self.constraint = constraint
    promptCount = tokens.count
    mask = constraint?.allowed
    drawBytes = goal.biasBytes + (mask?.byteCount ?? 0)
  }

  package var generatedCount: Int { tokens.count - promptCount }

  /// Tokens that can be sent now.
  package var pendingCount: Int { tokens.count - submitted }

  /// Whether it has got tokens, and somebody waits for the next.
  package var isGenerating: Bool { !goal.isEvaluation && generatedCount > 0 }

  /// Whether its next row is the one token it has got last.
  package var isDecoding: Bool { !goal.isEvaluation && submitted > 0 && pendingCount == 1 }

  /// Returns what the pipeline shall give back for a position.
  package func output(at position: Int) -> RowOutput {
    // Delivered before a recovery: only the keys and values are wanted again.
    guard position >= completed else { return .none }
    switch goal {
    case .generate(var sampling, _, _):
      guard position == tokens.count - 1 else { return .none }
      if let earlyEnd, generatedCount < earlyEnd.minTokens { sampling.biases += earlyEnd.biases }
      return .sample(sampling)
    case .logits: return .logits
    case .inputs: return .inputs
    case .scores(let first):
      let target = position + 1
      guard target >= first, target < tokens.count else { return .none }
      return .score(target: tokens[target])
    }
  }

  /// Returns which tokens may be drawn behind a position; nil if all may, or none is drawn there.
  package func mask(at position: Int) -> TokenMask? {
    position == tokens.count - 1 ? mask : nil
  }

  // MARK: What happens to it

  /// Takes a slot whose caches hold the first `prefix` positions already.
  package mutating func begin(in slot: Int, prefix: Int, reached: Int) {
    self.slot = slot
    submitted = prefix
    cachedCount = prefix
    self.reached = reached
  }

  /// Counts all tokens before a position as under way.
  package mutating func submit(upTo position: Int) {
    submitted = position
    reached = max(reached, position)
  }

  /// Notes that everything before a position has come back: what it got is new, so it is no longer
  /// suspected of what went wrong before.
  package mutating func complete(upTo position: Int) {
    completed = position
    failedSteps = 0
    losses = LossRecord()
  }

  /// Adds a token that has been drawn.
  package mutating func append(_ token: Int32) {
    tokens.append(token)
    guard constraint != nil else { return }
    constraint?.accept(token)
    mask = constraint?.allowed
    drawBytes = goal.biasBytes + (mask?.byteCount ?? 0)
  }

  /// Notes that a worker could not run a step of it.
  package mutating func countFailedStep() { failedSteps += 1 }

  /// Notes that a worker was lost while it ran; `place` is nil if other sessions were under way too.
  package mutating func countLoss(at place: LossRecord.Place?) { losses.add(at: place) }

  /// Forgets what is in flight or computed, so that the session is replayed from its tokens.
  package mutating func rewind() {
    submitted = 0
    reached = 0
    // What it took over is gone; so its prompt is computed in full, unless that is behind it.
    if completed == 0 { cachedCount = 0 }
  }
}
