// Messages with random content, for round trips and as the raw material of corrupted ones.

import TestSupport
import Wire

/// Makes values of every kind that a message holds: often an extreme, otherwise any value of the
/// range.
struct MessageMaker {
  var random: SeededRandom

  mutating func coin() -> Bool { Bool.random(using: &random) }

  mutating func pick<Value>(_ extremes: [Value], else other: (inout SeededRandom) -> Value) -> Value
  {
    let index = Int.random(in: 0..<(extremes.count * 2), using: &random)
    return index < extremes.count ? extremes[index] : other(&random)
  }

  mutating func integer(_ limit: Int) -> Int {
    pick([0, 1, limit]) { Int.random(in: 0...limit, using: &$0) }
  }

  mutating func number<Number: FixedWidthInteger>(_ range: ClosedRange<Number>) -> Number {
    pick([range.lowerBound, range.upperBound]) { Number.random(in: range, using: &$0) }
  }

  mutating func double(infinite: Bool = false) -> Double {
    let last = infinite ? -Double.infinity : -Double.greatestFiniteMagnitude
    return pick([0, 1, .leastNonzeroMagnitude, .greatestFiniteMagnitude, last]) {
      Double.random(in: -1e9...1e9, using: &$0)
    }
  }

  mutating func float() -> Float {
    pick([0, 1, .leastNonzeroMagnitude, .greatestFiniteMagnitude]) {
      Float.random(in: -10...10, using: &$0)
    }
  }

  /// Returns a text with zeros inside, characters of one to four bytes and of several code points,
  /// and now and then exactly the limit's length.
  mutating func text(_ limit: Int) -> String {
    let pieces = ["a", "\u{0}", "é", "你", "🧗🏽‍♀️", "\n", "\r\n", "\u{10FFFF}", "<start_of_turn>"]
    if limit <= 512, Int.random(in: 0..<16, using: &random) == 0 {
      return String(repeating: "x", count: limit)
    }
    var text = ""
    for _ in 0..<Int.random(in: 0...12, using: &random) {
      let piece = pieces[Int.random(in: pieces.indices, using: &random)]
      if text.utf8.count + piece.utf8.count <= limit { text += piece }
    }
    return text
  }

  /// Returns one of a few keys; more keys would test nothing more.
  mutating func key() -> PublicKey {
    Self.keys[Int.random(in: Self.keys.indices, using: &random)]
  }

  private static let keys = (0..<4).compactMap { _ in try? KeyPair.make().publicKey }

  mutating func value<Value: CaseIterable>(of type: Value.Type) -> Value {
    let cases = Array(Value.allCases)
    return cases[Int.random(in: cases.indices, using: &random)]
  }

  mutating func list<Element>(
    _ limit: Int = 12,
    _ make: (inout MessageMaker) -> Element
  ) -> [Element] {
    let count = pick([0, 1]) { Int.random(in: 0...min(12, limit), using: &$0) }
    return (0..<count).map { _ in make(&self) }
  }
}

// MARK: Messages

extension MessageMaker {
  /// Returns a message of each kind, in the order of the protocol.
  mutating func everyMessage() -> [Message] {
    [
      .hello(hello()),
      .heartbeat(heartbeat()),
      .prepared(prepared()),
      .prepareFailed(prepareFailed()),
      .stepDone(stepDone()),
      .stepFailed(stepFailed()),
      .goodbye(goodbye()),
      .moved(moved()),
      .welcome(welcome()),
      .refused(refused()),
      .assign(assign()),
      .shutdown(shutdown()),
      .heartbeatAck(heartbeatAck()),
      .move(move()),
      .commit(Commit(epoch: number(0 ... .max))),
      .abandon(Abandon(epoch: number(0 ... .max))),
      .selfTest(selfTest()),
      .step(step()),
      .kvRows(kvRows()),
      .generate(generate()),
      .evaluate(evaluate()),
      .cancel(cancel()),
      .statusRequest(statusRequest()),
      .healthRequest(healthRequest()),
      .rebalance(rebalance()),
      .drain(drain()),
      .receipt(receipt()),
      .accepted(accepted()),
      .delta(delta()),
      .finished(finished()),
      .evaluated(evaluated()),
      .requestFailed(requestFailed()),
      .statusReply(statusReply()),
      .healthReply(healthReply()),
      .rebalanced(rebalanced()),
      .describeModel(DescribeModel()),
      .modelDescription(modelDescription()),
      .pull(Pull(model: digest(), id: chunkID())),
      .chunk(chunk()),
      .pullFailed(pullFailed()),
      .pullReceipt(pullReceipt()),
      .modelPending(ModelPending(fraction: double())),
    ]
  }
}

