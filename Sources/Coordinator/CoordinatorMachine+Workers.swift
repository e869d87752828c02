// The workers' side of the coordinator: greeting, assignment, heartbeats, loss.

internal import Wire

/// A worker that has been welcomed.
struct WorkerRecord: Sendable {
  let peer: PeerID
  let hello: Hello
  let place: PlannedWorker
  var preparedEpoch: UInt32?
  var lastHeard: ContinuousClock.Instant
  var heartbeat: Heartbeat?
}

extension CoordinatorMachine {
  /// How often workers tell how they are.
  private static let heartbeatMilliseconds = 250

  mutating func greet(_ hello: Hello, _ peer: PeerID) {
    if let reason = refusal(of: hello) {
      note(
        "worker refused",
        ["worker": hello.name, "pid": "\(hello.pid)", "reason": reason.message],
        isWarning: true
      )
      send(.refused(reason), to: peer)
      return
    }
    if let name = peers[peer] {
      // Repeated before the answer came: the worker must not be told that its place is taken.
      send(
        .welcome(Welcome(name: name, heartbeatMilliseconds: Self.heartbeatMilliseconds)),
        to: peer
      )
      return
    }
    guard let place = freePlace(for: hello) else {
      let refusal = Refused(
        code: .busy,
        message: "every place for a \(hello.device) worker is taken"
          + (hello.name.isEmpty ? "" : " or none is called \(hello.name)")
      )
      note("worker refused", ["worker": hello.name, "reason": refusal.message], isWarning: true)
      send(.refused(refusal), to: peer)
      return
    }
    workers[place.name] = WorkerRecord(
      peer: peer,
      hello: hello,
      place: place,
      lastHeard: now
    )
    peers[peer] = place.name
    note(
      "worker joined",
      [
        "worker": place.name, "device": hello.device, "pid": "\(hello.pid)",
        "layers": "\(place.layers.lowerBound)..<\(place.layers.upperBound)",
      ]
    )
    send(
      .welcome(
        Welcome(name: place.name, heartbeatMilliseconds: Self.heartbeatMilliseconds)
      ),
      to: peer
    )
    if phase == .gathering, workers.count == plan.count { assign() }
  }

  private func refusal(of hello: Hello) -> Refused? {
    if phase == .stopping {
      return Refused(code: .shuttingDown, message: "the coordinator is stopping")
    }
    guard hello.protocolVersion == protocolVersion else {
      return Refused(
        code: .version,
        message: "worker speaks protocol \(hello.protocolVersion), coordinator \(protocolVersion)"
      )
    }
    guard hello.fingerprint == model.fingerprint else {
      let ours = String(model.fingerprint, radix: 16)
      let theirs = String(hello.fingerprint, radix: 16)
      return Refused(
        code: .fingerprint,
        message: "worker has other weights (\(hello.modelName), \(theirs)) than the coordinator "
          + "(\(model.name), \(ours)); give both the same model"
      )
    }
    return nil
  }

  /// Returns the place a worker asks for by name, or the first free one for its device.
  private func freePlace(for hello: Hello) -> PlannedWorker? {
    plan.first { place in
      workers[place.name] == nil && place.device == hello.device
        && (hello.name.isEmpty || hello.name == place.name)
    }
  }

  /// Begins a new epoch: every worker prepares its layers.
  private mutating func assign() {
    epoch += 1
    phase = .preparing
    stageClocks = Array(repeating: StageClock(), count: plan.count)
    for (stage, place) in plan.enumerated() {
      guard let worker = workers[place.name] else { continue }
      let next = stage + 1 < plan.count ? workers[plan[stage + 1].name] : nil
      send(
        .assign(
          Assign(
            epoch: epoch,
            firstLayer: place.layers.lowerBound,
            endLayer: place.layers.upperBound,
            stage: stage,
            stageCount: plan.count,
            nextEndpoint: next?.hello.dataEndpoint ?? "",
            maxRows: limits.maxRows,
            slots: limits.slots,
            contextTokens: limits.contextTokens
          )
        ),
        to: worker.peer
      )
    }
  }

  mutating func prepared(_ preparedEpoch: UInt32, _ peer: PeerID) {
    guard let name = peers[peer], preparedEpoch == epoch else { return }
    workers[name]?.preparedEpoch = preparedEpoch
    guard phase == .preparing, workers.count == plan.count,
      workers.values.allSatisfy({ $0.preparedEpoch == epoch }),
      let first = plan.first.flatMap({ workers[$0.name] })
    else { return }
    phase = .serving
    hasServed = true
    act(.connectFirstStage(endpoint: first.hello.dataEndpoint))
    note("serving", ["epoch": "\(epoch)", "stages": "\(plan.count)"])
    act(.ready)
  }

  mutating func prepareFailed(_ failure: PrepareFailed, _ peer: PeerID) {
    guard let name = peers[peer], failure.epoch == epoch else { return }
    act(
      .fail(
        CoordinatorError(
          .worker,
          "worker \(name) cannot prepare its layers: \(failure.message)"
        )
      )
    )
  }

  mutating func heard(_ heartbeat: Heartbeat, _ peer: PeerID) {
    guard let name = peers[peer], let record = workers[name] else {
      // A worker of an earlier life: it must introduce itself anew.
      send(.refused(Refused(code: .unknown, message: "say hello first")), to: peer)
      return
    }
    var worker = record
    worker.lastHeard = now
    worker.heartbeat = heartbeat
    workers[name] = worker
    send(.heartbeatAck(HeartbeatAck()), to: peer)
    guard phase == .preparing else { return }
    let fractions = workers.values.map { $0.heartbeat?.loadFraction ?? 0 }
    act(.progress(fractions.reduce(0, +) / Double(plan.count)))
  }

  mutating func farewell(_ goodbye: Goodbye, _ peer: PeerID) {
    guard let name = peers[peer] else { return }
    lose(name, goodbye.reason)
  }

  mutating func workerExited(_ name: String, _ how: String, willRestart: Bool) {
    guard phase != .stopping else { return }
    lose(name, how)
    guard !willRestart else { return }
    act(.fail(CoordinatorError(.worker, "worker \(name) \(how)")))
  }

  /// Forgets a worker; the live sessions wait for its return and are then replayed.
  mutating func lose(_ name: String, _ reason: String) {
    guard let worker = workers.removeValue(forKey: name) else { return }
    peers[worker.peer] = nil
    note("worker lost", ["worker": name, "reason": reason], isWarning: true)
    guard phase != .stopping else { return }
    pause()
  }

  /// Gathers and assigns anew with the workers there are: a hand-off failed, though no worker is
  /// known to be lost (yet).
  mutating func restartEpoch() {
    pause()
    fruitlessEpochs += 1
    guard fruitlessEpochs < Self.maxFruitlessEpochs else {
      act(
        .fail(
          CoordinatorError(
            .worker,
            "\(fruitlessEpochs) epochs in a row brought no step to its end; see the log for why"
          )
        )
      )
      return
    }
    if workers.count == plan.count { assign() }
  }

  /// Stops sending steps; the live sessions are replayed when all workers are prepared again.
  private mutating func pause() {
    phase = .gathering
    inFlight = [:]
    slotsToClear = []
    for id in turns { sessions[id]?.rewind() }
  }
}
