// Runs streams through a pipeline and times them.

import Client
import Launch
import Platform
import Wire

/// A benchmark of a running pipeline.
struct Bench: Sendable {
  private let client: CoordinatorClient
  private let vocabularySize: Int
  private let promptTokens: Int
  private let decodeTokens: Int
  /// How many streams have been started so far.
  private let count = Lock(0)

  init(client: CoordinatorClient, vocabularySize: Int, promptTokens: Int, decodeTokens: Int) {
    self.client = client
    self.vocabularySize = vocabularySize
    self.promptTokens = promptTokens
    self.decodeTokens = decodeTokens
  }

  /// Returns the prompt tokens per second of `streams` concurrent prompts.
  func prefill(streams: Int) async throws -> Double {
    let began = ContinuousClock.now
    let generations = (0..<streams).map { start($0, prompt: promptTokens, tokens: 1) }
    try await follow(generations) { _, _ in }
    return Double(streams * promptTokens) / ((ContinuousClock.now - began) / .seconds(1))
  }

  /// Decodes `streams` sequences concurrently.
  ///
  /// The measurement lasts while all of them run: from the moment at which each has its first token
  /// until the first of them ends. So the prefill of their short prompts is not in it.
  func decode(streams: Int) async throws -> DecodeResult {
    let run = Lock(DecodeRun(streams: streams, client))
    try await follow(startDecoding(streams)) { stream, event in
      run.withLock { run in
        run.take(event, of: stream)
        _ = run.reachesMark()
      }
    }
    let ended = run.withLock { $0 }
    guard let rate = ended.rate, let gaps = TokenGaps(ended.gaps),
      let stages = try await ended.stages()
    else {
      throw CommandError(
        "the streams were never all decoding at the same time; raise --decode-tokens"
      )
    }
    return DecodeResult(rate: rate, stages: stages, interToken: gaps)
  }

  /// Submits a prompt of `tokens` tokens while `streams` sequences decode.
  ///
  /// Returns the streams' times between tokens from its arrival to its first token.
  func arrival(of tokens: Int, besideStreams streams: Int) async throws -> ArrivalResult {
    let run = Lock(DecodeRun(streams: streams, client))
    let arriving = Lock<Task<ArrivalResult?, any Error>?>(nil)
    try await follow(startDecoding(streams)) { stream, event in
      let allRun = run.withLock { run in
        run.take(event, of: stream)
        return run.finished == 0 && run.reachesMark()
      }
      if allRun {
        arriving.withLock { $0 = Task { try await self.arrive(tokens, streams, run) } }
      }
    }
    guard let result = try await arriving.withLock({ $0 })?.value else {
      throw CommandError(
        "the streams ended before the prompt was read; raise --decode-tokens"
      )
    }
    return result
  }

  /// Submits a prompt beside streams; returns nil if one of them ended before its first token.
  private func arrive(
    _ tokens: Int,
    _ stream: Int,
    _ run: Lock<DecodeRun>
  ) async throws -> ArrivalResult? {
    let came = ContinuousClock.now
    run.withLock { $0.forgetGaps() }
    var result: ArrivalResult?
    for try await case .delta in start(stream, prompt: tokens, tokens: 1) {
      let during = run.withLock { $0.finished == 0 ? $0.gaps : [] }
      guard let gaps = TokenGaps(during) else { continue }
      result = ArrivalResult(
        promptTokens: tokens,
        firstTokenMs: (ContinuousClock.now - came) / .milliseconds(1),
        interToken: gaps
      )
    }
    return result
  }

  /// Returns how many rows each worker has skipped since it started.
  ///
  /// Workers report this with their heartbeats, four times a second, so the numbers are awaited for
  /// longer than that.
  func skipped() async throws -> [SkippedRows] {
    try await Task.sleep(for: .milliseconds(600))
    return try await client.status().workers.map { worker in
      SkippedRows(
        worker: worker.name,
        layerRows: worker.layerRows,
        skippedLayerRows: worker.skippedLayerRows
      )
    }
  }

  /// Returns the layers of each worker.
  func placement() async throws -> [PlacementRow] {
    try await client.status().workers.map { PlacementRow($0) }
  }

  /// Submits streams with short prompts.
  private func startDecoding(_ streams: Int) -> [Generation] {
    (0..<streams).map { start($0, prompt: min(promptTokens, 16), tokens: decodeTokens) }
  }

  /// Submits a stream with a prompt of its own, which always decodes to its full length.
  private func start(_ stream: Int, prompt: Int, tokens: Int) -> Generation {
    let number = count.withLock { count in
      count += 1
      return count
    }
    // The token ids are different in every request, so that no cached prefix can be reused.
    let ids = (0..<prompt).map { index in
      Int32((index * 7919 + number * 104_729 + stream) % vocabularySize)
    }
    return client.generate(
      Generate(
        request: 0,
        prompt: .tokens(ids),
        appliesChatTemplate: false,
        parsesSpecial: false,
        maxTokens: tokens,
        sampling: .greedy,
        stops: [],
        ignoresEndOfTurn: true
      )
    )
  }

  /// Reads streams concurrently until all have ended.
  private func follow(
    _ streams: [Generation],
    _ body: @escaping @Sendable (_ stream: Int, GenerationEvent) -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, stream) in streams.enumerated() {
        group.addTask { for try await event in stream { body(index, event) } }
      }
      try await group.waitForAll()
    }
  }
}
