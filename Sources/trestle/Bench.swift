// Runs streams through a pipeline and times them.

import Wire

/// A benchmark of a running pipeline.
struct Bench {
  let client: Client
  let vocabularySize: Int
  let promptTokens: Int
  let decodeTokens: Int

  /// Returns prompt tokens a second with `streams` prompts at once.
  func prefill(streams: Int) throws -> Double {
    let began = ContinuousClock.now
    for stream in 0..<streams { try start(stream, prompt: promptTokens, tokens: 1) }
    var run = DecodeRun(streams: streams)
    while run.finished < streams { run.take(try next()) }
    return Double(streams * promptTokens) / ((ContinuousClock.now - began) / .seconds(1))
  }

  /// Decodes `streams` sequences side by side.
  ///
  /// Measured from when each has its first token until the first is done: while all of them run. The
  /// prompts are short, their time is not in it.
  func decode(streams: Int) throws -> (rate: Double, stages: [StageShare]) {
    for stream in 0..<streams {
      try start(stream, prompt: min(promptTokens, 16), tokens: decodeTokens)
    }
    var run = DecodeRun(streams: streams)
    while run.finished < streams || run.last?.status == nil {
      run.take(try next())
      if run.reachesMark() { try askStatus() }
    }
    guard let rate = run.rate, let stages = run.stages else {
      throw CommandError("the streams did not run side by side; raise --decode-tokens")
    }
    return (rate, stages)
  }

  /// Returns the layers of each worker.
  func placement() throws -> [PlacementRow] {
    try client.status().workers.map { worker in
      PlacementRow(
        worker: worker.name,
        device: worker.device,
        layers: [worker.firstLayer, worker.endLayer]
      )
    }
  }

  private func askStatus() throws {
    try client.send(.statusRequest(StatusRequest(request: client.newRequest())))
  }

  /// Submits a stream: a prompt of its own, always decoded to its full length.
  private func start(_ stream: Int, prompt: Int, tokens: Int) throws {
    let request = client.newRequest()
    // Plain token ids, different in every request, so that nothing can be reused.
    let ids = (0..<prompt).map { index in
      Int32((index * 7919 + Int(request) * 104_729 + stream) % vocabularySize)
    }
    try client.send(
      .generate(
        Generate(
          request: request,
          prompt: .tokens(ids),
          appliesChatTemplate: false,
          parsesSpecial: false,
          maxTokens: tokens,
          sampling: SamplingOptions.greedy,
          stops: [],
          ignoresEndOfTurn: true
        )
      )
    )
  }

  private func next() throws -> Message {
    guard let answer = try client.receive() else { throw CommandError("interrupted") }
    if case .requestFailed(let failure) = answer.message { throw CommandError(failure.message) }
    return answer.message
  }
}

/// The share of its time that a stage computed.
struct StageShare: Encodable {
  var worker: String
  var busy: Double
  /// The rest: waiting for the other stages and the way between.
  var bubble: Double
}

/// Follows the streams of one run.
private struct DecodeRun {
  /// A moment at which tokens are counted and the stages' clocks read.
  struct Mark {
    let at = ContinuousClock.now
    let tokens: Int
    var status: StatusReply?
  }

  let streams: Int
  private var started: Set<UInt64> = []
  private var tokens = 0
  private(set) var finished = 0
  private var first: Mark?
  private(set) var last: Mark?

  init(streams: Int) { self.streams = streams }

  mutating func take(_ message: Message) {
    switch message {
    case .delta(let delta):
      started.insert(delta.request)
      tokens += delta.tokens.count
    case .finished: finished += 1
    case .statusReply(let status):
      if first?.status == nil { first?.status = status } else { last?.status = status }
    default: break
    }
  }

  /// Sets a mark when all streams run, and another when the first has ended; returns whether one was
  /// set just now.
  mutating func reachesMark() -> Bool {
    if first == nil, started.count == streams {
      first = Mark(tokens: tokens)
      return true
    }
    if first != nil, last == nil, finished > 0 {
      last = Mark(tokens: tokens)
      return true
    }
    return false
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

  var stages: [StageShare]? {
    guard let before = first?.status, let after = last?.status, let seconds else { return nil }
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
