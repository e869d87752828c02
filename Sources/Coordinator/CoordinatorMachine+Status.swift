// The status and health of the pipeline and its workers, for clients.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  private func milliseconds(since instant: ContinuousClock.Instant) -> Int {
    Int(max(0, (now - instant) / .milliseconds(1)))
  }

  /// Returns a worker's state, with the reason if it is not healthy.
  private func state(of place: PlannedWorker) -> (state: HealthState, detail: String) {
    guard let worker = workers[place.name] else {
      return (
        .lost, workers.loss(of: place.name).map { "awaited: \($0.reason)" } ?? "has not joined"
      )
    }
    let age = now - worker.lastHeard
    if age > limits.silence / 2 {
      return (.degraded, "no heartbeat for \(age / .milliseconds(1)) ms")
    }
    let heartbeat = worker.heartbeat
    if epoch.isGathering, let reason = worker.inability.reason { return (.degraded, reason) }
    if let obstacle = obstacle(ofDevice: place.name, to: place.slice) {
      return (.degraded, obstacle)
    }
    if place.slice.isEmpty { return (.ready, "stands by, without layers") }
    if worker.preparedEpoch != epoch.number || epoch.isGathering {
      let percent = Int((heartbeat?.loadFraction ?? 0) * 100)
      return (.loading, epoch.isGathering ? "waiting for other workers" : "\(percent) %")
    }
    let meter = measurements.metrics.meter(of: plan.firstIndex(of: place))
    if let complaint = complaint(about: worker, meter) {
      return (.degraded, complaint)
    }
    if let rejected = heartbeat?.rejectedMessages, rejected > 0 {
      return (.ready, "\(rejected) malformed messages refused")
    }
    return (.ready, "")
  }

  /// Returns workers without layers as places with an empty slice.
  private var standby: [PlannedWorker] {
    workerOrder.dropFirst(plan.count).map { name in
      PlannedWorker(
        name: name,
        device: workers[name]?.device.name ?? "",
        slice: ModelSlice(layers: 0..<0)
      )
    }
  }

  /// Workers whose layers others hold since they were lost.
  var replacedWorkers: [WorkerLoss] {
    workers.losses.filter { loss in !plan.contains { $0.name == loss.name } }
  }

  private var serviceState: ServiceState {
    switch epoch.phase {
    // Requests wait for a lost worker a while; then they fail, and so does a probe for being ready.
    case .gathering: epoch.hasServed && !epoch.isOverdue ? .degraded : .waiting
    case .preparing: .loading
    case .serving: .ready
    case .stopping: .stopping
    }
  }

  func status(_ request: UInt64) -> StatusReply {
    let (metrics, advice) = (measurements.metrics, measurements.lastAdvice)
    return StatusReply(
      request: request,
      model: model.name,
      epoch: epoch.number,
      fingerprint: model.fingerprint,
      state: serviceState,
      sessions: sessions.turns.count,
      queued: sessions.queue.count,
      tokensPerSecond: metrics.tokensServed.perSecond(at: now),
      uptimeMilliseconds: UInt64(milliseconds(since: began)),
      protocolErrors: protocolErrors,
      workers: (plan + standby).enumerated().map { status(of: $1, metrics.meter(of: $0)) },
      firstToken: metrics.firstToken.summary(at: now),
      interToken: metrics.interToken.summary(at: now),
      kvPositions: UInt64(sessions.running.reduce(0) { $0 + $1.submitted }),
      kvCapacityPositions: UInt64(limits.slots * limits.contextTokens),
      autoRebalance: measurements.advises
        ? AutoRebalance(
          decision: advice.map { "\($0.decision.kind.rawValue): \($0.decision.reason)" } ?? "",
          ageMilliseconds: advice.map { UInt64(milliseconds(since: $0.at)) } ?? 0
        ) : nil,
      counters: counters.reply,
      contextTokens: limits.contextTokens,
      firstTokenCounts: metrics.firstToken.counts,
      interTokenCounts: metrics.interToken.counts,
      requestCounts: metrics.requestCounts,
      queueCounts: metrics.queueCounts,
      replacedWorkers: replacedWorkers.map { loss in
        ReplacedWorker(
          name: loss.name,
          device: loss.device,
          reason: loss.reason,
          ageMilliseconds: UInt64(milliseconds(since: loss.time)),
          isEmulated: workers.isEmulated(loss.name)
        )
      }
    )
  }

  private func status(of place: PlannedWorker, _ meter: StageMeter?) -> WorkerStatus {
    let worker = workers[place.name]
    let (state, detail) = state(of: place)
    return WorkerStatus(
      name: place.name,
      pid: worker?.hello.pid ?? 0,
      device: place.device,
      isEmulated: workers.isEmulated(place.name),
      firstLayer: place.layers.lowerBound,
      endLayer: place.layers.upperBound,
      firstVocabularyRow: place.slice.vocabulary.lowerBound,
      endVocabularyRow: place.slice.vocabulary.upperBound,
      state: state,
      residentBytes: worker?.heartbeat?.residentBytes ?? 0,
      kvBytes: worker?.heartbeat?.kvBytes ?? 0,
      busy: meter?.busyShare(at: now) ?? 0,
      busyMicroseconds: UInt64((meter?.total ?? .zero) / .microseconds(1)),
      stepMilliseconds: (meter?.lastStep ?? .zero) / .milliseconds(1),
      heartbeatAgeMilliseconds: worker.map { milliseconds(since: $0.lastHeard) } ?? 0,
      threads: worker?.device.hostThreads ?? 0,
      loadFraction: worker?.heartbeat?.loadFraction ?? 0,
      detail: detail,
      bubble: meter.map { measurements.metrics.bubbleShare(of: $0, at: now) } ?? 0,
      queued: meter?.queueDepth(at: now) ?? 0,
      availableBytes: worker?.heartbeat?.availableBytes ?? 0,
      temperature: worker?.heartbeat?.temperature,
      layerRows: worker?.heartbeat?.layerRows ?? 0,
      skippedLayerRows: worker?.heartbeat?.skippedLayerRows ?? 0,
      energyMicrojoules: worker?.heartbeat?.energyMicrojoules ?? 0
    )
  }

  /// Returns how each worker is; those of `unwell` that are ready are degraded for the given reason.
  func health(
    _ request: UInt64,
    unwell: Set<String> = [],
    reason: String = ""
  ) -> HealthReply {
    var workers = (plan + standby).map { place in
      var (state, detail) = state(of: place)
      if state == .ready, unwell.contains(place.name) { (state, detail) = (.degraded, reason) }
      let worker = self.workers[place.name]
      return WorkerHealth(
        name: place.name,
        pid: worker?.hello.pid ?? 0,
        state: state,
        heartbeatAgeMilliseconds: worker.map { milliseconds(since: $0.lastHeard) } ?? 0,
        detail: detail,
        residentBytes: worker?.heartbeat?.residentBytes ?? 0,
        availableBytes: worker?.heartbeat?.availableBytes ?? 0,
        temperature: worker?.heartbeat?.temperature,
        selfTest: worker?.heartbeat?.selfTest,
        device: place.device,
        isEmulated: self.workers.isEmulated(place.name)
      )
    }
    workers += replacedWorkers.map { loss in
      WorkerHealth(
        name: loss.name,
        pid: 0,
        state: .replaced,
        heartbeatAgeMilliseconds: 0,
        detail: "its layers were given to others: \(loss.reason)",
        device: loss.device,
        isEmulated: self.workers.isEmulated(loss.name)
      )
    }
    return HealthReply(
      request: request,
      isHealthy: workers.allSatisfy { $0.state == .ready },
      workers: Array(workers.prefix(Limits.workers))
    )
  }
}
