// Runs streams through a pipeline and times them.

import Glibc
import Launch
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
  func decode(streams: Int) throws -> DecodeResult {
    try startDecoding(streams)
    var run = DecodeRun(streams: streams)
    while run.finished < streams || run.last?.status == nil {
      run.take(try next())
      if run.reachesMark() { try askStatus() }
    }
    guard let rate = run.rate, let stages = run.stages else {
      throw CommandError("the streams did not run side by side; raise --decode-tokens")
    }
    return DecodeResult(rate: rate, stages: stages, interToken: TokenGaps(run.gaps))
  }

  /// Lets a prompt of `tokens` tokens come while `streams` sequences decode, and returns what the
  /// streams felt of it, from when it came to its first token.
  func arrival(of tokens: Int, besideStreams streams: Int) throws -> ArrivalResult {
    try startDecoding(streams)
    var run = DecodeRun(streams: streams)
    while run.finished == 0, !run.reachesMark() { run.take(try next()) }
    let came = ContinuousClock.now
    let arriving = try start(streams, prompt: tokens, tokens: 1)
    run.forgetGaps()
    var firstToken: Duration?
    var during: [Duration] = []
    while run.finished < streams + 1 {
      let message = try next()
      if case .delta(let delta) = message, delta.request == arriving {
        guard run.finished == 0 else { break }
        (firstToken, during) = (ContinuousClock.now - came, run.gaps)
      } else {
        run.take(message)
      }
    }
    guard let firstToken, !during.isEmpty else {
      throw CommandError(
        "the streams ended before the prompt was read; raise --decode-tokens"
      )
    }
    return ArrivalResult(
      promptTokens: tokens,
      firstTokenMs: firstToken / .milliseconds(1),
      interToken: TokenGaps(during)
    )
  }

  /// Returns what each worker was spared since it started.
  ///
  /// Workers tell with their heartbeats, four times a second.
  func skipped() throws -> [SkippedRows] {
    usleep(600_000)
    return try client.status().workers.map { worker in
      SkippedRows(
        worker: worker.name,
        layerRows: worker.layerRows,
        skippedLayerRows: worker.skippedLayerRows
      )
    }
  }

  /// Returns the layers of each worker.
  func placement() throws -> [PlacementRow] {
    try client.status().workers.map { worker in
      PlacementRow(worker: worker.name, device: worker.device, slice: worker.slice)
    }
  }

  private func askStatus() throws {
    try client.send(.statusRequest(StatusRequest(request: client.newRequest())))
  }

  /// Submits streams with short prompts.
  private func startDecoding(_ streams: Int) throws {
    for stream in 0..<streams {
      try start(stream, prompt: min(promptTokens, 16), tokens: decodeTokens)
    }
  }

  /// Submits a stream: a prompt of its own, always decoded to its full length.
  @discardableResult
  private func start(_ stream: Int, prompt: Int, tokens: Int) throws -> UInt64 {
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
          sampling: Sampling.greedy,
          stops: [],
          ignoresEndOfTurn: true
        )
      )
    )
    return request
  }

  private func next() throws -> Message {
    guard let answer = try client.receive() else { throw Interrupted() }
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

/// Streams that decoded side by side.
struct DecodeResult {
  /// Tokens a second, of all of them.
  var rate: Double
  var stages: [StageShare]
  var interToken: TokenGaps
}

/// What streams felt of a prompt that came while they decoded.
struct ArrivalResult: Encodable {
  var promptTokens: Int
  var firstTokenMs: Double
  /// Of the streams, until then.
  var interToken: TokenGaps
}

/// Times from one token of a stream to its next.
struct TokenGaps: Encodable {
  var p50Ms: Double
  var p99Ms: Double

  /// - Precondition: There is one at least.
  init(_ gaps: [Duration]) {
    let sorted = gaps.sorted()
    p50Ms = sorted[sorted.count / 2] / .milliseconds(1)
    p99Ms = sorted[min(sorted.count - 1, sorted.count * 99 / 100)] / .milliseconds(1)
  }
}

/// Rows that passed layers, summed over the layers, and rows that were spared them.
struct SkippedRows: Encodable {
  var worker: String
  var layerRows: UInt64
  var skippedLayerRows: UInt64

  var share: Double {
    Double(skippedLayerRows) / Double(max(1, layerRows + skippedLayerRows))
  }
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
  /// By request: when its last token came.
  private var started: [UInt64: ContinuousClock.Instant] = [:]
  private var tokens = 0
  /// Between tokens of one stream, while all run.
  private(set) var gaps: [Duration] = []
  private(set) var finished = 0
  private var first: Mark?
  private(set) var last: Mark?

  init(streams: Int) { self.streams = streams }

  mutating func take(_ message: Message) {
    switch message {
    case .delta(let delta):
      let now = ContinuousClock.now
      if let before = started.updateValue(now, forKey: delta.request), first != nil, finished == 0 {
        gaps.append(now - before)
      }
      tokens += delta.tokens.count
    case .finished: finished += 1
    case .statusReply(let status):
      if first?.status == nil { first?.status = status } else { last?.status = status }
    default: break
    }
  }

  mutating func forgetGaps() { gaps = [] }

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
