// A client's request while it is served: the client, its number for the request, the text to be
// sent, and the times of events. The session that computes its tokens knows nothing of this.

internal import Gemma
internal import Wire

/// A request that is waiting or being served.
struct ClientRequest: Sendable {
  let peer: PeerID
  /// The client's number for the request.
  let number: UInt64
  private(set) var timing: SessionTiming
  /// Nil if the model has no tokenizer; then tokens are sent without text.
  private var reader: AnswerReader?
  private var stops: StopMatcher
  /// Where the text belongs that the matcher holds back.
  private var channel: AnswerChannel

  init(
    peer: PeerID,
    number: UInt64,
    reader: AnswerReader?,
    stops: [String],
    at now: ContinuousClock.Instant
  ) {
    self.peer = peer
    self.number = number
    self.reader = reader
    channel = reader?.channel ?? .text
    self.stops = StopMatcher(stops: stops)
    timing = SessionTiming(arrived: now)
  }

  /// The stop string that has come, before which the answer ends; nil if none has.
  var matchedStop: String? { stops.matched }

  /// How many tokens of its answer belong to what the model has thought.
  var thoughtTokenCount: Int { reader?.thoughtTokenCount ?? 0 }

  /// Notes that its session has got a slot.
  mutating func start(at now: ContinuousClock.Instant) { timing.started = now }

  /// Adds a sampled token and returns the text that may be sent now.
  ///
  /// - Parameters:
  ///   - token: The token; nil for one that ends the turn, which has no text.
  ///   - isLast: Whether no other follows, so that what is held back comes out too.
  ///   - now: The time.
  /// - Returns: The text, up to what may begin a stop string.
  mutating func take(
    _ token: Int32?,
    isLast: Bool,
    at now: ContinuousClock.Instant
  ) -> AnswerText {
    if timing.firstToken == nil { timing.firstToken = now }
    timing.lastToken = now
    var answer = AnswerText()
    if let token, let piece = reader?.append(token) {
      answer.append(stops.feed(piece.text), to: channel)
    }
    if let next = reader?.channel, next != channel {
      // A stop string stands in a thought or in what is said, never across.
      answer.append(stops.flush(), to: channel)
      channel = next
    }
    if isLast, !stops.hasMatched {
      if let rest = reader?.flush() { answer.append(stops.feed(rest.text), to: channel) }
      answer.append(stops.flush(), to: channel)
    }
    return answer
  }
}

/// Text of an answer that may be sent.
struct AnswerText: Sendable, Hashable {
  /// What the model thinks.
  private(set) var thought = ""
  /// What it says.
  private(set) var text = ""

  var isEmpty: Bool { thought.isEmpty && text.isEmpty }

  mutating func append(_ more: String, to channel: AnswerChannel) {
    switch channel {
    case .thought: thought += more
    case .text: text += more
    }
  }
}

/// The times of a request's events.
package struct SessionTiming: Sendable {
  package let arrived: ContinuousClock.Instant
  package var started: ContinuousClock.Instant?
  package var firstToken: ContinuousClock.Instant?
  package var lastToken: ContinuousClock.Instant?

  package init(arrived: ContinuousClock.Instant) { self.arrived = arrived }
}

/// A request whose text is being tokenized.
struct EncodingPrompt: Sendable {
  let peer: PeerID
  /// Without its text.
  let generate: Generate
}
