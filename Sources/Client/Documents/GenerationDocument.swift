// What `trestle run --json` prints: a whole answer with its timing.

internal import Wire

/// A generation from its first event to its last.
package struct GenerationDocument: Codable, Sendable, Hashable {
  package struct Timing: Codable, Sendable, Hashable {
    package var ttftMs = 0.0
    package var prefillTokensPerSecond = 0.0
    package var decodeTokensPerSecond = 0.0
    package var totalMs = 0.0
  }

  package var text = ""
  /// What the model has thought before; absent if nothing.
  package var thought: String?
  package var tokens: [Int32] = []
  package var promptTokens = 0
  /// Tokens of the prompt that another session had left in the caches.
  package var cachedTokens = 0
  /// How many of the tokens belong to the thought; absent if none.
  package var thoughtTokens: Int?
  package var finishReason = ""
  /// The stop string that ended it; absent if none did.
  package var stop: String?
  package var timing = Timing()
  package var placement: [PlacementRow] = []

  package init() {}

  /// Adds an event of the answer.
  package mutating func add(_ event: GenerationEvent) {
    switch event {
    case .accepted: break
    case .delta(let delta):
      text += delta.text
      if !delta.thought.isEmpty { thought = (thought ?? "") + delta.thought }
      tokens += delta.tokens
    case .finished(let finished): finish(finished)
    }
  }

  private mutating func finish(_ finished: Finished) {
    promptTokens = finished.promptTokens
    cachedTokens = finished.cachedTokens
    thoughtTokens = finished.thoughtTokens > 0 ? finished.thoughtTokens : nil
    stop = finished.stop.isEmpty ? nil : finished.stop
    finishReason = finished.reason.name
    placement = finished.placement.map { PlacementRow($0) }
    let timing = finished.timing
    self.timing.ttftMs = Double(timing.firstTokenMicroseconds) / 1000
    self.timing.totalMs = Double(timing.totalMicroseconds) / 1000
    // Tokens whose keys and values were cached took no time.
    self.timing.prefillTokensPerSecond = Self.rate(
      promptTokens - cachedTokens,
      timing.prefillMicroseconds
    )
    // The first token is a result of the prefill, so decode is timed without it.
    self.timing.decodeTokensPerSecond = Self.rate(
      finished.generatedTokens - 1,
      timing.decodeMicroseconds
    )
  }

  private static func rate(_ count: Int, _ microseconds: UInt64) -> Double {
    microseconds > 0 ? Double(max(0, count)) * 1e6 / Double(microseconds) : 0
  }
}
