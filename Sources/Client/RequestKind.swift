// Which messages answer which requests.

internal import Wire

/// What a request asks for.
enum RequestKind: Sendable, Hashable {
  case generation
  case evaluation
  case status
  case health
  /// Layers are moved, or a worker is drained.
  case move

  /// Returns the kind of request that a message begins; nil if it begins none.
  init?(of message: Message) {
    switch message {
    case .generate: self = .generation
    case .evaluate: self = .evaluation
    case .statusRequest: self = .status
    case .healthRequest: self = .health
    case .rebalance, .drain: self = .move
    default: return nil
    }
  }

  /// Whether the coordinator keeps a session for it, which can be cancelled and asked about.
  var isSession: Bool { self == .generation || self == .evaluation }

  /// Whether a message is an answer to such a request.
  func accepts(_ message: Message) -> Bool {
    switch message {
    case .requestFailed: true
    case .accepted: isSession
    case .delta, .finished: self == .generation
    case .evaluated: self == .evaluation
    case .statusReply: self == .status
    case .healthReply: self == .health
    case .rebalanced: self == .move
    default: false
    }
  }
}

/// A message as the answer to a request.
struct Answer: Sendable, Hashable {
  /// The number of the request; 0 for an answer to the connection's own question.
  var request: UInt64
  /// Whether nothing follows.
  var isLast: Bool
  /// Whether the coordinator counts it until a receipt acknowledges it.
  var isOfSession: Bool
  /// The proof that the receipt must return.
  var proof: UInt64?

  /// - Returns: Nil for a message that is not an answer.
  init?(_ message: Message) {
    switch message {
    case .accepted(let accepted): self.init(accepted.request, isLast: false)
    case .delta(let delta): self.init(delta.request, isLast: false)
    case .finished(let finished): self.init(finished.request, isLast: true)
    case .evaluated(let part):
      self.init(part.request, isLast: part.isLast, proof: part.proof)
    case .requestFailed(let failure): self.init(failure.request, isLast: true)
    case .statusReply(let status): self.init(status.request, isLast: true, isOfSession: false)
    case .healthReply(let health): self.init(health.request, isLast: true, isOfSession: false)
    case .rebalanced(let moved): self.init(moved.request, isLast: true, isOfSession: false)
    default: return nil
    }
  }

  private init(_ request: UInt64, isLast: Bool, isOfSession: Bool = true, proof: UInt64? = nil) {
    self.request = request
    self.isLast = isLast
    self.isOfSession = isOfSession
    self.proof = proof
  }
}
