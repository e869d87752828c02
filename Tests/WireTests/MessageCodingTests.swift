// A message decodes to what was encoded, and the sender refuses what cannot be encoded.

import Foundation
import TestSupport
import Testing
import Wire

@Suite struct `Message coding` {
  @Test(.seeded(default: 1)) func `every message comes back as it was sent`() throws {
    var maker = MessageMaker(random: SeededRandom(testSeed(default: 1)))
    for _ in 0..<fuzzIterations(default: 200) {
      for message in maker.everyMessage() {
        let header = try message.encoded()
        let back = try Message(decoding: header)
        #expect(back == message)
        #expect(try back.encoded() == header, "\(message.name)")
      }
    }
  }

  @Test func `every kind of message is among those tried`() throws {
    var maker = MessageMaker(random: SeededRandom(2))
    let names = maker.everyMessage().map(\.name)
    #expect(Set(names).count == names.count)
    // One message for each body of the Envelope.
    let proto = try String(
      contentsOf: Goldens.checkout.appending(path: "proto/trestle.proto"),
      encoding: .utf8
    )
    let envelope = try #require(proto.range(of: "oneof body {")?.upperBound)
    let bodies = proto[envelope...].prefix { $0 != "}" }.split(separator: "\n")
      .filter { $0.contains(" = ") }
      .compactMap { $0.split(separator: " ").first.map(String.init) }
    #expect(names == bodies)
  }

  @Test func `every case of every enum comes back`() throws {
    func check<Value: CaseIterable & Equatable>(
      _ type: Value.Type,
      _ make: (Value) -> Message,
      _ read: (Message) -> Value?
    ) throws {
      for value in Value.allCases {
        let back = try Message(decoding: make(value).encoded())
        #expect(read(back) == value)
      }
    }
    try check(RefusalCode.self, { .refused(Refused(code: $0, message: "")) }) {
      if case .refused(let body) = $0 { body.code } else { nil }
    }
    try check(FailureCode.self, { .prepareFailed(PrepareFailed(epoch: 1, code: $0, message: "")) })
    {
      if case .prepareFailed(let body) = $0 { body.code } else { nil }
    }
    try check(
      RequestFailureCode.self,
      { .requestFailed(RequestFailed(request: 1, code: $0, message: "")) }
    ) {
      if case .requestFailed(let body) = $0 { body.code } else { nil }
    }
    try check(
      EvaluationKind.self,
      { .evaluate(Evaluate(request: 1, tokens: [], kind: $0, firstScored: 0)) }
    ) {
      if case .evaluate(let body) = $0 { body.kind } else { nil }
    }
  }

  @Test func `a log probability that is no number is carried as it is`() throws {
    let result = RowResult(slot: 0, position: 0, token: 0, logProbability: .nan)
    let sent = StepDone(epoch: 1, sequence: 2, results: [result], stageMicroseconds: [])
    guard case .stepDone(let back) = try Message(decoding: Message.stepDone(sent).encoded()) else {
      Issue.record("another message")
      return
    }
    #expect(back.results.first?.logProbability.isNaN == true)
  }

  @Test func `the longest lists come back`() throws {
    let rows = (0..<Limits.rows).map {
      StepRow(slot: $0 % 8, position: $0, token: Int32($0), output: .score(target: 7))
    }
    let step = Message.step(
      Step(
        epoch: .max,
        sequence: .max,
        cleared: Array(0..<Limits.slots),
        rows: rows,
        stageMicroseconds: Array(repeating: .max, count: Limits.stages)
      )
    )
    #expect(try Message(decoding: step.encoded()) == step)
    let prompt = Message.evaluate(
      Evaluate(
        request: 1,
        tokens: Array(repeating: .max, count: Limits.tokens),
        kind: .scores,
        firstScored: 0
      )
    )
    #expect(try Message(decoding: prompt.encoded()) == prompt)
    let scores = Message.evaluated(
      Evaluated(
        request: 1,
        firstPosition: 0,
        rowCount: Limits.tokens,
        isLast: true,
        scores: Array(repeating: -1.5, count: Limits.tokens)
      )
    )
    #expect(try Message(decoding: scores.encoded()) == scores)
  }

  @Test func `a text for people is cut after a whole character`() throws {
    let text = "x" + String(repeating: "é", count: Limits.proseBytes)
    guard
      case .goodbye(let back) = try Message(
        decoding: Message.goodbye(Goodbye(reason: text)).encoded()
      )
    else {
      Issue.record("another message")
      return
    }
    #expect(back.reason == text.prefix(1 + (Limits.proseBytes - 1) / 2))
    let whole = String(repeating: "x", count: Limits.proseBytes)
    #expect(
      try Message(decoding: Message.goodbye(Goodbye(reason: whole)).encoded())
        == .goodbye(Goodbye(reason: whole))
    )
  }
}

@Suite struct `Message sender` {
  @Test(arguments: [-1, Limits.positions + 1, .max, .min])
  func `a number outside its limits is refused by name`(value: Int) throws {
    let result = RowResult(slot: 0, position: value, token: 0, logProbability: 0)
    let message = Message.stepDone(
      StepDone(epoch: 1, sequence: 1, results: [result], stageMicroseconds: [])
    )
    let error = #expect(throws: WireError.self) { try message.encoded() }
    #expect(error?.code == .malformed)
    #expect(error?.context == "RowResult.position")
    #expect(error?.message.contains("\(value)") == true)
  }

  @Test func `a text over its limit is refused by name`() throws {
    let name = String(repeating: "x", count: Limits.nameBytes + 1)
    let error = #expect(throws: WireError.self) {
      try Message.welcome(Welcome(name: name, heartbeatMilliseconds: 1)).encoded()
    }
    #expect(error?.code == .oversized)
    #expect(error?.context == "Welcome.name")
  }

  @Test func `a list over its limit is refused by name`() throws {
    let row = StepRow(slot: 0, position: 0, token: 0, output: .none)
    let rows = Array(repeating: row, count: Limits.rows + 1)
    let error = #expect(throws: WireError.self) {
      try Message.step(
        Step(epoch: 1, sequence: 1, cleared: [], rows: rows, stageMicroseconds: [])
      ).encoded()
    }
    #expect(error?.code == .oversized)
    #expect(error?.context == "Step.rows")
  }

  @Test func `negative tokens and infinite settings are refused by name`() throws {
    let token = #expect(throws: WireError.self) {
      try Message.evaluate(Evaluate(request: 1, tokens: [2, -5], kind: .logits, firstScored: 0))
        .encoded()
    }
    #expect(token?.context == "Evaluate.tokens")
    #expect(token?.message == "token -5 is negative")
    var maker = MessageMaker(random: SeededRandom(3))
    var generate = maker.generate()
    generate.sampling.temperature = .infinity
    let temperature = #expect(throws: WireError.self) { try Message.generate(generate).encoded() }
    #expect(temperature?.context == "Sampling.temperature")
  }

  @Test func `an error is one line that names code, fault and place`() {
    let error = WireError(
      .truncated,
      "payload 0 has 3 bytes",
      context: "Step",
      underlying: WireError(.closed, "the socket is closed")
    )
    #expect(
      "\(error)"
        == "wire.truncated: payload 0 has 3 bytes (Step): wire.closed: the socket is closed"
    )
  }
}
