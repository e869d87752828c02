// The workers' side of the coordinator: registration, assignment, heartbeats.

internal import Compute
internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// The interval of heartbeats.
  private static let heartbeatMilliseconds = 250

  /// Registers a worker that sends its hello, or refuses it with the reason.
  mutating func register(_ hello: Hello, _ peer: PeerID) {
    if let reason = refusal(of: hello)
      ?? (workers.name(ofControl: peer) == nil ? refusalOfName(hello) : nil)
    {
      refuse(hello, peer, reason)
      return
    }
    if let name = workers.name(ofControl: peer) {
      // The hello was repeated before the answer came; the worker must not be told that its place
      // is taken.
      send(
        .welcome(Welcome(name: name, heartbeatMilliseconds: Self.heartbeatMilliseconds)),
        to: peer
      )
      return
    }
    let device: DeviceDescription
    do throws(CoordinatorError) {
      device = try DeviceDescription(hello.device)
    } catch {
      refuse(hello, peer, Refused(code: .invalid, message: error.message))
      return
    }
    let obstacles = DeviceObstacles(model.ops) { device.support(for: $0) }
    let place = freePlace(for: hello, obstacles)
    let name = place?.name ?? (hello.name.isEmpty ? freeName(device.name) : hello.name)
    workers.add(name, hello, on: device, peer: peer, at: now)
    workers.update(name) { $0.describe(obstacles) }
    var facts = [
      "worker": name, "device": device.text, "pid": "\(hello.pid)",
      "layers": place.map { model.config.line.text($0.slice) } ?? "none",
    ]
    if epoch.isGathering, !missingWorkers.isEmpty {
      facts["missing"] = missingWorkers.joined(separator: ",")
    }
    note("worker joined", facts)
    send(
      .welcome(Welcome(name: name, heartbeatMilliseconds: Self.heartbeatMilliseconds)),
      to: peer
    )
    guard epoch.isGathering, settleFirstPlacement() else { return }
    assignIfComplete()
    // It may be able to hold layers that other workers could not.
    if epoch.isGathering, epoch.hasServed { placeAnew(isLate: false) }
  }

  /// Does not let a worker in, and says why.
  private mutating func refuse(_ hello: Hello, _ peer: PeerID, _ reason: Refused) {
    note(
      "worker refused",
      ["worker": hello.name, "pid": "\(hello.pid)", "reason": reason.message],
      isWarning: true
    )
    send(.refused(reason), to: peer)
  }

  /// The places that wait for their worker.
  package var missingWorkers: [String] { plan.map(\.name).filter { !workers.contains($0) } }

  private func refusal(of hello: Hello) -> Refused? {
    if epoch.isStopping {
      return Refused(code: .shuttingDown, message: "the coordinator is stopping")
    }
    guard hello.fingerprint == model.fingerprint else {
      let advice =
        modelChange.map { "\($0) while it was served: \(Self.adviceOnChange)" }
        ?? "give both the same model, or start the worker without --model, so that it pulls the weights it "
        + "needs; if a model file was changed since the coordinator was started, restart the coordinator"
      return Refused(
        code: .fingerprint,
        message: "worker has other weights (\(hello.modelName), \(hello.fingerprint)) than the "
          + "coordinator (\(model.name), \(model.fingerprint)); \(advice)"
      )
    }
    guard let endpoint = try? Endpoint(hello.dataEndpoint), endpoint.isConnectable else {
      return Refused(
        code: .invalid,
        message:
          "the data endpoint \"\(hello.dataEndpoint)\" is not one that others can connect to; "
          + "start the worker with another --listen"
      )
    }
    guard endpoint.hasAddress else {
      // Resolving a name could block the coordinator's thread for seconds.
      return Refused(
        code: .invalid,
        message: "the data endpoint \"\(hello.dataEndpoint)\" is a name; it must be an address"
      )
    }
    if isElsewhere(hello), endpoint.isLocal {
      return Refused(
        code: .invalid,
        message:
          "the worker listens at \(endpoint), which only its own machine can reach, but the "
          + "coordinator runs on another; start it with --listen tcp://ADDRESS:* and the address at which "
          + "the other machines reach it"
      )
    }
    return nil
  }

  private static let adviceOnChange =
    "restore the old file, by renaming, or restart the coordinator to serve the new one"

  /// Notes that the model's files have changed, so that a worker that restarts may have other
  /// weights.
  mutating func modelChanged(_ change: String) {
    modelChange = change
    note(
      "model file changed while it is served",
      ["change": change, "advice": Self.adviceOnChange],
      isWarning: true
    )
  }

  /// A clause about changed model files, for the message with which the service ends.
  var modelChangeSuffix: String {
    modelChange.map { "; \($0) while it was served: \(Self.adviceOnChange)" } ?? ""
  }

  /// Whether a worker is known to run on another machine than the coordinator.
  private func isElsewhere(_ hello: Hello) -> Bool {
    !hello.machine.isEmpty && !machineID.isEmpty && hello.machine != machineID
  }

  private func refusalOfName(_ hello: Hello) -> Refused? {
    if workers.count >= Limits.workers {
      return Refused(
        code: .busy,
        message: "there are already \(Limits.workers) workers, which is the limit"
      )
    }
    if let other = workers[hello.name] {
      return Refused(
        code: .name,
        message: "there is already a worker named \(hello.name) (pid \(other.hello.pid)); "
          + "choose another --name"
      )
    }
    if let place = plan.first(where: { $0.name == hello.name }), place.device != hello.device.name {
      return Refused(
        code: .placement,
        message: "\(hello.name) is the place of a \(place.device) worker, "
          + "this one is \(hello.device.name); choose another --name"
      )
    }
    return nil
  }

  /// Returns a name for a worker that has no place: the device and the first number that is free.
  private func freeName(_ device: String) -> String {
    let taken = Set(workers.names).union(plan.map(\.name))
    return (0...).lazy.map { "\(device)-\($0)" }.first { !taken.contains($0) } ?? device
  }

  /// Returns the place a worker asks for by name, or the first free one for its device, one that the
  /// device can run before others.
  private func freePlace(for hello: Hello, _ obstacles: DeviceObstacles) -> PlannedWorker? {
    let free = plan.filter { place in
      !workers.contains(place.name) && place.device == hello.device.name
        && (hello.name.isEmpty || hello.name == place.name)
    }
    return free.first { obstacles.obstacle(to: $0.slice) == nil } ?? free.first
  }

  /// Begins a new epoch if every place has its worker: each prepares its layers.
  mutating func assignIfComplete() {
    guard plan.allSatisfy(canHold), epoch.isGathering else { return }
    epoch.prepare()
    beginAccounts()
    assign(plan, epoch: epoch.number)
  }

  /// Begins the measurements of the placement that has just got its number.
  mutating func beginAccounts() {
    workers.updateAll { $0.beginEpoch() }
    stepRows = plan.reduce(limits.maxRows) { rows, place in
      min(rows, workers[place.name]?.device.preferredRows ?? rows)
    }
    measurements.begin(plan, at: now)
  }

  /// Tells the workers of a placement to prepare its layers.
  mutating func assign(_ plan: [PlannedWorker], epoch: UInt32) {
    let (now, dataKeys) = (now, workers.dataKeys)
    for (stage, place) in plan.enumerated() {
      guard let worker = workers[place.name] else { continue }
      workers.update(place.name) { $0.beginLoading(at: now) }
      let next = stage + 1 < plan.count ? workers[plan[stage + 1].name] : nil
      send(
        .assign(
          Assign(
            epoch: epoch,
            firstLayer: place.layers.lowerBound,
            endLayer: place.layers.upperBound,
            firstVocabularyRow: place.slice.vocabulary.lowerBound,
            endVocabularyRow: place.slice.vocabulary.upperBound,
            stage: stage,
            stageCount: plan.count,
            nextEndpoint: next?.hello.dataEndpoint ?? "",
            maxRows: limits.maxRows,
            slots: limits.slots,
            contextTokens: limits.contextTokens,
            nextKey: next?.hello.dataKey,
            // Each worker may hand off to any other.
            peerKeys: dataKeys,
            suppressedTokens: model.suppressedTokens
          )
        ),
        to: worker.peer
      )
    }
  }

  /// Handles a worker's report that its layers are prepared; after the last one the placement
  /// serves.
  mutating func prepared(_ preparedEpoch: UInt32, _ peer: PeerID) {
    guard let name = workers.name(ofControl: peer) else { return }
    if preparedEpoch == move?.epoch { preparedForMove(name) }
    guard preparedEpoch == epoch.number else { return }
    workers.update(name) { $0.prepared(preparedEpoch) }
    guard epoch.isPreparing,
      plan.allSatisfy({ workers[$0.name]?.preparedEpoch == epoch.number }),
      let first = plan.first.flatMap({ workers[$0.name] })
    else { return }
    epoch.serve()
    counters.beganEpoch()
    // The first step would commit the epoch, too. But a worker that no step has reached yet may be
    // told to prepare another epoch beside this one.
    for place in plan {
      if let worker = workers[place.name] {
        send(.commit(Commit(epoch: epoch.number)), to: worker.peer)
      }
    }
    act(.connectFirstStage(endpoint: first.hello.dataEndpoint, key: first.hello.dataKey))
    note("serving", ["epoch": "\(epoch.number)", "stages": "\(plan.count)"])
    act(.ready)
  }

  /// Handles a heartbeat.
  mutating func heard(_ heartbeat: Heartbeat, _ peer: PeerID) {
    guard let name = workers.name(ofControl: peer) else {
      // It may have been given up, or have registered with an earlier coordinator.
      let message =
        "this worker is not connected here: it was silent for too long and was given up, or the "
        + "coordinator was restarted; start the worker again"
      send(.refused(Refused(code: .unknown, message: message)), to: peer)
      return
    }
    let (now, systemNow) = (now, systemNow)
    workers.update(name) { $0.hear(heartbeat, at: now, systemNow: systemNow) }
    if let test = heartbeat.selfTest {
      selfTests.done(name, run: test.run)
      answerSelfTests()
    }
    send(.heartbeatAck(HeartbeatAck()), to: peer)
    guard epoch.isPreparing else { return }
    let fractions = plan.map { workers[$0.name]?.heartbeat?.loadFraction ?? 0 }
    act(.progress(fractions.reduce(0, +) / Double(plan.count)))
  }

  /// Counts a refused peer, and logs it the first time.
  mutating func refused(_ refusal: Refusal) {
    protocolErrors += 1
    guard !refusal.isRepeated else { return }
    note(
      "peer refused",
      ["peer": refusal.address.isEmpty ? "unknown" : refusal.address, "reason": refusal.reason],
      isWarning: true
    )
  }
}
