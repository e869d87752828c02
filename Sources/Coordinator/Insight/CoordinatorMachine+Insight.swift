// What the coordinator learns about the running pipeline: the timeline of micro-batches and the
// health of the workers' devices.

internal import Compute
internal import Gemma
internal import Platform
internal import Wire

extension CoordinatorMachine {
  /// No step takes an hour; a longer time is a faulty report and must not distort the sums.
  private static let longestStep = Duration.seconds(3600)

  /// Takes the stages' times of a micro-batch that has come back.
  mutating func measure(_ done: StepDone, _ batch: MicroBatch) {
    let trace = trace(done, batch)
    let streams = flight.readsPrompt ? nil : sessions.turns.count
    measurements.finished(trace, streams: streams, at: now)
    if tracesSteps { act(.stepTraced(trace)) }
  }

  private func trace(_ done: StepDone, _ batch: MicroBatch) -> StepTrace {
    var step = StepTrace(
      epoch: done.epoch,
      sequence: done.sequence,
      prefillRows: 0,
      decodeRows: 0,
      lastPosition: 0,
      slices: []
    )
    for part in batch.parts {
      let promptCount = sessions[part.session]?.promptCount ?? part.positions.lowerBound
      let prefill = max(0, min(part.positions.upperBound, promptCount) - part.positions.lowerBound)
      step.prefillRows += prefill
      step.decodeRows += part.positions.count - prefill
      step.lastPosition = max(step.lastPosition, part.positions.upperBound - 1)
    }
    var arrived = batch.sent
    for (stage, place) in plan.enumerated() where done.stageMicroseconds.indices.contains(stage) {
      let told = Duration.microseconds(Int64(clamping: done.stageMicroseconds[stage]))
      let duration = min(told, Self.longestStep)
      let beganMicroseconds =
        done.stageBeganMicroseconds.indices.contains(stage)
        ? done.stageBeganMicroseconds[stage] : nil
      let (began, isExact) = instant(beganMicroseconds, of: place.name, sent: batch.sent)
      // A worker that does not report when it began is assumed to have begun at once.
      let start = began ?? arrived
      step.slices.append(
        StageSlice(
          stage: stage,
          worker: place.name,
          layers: place.layers,
          vocabulary: place.slice.vocabulary,
          began: start,
          duration: duration,
          wait: max(.zero, start - arrived),
          isExact: isExact
        )
      )
      arrived = start + duration
    }
    return step
  }

  /// Returns a time of a worker's clock on the coordinator's own, and whether it is exact.
  private func instant(
    _ microseconds: UInt64?,
    of name: String,
    sent: ContinuousClock.Instant
  ) -> (ContinuousClock.Instant?, isExact: Bool) {
    guard let microseconds, let worker = workers[name] else { return (nil, false) }
    let isHere = !machineID.isEmpty && worker.hello.machine == machineID
    guard let offset = isHere ? 0 : worker.clock.offset else { return (nil, false) }
    let (shifted, overflow) = Int64(clamping: microseconds).addingReportingOverflow(offset)
    guard !overflow else { return (nil, false) }
    let instant = place(ContinuousClock().systemEpoch + .microseconds(shifted))
    // A time that is impossible is not believed; the error of an estimate is less than a second.
    let isPossible = instant >= sent - .seconds(1) && instant <= now + .seconds(1)
    return isPossible ? (instant, isHere) : (nil, false)
  }

  /// Answers a request for the workers' health, at once or after they have tested their devices.
  mutating func answerHealth(_ request: HealthRequest, _ peer: PeerID) {
    guard request.runsSelfTest, !epoch.isStopping else {
      send(.healthReply(health(request.request)), to: peer)
      return
    }
    let run = selfTests.begin(request.request, peer, workers: Set(workers.names), at: now)
    guard let run else {
      let failure = RequestFailed(
        request: request.request,
        code: .busy,
        message: "\(SelfTests.mostRounds) self-tests are under way; try again"
      )
      send(.requestFailed(failure), to: peer)
      return
    }
    for worker in workers.all { send(.selfTest(SelfTest(run: run)), to: worker.peer) }
    answerSelfTests()
  }

  /// Answers the clients whose self-tests have ended.
  mutating func answerSelfTests() {
    for round in selfTests.takeEnded(live: Set(workers.names), at: now) {
      let late = "did not test its device within \(SelfTests.patience)"
      let reply = health(round.request, unwell: round.awaited, reason: late)
      send(.healthReply(reply), to: round.peer)
    }
  }

  /// Returns why a serving worker is degraded; nil if it is healthy.
  func complaint(about worker: WorkerRecord, _ meter: StageMeter?) -> String? {
    guard let heartbeat = worker.heartbeat else { return nil }
    if let test = heartbeat.selfTest, !test.failure.isEmpty {
      return "self-test failed: \(test.failure)"
    }
    if let drift = meter?.drift.finding(at: now) {
      return drift.description
    }
    // What is left of the host's memory says nothing about a device with its own.
    if heartbeat.availableBytes > 0, worker.device.memory.isHostMemory,
      heartbeat.availableBytes < worker.device.memory.byteCount / Self.leastMemoryShare
    {
      return "its machine has \(heartbeat.availableBytes >> 20) MiB of memory left"
        + " of \(worker.device.memory.byteCount >> 20) MiB"
    }
    return nil
  }

  // Below a fiftieth the kernel drops the mapped weights to make room, and steps wait for the disk.
  private static let leastMemoryShare: UInt64 = 50
}

extension StepDrift.Finding: CustomStringConvertible {
  var description: String {
    let rows = stepClass.rowCount
    let kind = stepClass.isPrefill ? "prefill" : "decode"
    let milliseconds = { (duration: Duration) in
      "\(((duration / .microseconds(10)).rounded()) / 100) ms"
    }
    return "\(kind) steps of \(rows == 1 ? "1 row" : "\(rows) rows and more") take "
      + "\(milliseconds(now)), \((factor * 10).rounded() / 10) times the \(milliseconds(before)) "
      + "of the epoch's first minute"
  }
}