extension MessageMaker {
  mutating func hello() -> Hello {
    Hello(
      protocolVersion: number(0 ... .max),
      programVersion: text(Limits.nameBytes),
      name: text(Limits.nameBytes),
      device: text(Limits.nameBytes),
      isEmulated: coin(),
      pid: integer(Limits.pids),
      threads: integer(Limits.threads),
      fingerprint: digest(),
      modelName: text(Limits.nameBytes),
      layerCount: integer(Limits.layers),
      dataEndpoint: text(Limits.endpointBytes),
      memoryBytes: number(0 ... .max),
      resultsIdentity: identity(),
      dataKey: coin() ? key() : nil,
      machine: text(Limits.nameBytes)
    )
  }

  mutating func identity() -> PeerID {
    let count = Int.random(in: 1...255, using: &random)
    return PeerID((0..<count).map { _ in UInt8.random(in: 1...255, using: &random) })
  }

  mutating func moved() -> Moved {
    Moved(epoch: number(0 ... .max), sentBytes: number(0 ... .max))
  }

  mutating func move() -> Move {
    Move(
      epoch: number(0 ... .max),
      slots: list { maker in
        SlotState(
          slot: maker.integer(Limits.slots),
          positionCount: maker.integer(Limits.positions),
          tokens: maker.list { $0.number(0 ... .max) }
        )
      },
      exports: list {
        KVExport(
          layer: $0.integer(Limits.layers),
          endpoint: $0.text(Limits.endpointBytes),
          key: $0.coin() ? $0.key() : nil
        )
      },
      imports: integer(Limits.kvMessages),
      isEarly: coin()
    )
  }

  mutating func kvRows() -> KVRows {
    let end = integer(Limits.positions)
    return KVRows(
      epoch: number(0 ... .max),
      layer: integer(Limits.layers),
      slot: integer(Limits.slots),
      positions: Int.random(in: 0...end, using: &random)..<end,
      isEarly: coin(),
      continues: coin()
    )
  }

  mutating func rebalance() -> Rebalance {
    Rebalance(
      request: number(0 ... .max),
      split: list { $0.integer(Limits.layers) },
      logitsSplit: list { $0.integer(Limits.vocabulary) }
    )
  }

  mutating func drain() -> Drain {
    Drain(request: number(0 ... .max), worker: text(Limits.nameBytes))
  }

  mutating func rebalanced() -> Rebalanced {
    Rebalanced(
      request: number(0 ... .max),
      epoch: number(0 ... .max),
      layersMoved: integer(Limits.layers),
      kvBytesMoved: number(0 ... .max),
      pauseMicroseconds: number(0 ... .max)
    )
  }

  mutating func heartbeatAck() -> HeartbeatAck {
    HeartbeatAck()
  }

  mutating func heartbeat() -> Heartbeat {
    Heartbeat(
      state: value(of: WorkerState.self),
      epoch: number(0 ... .max),
      loadFraction: double(),
      steps: number(0 ... .max),
      rows: number(0 ... .max),
      busyMicroseconds: number(0 ... .max),
      lastStepMicroseconds: number(0 ... .max),
      stepInProgressMicroseconds: number(0 ... .max),
      residentBytes: number(0 ... .max),
      kvBytes: number(0 ... .max),
      rejectedMessages: number(0 ... .max),
      detail: text(Limits.proseBytes),
      clockMicroseconds: number(0 ... .max),
      availableBytes: number(0 ... .max),
      temperature: temperature(),
      selfTest: selfTestReport(),
      layerRows: number(0 ... .max),
      skippedLayerRows: number(0 ... .max)
    )
  }

  mutating func prepared() -> Prepared {
    Prepared(epoch: number(0 ... .max))
  }

  mutating func prepareFailed() -> PrepareFailed {
    PrepareFailed(
      epoch: number(0 ... .max),
      code: value(of: FailureCode.self),
      message: text(Limits.proseBytes)
    )
  }

  mutating func rowResult() -> RowResult {
    RowResult(
      slot: integer(Limits.slots),
      position: integer(Limits.positions),
      token: number(.min ... .max),
      logProbability: double(infinite: true)
    )
  }

  mutating func stepDone() -> StepDone {
    StepDone(
      epoch: number(0 ... .max),
      sequence: number(0 ... .max),
      results: list { $0.rowResult() },
      stageMicroseconds: list { $0.number(0 ... .max) },
      stageBeganMicroseconds: list { $0.number(0 ... .max) }
    )
  }

  mutating func stepFailed() -> StepFailed {
    StepFailed(
      epoch: number(0 ... .max),
      sequence: number(0 ... .max),
      worker: text(Limits.nameBytes),
      code: value(of: FailureCode.self),
      message: text(Limits.proseBytes),
      slots: list { $0.integer(Limits.slots) }
    )
  }

