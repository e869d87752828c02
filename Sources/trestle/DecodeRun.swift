// The times at which the tokens of a benchmark's streams came.

import Client
import Wire

/// Follows the streams of one run.
struct DecodeRun: Sendable {
  /// A moment at which the tokens and the busy times of the stages are recorded.
  struct Mark: Sendable {
    let at = ContinuousClock.now
    let tokens: Int
    let status: Task<StatusReply, any Error>
  }

  private let streams: Int
  private let client: CoordinatorClient
  /// When the last token of each stream came.
  private var started: [Int: ContinuousClock.Instant] = [:]
  private var tokens = 0
  /// The times between tokens of a stream, while all streams run.
  private(set) var gaps: [Duration] = []
  private(set) var finished = 0
  private var first: Mark?
  private var last: Mark?

  init(streams: Int, _ client: CoordinatorClient) {
    self.streams = streams
    self.client = client
  }

  mutating func take(_ event: GenerationEvent, of stream: Int) {
    switch event {
    case .accepted: break
    case .delta(let delta):
      let now = ContinuousClock.now
      if let before = started.updateValue(now, forKey: stream), first != nil, finished == 0 {
        gaps.append(now - before)
      }
      tokens += delta.tokens.count
    case .finished: finished += 1
    }
  }

  mutating func forgetGaps() { gaps = [] }

  /// Sets a mark when all streams run, and another when the first has ended.
  ///
  /// Returns whether this call has set one.
  mutating func reachesMark() -> Bool {
    if first == nil, started.count == streams {
      first = mark()
      return true
    }
    if first != nil, last == nil, finished > 0 {
      last = mark()
      return true
    }
    return false
  }

  /// The status is requested in a task, so that the streams are read meanwhile.
  private func mark() -> Mark {
    let client = client
    return Mark(tokens: tokens, status: Task { try await client.status() })
  }

  private var seconds: Double? {
    guard let first, let last else { return nil }
    return (last.at - first.at) / .seconds(1)
  }

  var rate: Double? {
    guard let first, let last, let seconds, seconds > 0, last.tokens > first.tokens else {
      return nil
    }
    return Double(last.tokens - first.tokens) / seconds
  }

  /// Returns how busy each stage was between the marks.
  func stages() async throws -> [StageShare]? {
    guard let before = try await first?.status.value, let after = try await last?.status.value,
      let seconds
    else { return nil }
    return zip(before.workers, after.workers).map { before, after in
      let busy = Double(after.busyMicroseconds - before.busyMicroseconds) / 1e6 / seconds
      return StageShare(
        worker: after.name,
        busy: min(1, busy),
        bubble: max(0, 1 - busy)
      )
    }
  }
}
