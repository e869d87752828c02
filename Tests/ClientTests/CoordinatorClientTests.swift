// The client against a coordinator of this process: streams, ends, and readers that are slow or gone.

import TestSupport
import Testing
import Wire

@testable import Client

@Suite(.timeLimit(.minutes(1))) struct `Coordinator client` {
  /// Calls the body with a coordinator and a client of it.
  private func withClient(
    answering answer: @escaping @Sendable (Message) -> [Message] = answerStatus,
    _ body: (FakeCoordinator, CoordinatorClient) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      let coordinator = try FakeCoordinator(in: directory, answering: answer)
      let client = try CoordinatorClient(coordinator.endpoint)
      defer { client.close() }
      try await body(coordinator, client)
    }
  }

  private func read(_ generation: Generation) async throws -> GenerationDocument {
    var document = GenerationDocument()
    for try await event in generation { document.add(event) }
    return document
  }

  @Test func `an answer comes as it is made, and ends with its reason`() async throws {
    try await withClient { coordinator, client in
      let generation = client.generate(anyPrompt)
      let request = try await coordinator.first(\.generated)
      coordinator.send(accepted(request, place: 3))
      guard case .accepted(let accepted) = try await generation.next() else {
        Issue.record("no word that it was accepted")
        return
      }
      #expect(accepted.queuePosition == 3)
      coordinator.send(delta(request, "ab"))
      #expect(
        try await generation.next()
          == .delta(Delta(request: request, text: "ab", tokens: [97, 98]))
      )
      coordinator.send(delta(request, "c"), finished(request))
      let rest = try await read(generation)
      #expect(rest.text == "c" && rest.tokens == [99] && rest.finishReason == "stop")
      #expect(rest.promptTokens == 4 && rest.placement.map(\.worker) == ["cpu-0"])
      #expect(try await generation.next() == nil)
    }
  }

  @Test func `what has come is receipted, at the latest when a request has ended`() async throws {
    try await withClient { coordinator, client in
      let generation = client.generate(anyPrompt)
      let request = try await coordinator.first(\.generated)
      coordinator.send(accepted(request), delta(request, "a"), finished(request))
      _ = try await read(generation)
      let all = try await coordinator.received { $0.receiptedCount == 3 }
      #expect(all.compactMap(\.receipt).allSatisfy { $0.proof == 0 })
    }
  }

  @Test func `a thousand requests share one connection, each with its own answer`() async throws {
    try await withClient { coordinator, client in
      let count = 1000
      let generations = (0..<count).map { _ in client.generate(anyPrompt) }
      let all = try await coordinator.received { $0.compactMap(\.generated).count == count }
      // The last come is served first.
      for request in all.compactMap(\.generated).reversed() {
        coordinator.send(accepted(request), delta(request, "\(request)"), finished(request))
      }
      let texts = try await withThrowingTaskGroup(of: String.self) { group in
        for generation in generations { group.addTask { try await read(generation).text } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(Set(texts) == Set((1...count).map { "\($0)" }) && texts.count == count)
      _ = try await coordinator.received { $0.receiptedCount == 3 * count }
    }
  }

  @Test func `cancelling the reading task cancels the request`() async throws {
    try await withClient { coordinator, client in
      let task = Task {
        // Made here: nobody else holds it.
        try await read(client.generate(anyPrompt))
      }
      let request = try await coordinator.first(\.generated)
      coordinator.send(accepted(request), delta(request, "a"))
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
      #expect(try await coordinator.first(\.cancelled) == request)
      // What comes late is for nobody, and counts as read.
      coordinator.send(delta(request, "late"), finished(request, .cancelled))
      _ = try await coordinator.received { $0.receiptedCount == 4 }
      #expect(try await client.status().model == "tiny")
    }
  }

  @Test func `a stream that nobody holds any more is cancelled`() async throws {
    try await withClient { coordinator, client in
      do { _ = client.generate(anyPrompt) }
      // It may have been given up before it was sent: then the next is the first to come.
      let other = client.generate(anyPrompt)
      let all = try await coordinator.received { all in all.contains { $0.generated == 2 } }
      if all.contains(where: { $0.generated == 1 }) {
        #expect(try await coordinator.first(\.cancelled) == 1)
      }
      coordinator.send(finished(2))
      #expect(try await read(other).finishReason == "stop")
    }
  }

  @Test func `cancelling a request lets its reader see the end`() async throws {
    try await withClient { coordinator, client in
      let generation = client.generate(anyPrompt)
      let request = try await coordinator.first(\.generated)
      generation.cancel()
      #expect(try await coordinator.first(\.cancelled) == request)
      coordinator.send(delta(request, "x"), finished(request, .cancelled))
      let document = try await read(generation)
      #expect(document.text == "x" && document.finishReason == "cancelled")
    }
  }

  @Test(arguments: RequestFailureCode.allCases)
  func `a refusal is an error with its code and words`(_ code: RequestFailureCode) async throws {
    try await withClient { coordinator, client in
      let generation = client.generate(anyPrompt)
      let request = try await coordinator.first(\.generated)
      coordinator.send(failed(request, code, "words of \(code)"))
      let error = await #expect(throws: ClientError.self) { try await generation.next() }
      #expect(error?.code.rawValue == "\(code)" && error?.message == "words of \(code)")
      // One end only, and a receipt for the word.
      await #expect(throws: ClientError.self) { try await generation.next() }
      _ = try await coordinator.received { $0.receiptedCount == 1 }
    }
  }

  @Test func `a slow reader of text keeps nobody waiting and loses nothing`() async throws {
    try await withClient { coordinator, client in
      let slow = client.generate(anyPrompt)
      let slowRequest = try await coordinator.first(\.generated)
      let fast = client.generate(anyPrompt)
      let fastRequest = try await coordinator.first {
        $0.generated.flatMap { $0 == slowRequest ? nil : $0 }
      }
      let pieces = 2000
      for index in 0..<pieces {
        let score = ScoredToken(
          token: Int32(index),
          logProbability: -1,
          piece: [],
          isSpecial: false
        )
        guard case .delta(var piece) = delta(slowRequest, "\(index),") else { return }
        piece.scored = [DrawnToken(drawn: score, likeliest: [])]
        coordinator.send(.delta(piece))
      }
      coordinator.send(finished(slowRequest), delta(fastRequest, "quick"), finished(fastRequest))
      #expect(try await read(fast).text == "quick")
      // The coordinator is told of all that came, though only one reads.
      _ = try await coordinator.received { $0.receiptedCount == pieces + 3 }
      guard case .delta(let all) = try await slow.next() else {
        Issue.record("no text")
        return
      }
      #expect(all.text == (0..<pieces).map { "\($0)," }.joined())
      #expect(all.scored.map(\.drawn.token) == (0..<pieces).map { Int32($0) })
      #expect(try await read(slow).finishReason == "stop")
    }
  }

  @Test func `logits are receipted when they have been read`() async throws {
    try await withClient { coordinator, client in
      let evaluation = client.evaluate([2], .logits)
      let request = try await coordinator.first { message -> UInt64? in
        if case .evaluate(let evaluate) = message { evaluate.request } else { nil }
      }
      // Two mebibytes.
      let row = [Float](repeating: 1, count: 1 << 19)
      coordinator.send(evaluated(request, proof: 7), payload: row)
      // Behind these answers the logits have come, and a receipt for them would have been sent.
      for _ in 0..<2 { _ = try await client.status() }
      #expect(coordinator.received.receiptedCount == 0)
      #expect(try await evaluation.next()?.logits(vocabularySize: row.count) == row)
      // One that only asks after requests may come before, if the test is slow.
      let receipt = try await coordinator.first {
        $0.receipt.flatMap { $0.messages > 0 ? $0 : nil }
      }
      #expect(receipt.messages == 1 && receipt.proof == 7)
      coordinator.send(evaluated(request, proof: 8, isLast: true), payload: row)
      #expect(try await evaluation.next()?.logits(vocabularySize: row.count + 1) == nil)
      #expect(try await evaluation.next() == nil)
      _ = try await coordinator.received { $0.last?.receipt?.proof == 8 }
    }
  }

  @Test func `answers to nobody's request are passed over and count as read`() async throws {
    try await withClient { coordinator, client in
      let generation = client.generate(anyPrompt)
      let request = try await coordinator.first(\.generated)
      coordinator.send(
        delta(999, "x"),
        finished(999),
        failed(998, .lost, "lost"),
        .rebalanced(
          Rebalanced(
            request: request,
            epoch: 1,
            layersMoved: 0,
            kvBytesMoved: 0,
            pauseMicroseconds: 0
          )
        ),
        delta(request, "mine"),
        finished(request)
      )
      #expect(try await read(generation).text == "mine")
      _ = try await coordinator.received { $0.receiptedCount == 5 }
    }
  }

  @Test func `when the coordinator ends all requests say so, and the next one is found`()
    async throws
  {
    try await withTemporaryDirectory { directory in
      let first = try FakeCoordinator(in: directory)
      let client = try CoordinatorClient(first.endpoint)
      defer { client.close() }
      let generations = (0..<3).map { _ in client.generate(anyPrompt) }
      let all = try await first.received { $0.compactMap(\.generated).count == 3 }
      first.send(delta(all.compactMap(\.generated)[0], "half"))
      guard case .delta = try await generations[0].next() else {
        Issue.record("no text")
        return
      }
      first.stop()
      for generation in generations {
        let error = await #expect(throws: ClientError.self) { try await generation.next() }
        #expect(error?.code == .ended)
        #expect(error?.message == "the coordinator at \(first.endpoint) has ended")
      }
      let second = try FakeCoordinator(in: directory, answering: answerStatus)
      #expect(try await client.status().model == "tiny")
      second.stop()
    }
  }

  @Test func `a message that cannot be sent fails alone`() async throws {
    try await withClient { coordinator, client in
      var huge = anyPrompt
      huge.prompt = .text(String(repeating: "x", count: Limits.textBytes + 1))
      let error = await #expect(throws: ClientError.self) {
        try await client.generate(huge).next()
      }
      #expect(error?.code == .invalid && error?.message.contains("at most") == true)
      let status = try await client.status()
      #expect(status.model == "tiny")
    }
  }

  @Test func `closing ends what is open, and what is asked later`() async throws {
    try await withClient { coordinator, client in
      let open = client.generate(anyPrompt)
      _ = try await coordinator.first(\.generated)
      client.close()
      let later = client.generate(anyPrompt)
      for generation in [open, later] {
        let error = await #expect(throws: ClientError.self) { try await generation.next() }
        #expect(error?.code == .closed)
      }
    }
  }

  @Test func `nobody at the endpoint is told at once`() throws {
    let error = try #require(throws: ClientError.self) {
      _ = try withTemporaryDirectory { try CoordinatorClient(Endpoint("ipc://\($0)/front")) }
    }
    #expect(error.code == .notServed)
    #expect(error.message.hasPrefix("nothing serves ipc://"))
  }
}