  mutating func goodbye() -> Goodbye {
    Goodbye(reason: text(Limits.proseBytes))
  }

  mutating func welcome() -> Welcome {
    Welcome(name: text(Limits.nameBytes), heartbeatMilliseconds: integer(Limits.milliseconds))
  }

  mutating func refused() -> Refused {
    Refused(code: value(of: RefusalCode.self), message: text(Limits.proseBytes))
  }

  mutating func assign() -> Assign {
    Assign(
      epoch: number(0 ... .max),
      firstLayer: integer(Limits.layers),
      endLayer: integer(Limits.layers),
      firstVocabularyRow: integer(Limits.vocabulary),
      endVocabularyRow: integer(Limits.vocabulary),
      stage: integer(Limits.stages),
      stageCount: integer(Limits.stages),
      nextEndpoint: text(Limits.endpointBytes),
      maxRows: integer(Limits.rows),
      slots: integer(Limits.slots),
      contextTokens: integer(Limits.positions),
      nextKey: coin() ? key() : nil,
      peerKeys: list { $0.key() }
    )
  }

  mutating func shutdown() -> Shutdown {
    Shutdown(reason: text(Limits.proseBytes))
  }

  mutating func sampling() -> Sampling {
    Sampling(
      temperature: float(),
      topK: integer(Limits.vocabulary),
      topP: float(),
      minP: float(),
      repeatPenalty: float(),
      repeatWindow: integer(Limits.positions),
      seed: number(0 ... .max)
    )
  }

  mutating func output() -> RowOutput {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: .none
    case 1: .sample(sampling())
    case 2: .logits
    default: .score(target: number(0 ... .max))
    }
  }

  mutating func stepRow() -> StepRow {
    StepRow(
      slot: integer(Limits.slots),
      position: integer(Limits.positions),
      token: number(0 ... .max),
      output: output()
    )
  }

  mutating func step() -> Step {
    Step(
      epoch: number(0 ... .max),
      sequence: number(0 ... .max),
      cleared: list { $0.integer(Limits.slots) },
      forks: list {
        Fork(
          source: $0.integer(Limits.slots),
          target: $0.integer(Limits.slots),
          positionCount: $0.integer(Limits.positions)
        )
      },
      rows: list { $0.stepRow() },
      stageMicroseconds: list { $0.number(0 ... .max) },
      stageBeganMicroseconds: list { $0.number(0 ... .max) }
    )
  }

  mutating func prompt() -> Prompt {
    coin() ? .text(text(Limits.textBytes)) : .tokens(list { $0.number(0 ... .max) })
  }

  mutating func generate() -> Generate {
    Generate(
      request: number(0 ... .max),
      prompt: prompt(),
      appliesChatTemplate: coin(),
      parsesSpecial: coin(),
      maxTokens: integer(Limits.positions),
      sampling: sampling(),
      stops: list { $0.text(Limits.stopBytes) },
      ignoresEndOfTurn: coin()
    )
  }

  mutating func evaluate() -> Evaluate {
    Evaluate(
      request: number(0 ... .max),
      tokens: list { $0.number(0 ... .max) },
      kind: value(of: EvaluationKind.self),
      firstScored: integer(Limits.tokens)
    )
  }

  mutating func cancel() -> Cancel {
    Cancel(request: number(0 ... .max))
  }

  mutating func receipt() -> Receipt {
    Receipt(
      messages: integer(Limits.queue),
      awaited: list { $0.number(0 ... .max) },
      proof: number(0 ... .max)
    )
  }

  mutating func statusRequest() -> StatusRequest {
    StatusRequest(request: number(0 ... .max))
  }

  mutating func healthRequest() -> HealthRequest {
    HealthRequest(request: number(0 ... .max), runsSelfTest: coin())
  }

  mutating func accepted() -> Accepted {
    Accepted(
      request: number(0 ... .max),
      promptTokens: integer(Limits.tokens),
      queuePosition: integer(Limits.queue)
    )
  }

  mutating func delta() -> Delta {
    Delta(
      request: number(0 ... .max),
      text: text(Limits.textBytes),
      tokens: list { $0.number(0 ... .max) }
    )
  }

  mutating func requestTiming() -> RequestTiming {
    RequestTiming(
      queuedMicroseconds: number(0 ... .max),
      firstTokenMicroseconds: number(0 ... .max),
      prefillMicroseconds: number(0 ... .max),
      decodeMicroseconds: number(0 ... .max),
      totalMicroseconds: number(0 ... .max)
    )
  }

  mutating func placementEntry() -> PlacementEntry {
    PlacementEntry(
      worker: text(Limits.nameBytes),
      device: text(Limits.nameBytes),
      isEmulated: coin(),
      firstLayer: integer(Limits.layers),
      endLayer: integer(Limits.layers),
      firstVocabularyRow: integer(Limits.vocabulary),
      endVocabularyRow: integer(Limits.vocabulary)
    )
  }

  mutating func finished() -> Finished {
    Finished(
      request: number(0 ... .max),
      reason: value(of: FinishReason.self),
      promptTokens: integer(Limits.tokens),
      generatedTokens: integer(Limits.positions),
      timing: requestTiming(),
      placement: list { $0.placementEntry() }
    )
  }

  mutating func evaluated() -> Evaluated {
    Evaluated(
      request: number(0 ... .max),
      firstPosition: integer(Limits.positions),
      rowCount: integer(Limits.tokens),
      isLast: coin(),
      scores: list { $0.double(infinite: true) },
      proof: number(0 ... .max)
    )
  }

  mutating func requestFailed() -> RequestFailed {
    RequestFailed(
      request: number(0 ... .max),
      code: value(of: RequestFailureCode.self),
      message: text(Limits.proseBytes)
    )
  }

  mutating func workerStatus() -> WorkerStatus {
    WorkerStatus(
      name: text(Limits.nameBytes),
      pid: integer(Limits.pids),
      device: text(Limits.nameBytes),
      isEmulated: coin(),
      firstLayer: integer(Limits.layers),
      endLayer: integer(Limits.layers),
      firstVocabularyRow: integer(Limits.vocabulary),
      endVocabularyRow: integer(Limits.vocabulary),
      state: value(of: HealthState.self),
      residentBytes: number(0 ... .max),
      kvBytes: number(0 ... .max),
      busy: double(),
      busyMicroseconds: number(0 ... .max),
      stepMilliseconds: double(),
      heartbeatAgeMilliseconds: integer(Limits.milliseconds),
      threads: integer(Limits.threads),
      loadFraction: double(),
      detail: text(Limits.proseBytes),
      bubble: double(),
      queued: double(),
      availableBytes: number(0 ... .max),
      temperature: temperature(),
      layerRows: number(0 ... .max),
      skippedLayerRows: number(0 ... .max)
    )
  }

  mutating func statusReply() -> StatusReply {
    StatusReply(
      request: number(0 ... .max),
      model: text(Limits.nameBytes),
      epoch: number(0 ... .max),
      fingerprint: digest(),
      state: value(of: ServiceState.self),
      sessions: integer(Limits.queue),
      queued: integer(Limits.queue),
      tokensPerSecond: double(),
      uptimeMilliseconds: number(0 ... .max),
      protocolErrors: number(0 ... .max),
      workers: list { $0.workerStatus() },
      firstToken: latencySummary(),
      interToken: latencySummary(),
      kvPositions: number(0 ... .max),
      kvCapacityPositions: number(0 ... .max),
      autoRebalance: coin() ? nil : autoRebalance()
    )
  }

  mutating func workerHealth() -> WorkerHealth {
    WorkerHealth(
      name: text(Limits.nameBytes),
      pid: integer(Limits.pids),
      state: value(of: HealthState.self),
      heartbeatAgeMilliseconds: integer(Limits.milliseconds),
      detail: text(Limits.proseBytes),
      residentBytes: number(0 ... .max),
      availableBytes: number(0 ... .max),
      temperature: temperature(),
      selfTest: selfTestReport()
    )
  }

  mutating func healthReply() -> HealthReply {
    HealthReply(request: number(0 ... .max), isHealthy: coin(), workers: list { $0.workerHealth() })
  }
}

// MARK: Insight

extension MessageMaker {
  mutating func selfTest() -> SelfTest { SelfTest(run: number(0 ... .max)) }

  mutating func temperature() -> Temperature? {
    coin() ? nil : Temperature(sensor: text(Limits.nameBytes), celsius: double())
  }

  mutating func selfTestReport() -> SelfTestReport? {
    guard coin() else { return nil }
    return SelfTestReport(
      run: number(0 ... .max),
      maxError: double(infinite: true),
      tolerance: double(),
      failure: text(Limits.proseBytes)
    )
  }

  mutating func autoRebalance() -> AutoRebalance {
    AutoRebalance(decision: text(Limits.proseBytes), ageMilliseconds: number(0 ... .max))
  }

  mutating func latencySummary() -> LatencySummary {
    LatencySummary(
      count: number(0 ... .max),
      p50Microseconds: number(0 ... .max),
      p90Microseconds: number(0 ... .max),
      p99Microseconds: number(0 ... .max)
    )
  }
}
