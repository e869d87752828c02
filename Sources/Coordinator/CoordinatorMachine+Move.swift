// Live rebalance: the next placement is prepared while the old one runs. Then, with no step in
// flight, keys and values move from worker to worker, the epoch is committed, and the sessions go
// on. PlacementMove.swift draws the stages of a move.
//
// Most keys and values are copied while steps go on, so that only those that have been added since
// are moved during the pause.
//
// A failure before the commit aborts the move, and the old epoch goes on. If keys and values were
// already being moved, its caches may have changed, and the live sessions are replayed in it.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Begins a move to another placement; one that changes nothing ends at once.
  mutating func startMove(
    _ next: [PlannedWorker],
    request: MoveRequest?,
    drained: String?
  ) {
    let layersMoved = model.config.layers.indices.count { layer in
      holder(of: layer, plan) != holder(of: layer, next)
    }
    guard next != plan else {
      finishMove(request, drained: drained, layersMoved: 0, kvBytes: 0, pause: .zero)
      return
    }
    let number = epoch.beginMove(
      to: next,
      request: request,
      drained: drained,
      layersMoved: layersMoved,
      at: now
    )
    note("preparing a new placement", ["epoch": "\(number)", "layers": text(next)])
    assign(next, epoch: number)
  }

  private func holder(of layer: Int, _ plan: [PlannedWorker]) -> String? {
    plan.first { $0.layers.contains(layer) }?.name
  }

  /// Returns who holds which layers, for people.
  func text(_ plan: [PlannedWorker]) -> String {
    plan.map { "\($0.name) \(model.config.line.text($0.slice))" }.joined(separator: ", ")
  }

  /// A worker has prepared its layers of the next epoch.
  mutating func preparedForMove(_ name: String) {
    if epoch.updateMove({ $0.prepared(name) }) ?? false { beginCopying() }
  }

  /// Aborts a move that has passed the deadline of its stage.
  mutating func checkMoveDeadline() {
    guard let move else { return }
    let isLate = now - move.since > limits.standstill
    switch move.stage {
    case .preparing:
      guard let name = move.awaited.sorted().first(where: loadingHasStalled) else { return }
      abandonMove("worker \(name) has made no progress with its layers for \(limits.loadStall)")
    case .copying:
      guard now - move.since > limits.copying else { return }
      let names = move.awaited.sorted().joined(separator: ", ")
      abandonMove("\(names) did not copy keys and values within \(limits.copying)")
    case .draining:
      if isLate { abandonMove("steps were under way for more than \(limits.standstill)") }
    case .moving:
      guard isLate else { return }
      let names = move.awaited.sorted().joined(separator: ", ")
      abandonMove("\(names) did not move keys and values within \(limits.standstill)")
    }
  }

  /// Lets the owners of keys and values send copies early, while steps go on.
  private mutating func beginCopying() {
    guard let move else { return }
    let slots = liveSlots.filter { $0.session.submitted > 0 }.map { live in
      SlotState(slot: live.slot, positionCount: 0, tokens: [])
    }
    let exports = slots.isEmpty ? [:] : exports(to: move.plan).exports
    let now = now
    epoch.updateMove {
      $0.enter(exports.isEmpty ? .draining : .copying, awaiting: Set(exports.keys), at: now)
    }
    for (name, own) in exports.sorted(by: { $0.key < $1.key }) {
      guard let worker = workers[name] else { continue }
      let order = Move(epoch: move.epoch, slots: slots, exports: own, imports: 0, isEarly: true)
      send(.move(order), to: worker.peer)
    }
  }

  /// The sessions that hold a slot, in the order of their turns.
  private var liveSlots: [(slot: Int, session: Session)] {
    sessions.running.compactMap { session in session.slot.map { ($0, session) } }
  }

  /// Returns what each owner of keys and values sends for another placement, and how many layers come to
  /// each worker.
  private func exports(
    to next: [PlannedWorker]
  ) -> (exports: [String: [KVExport]], imports: [String: Int]) {
    var exports: [String: [KVExport]] = [:]
    var imports: [String: Int] = [:]
    for place in next {
      let held = plan.first { $0.name == place.name }.map(cacheLayers) ?? []
      for layer in cacheLayers(place).subtracting(held).sorted() {
        guard let source = plan.first(where: { cacheLayers($0).contains(layer) }),
          let target = workers[place.name]
        else { continue }
        exports[source.name, default: []].append(
          KVExport(
            layer: layer,
            endpoint: target.hello.dataEndpoint,
            key: target.hello.dataKey
          )
        )
        imports[place.name, default: 0] += 1
      }
    }
    return (exports, imports)
  }

  /// Begins to move keys and values if no step is in flight any more.
  mutating func moveIfDrained() {
    guard let move, move.stage == .draining, flight.isEmpty else { return }
    // A session that was just admitted may count on a prefix that no step has taken over yet.
    guard !sessions.hasPendingForks else {
      startWithoutRows()
      return
    }
    let slots = liveSlots
    let liveCount = slots.count { $0.session.submitted > 0 }
    let (exports, imports) = exports(to: move.plan)
    let (now, movers) = (now, Set(move.plan.map(\.name)).union(exports.keys))
    epoch.updateMove { $0.enter(.moving, awaiting: movers, at: now) }
    for name in movers.sorted() {
      guard let worker = workers[name] else { continue }
      let isLast = move.plan.last?.name == name
      let states = slots.map { slot, session in
        SlotState(
          slot: slot,
          positionCount: session.submitted,
          tokens: isLast ? Array(session.tokens.prefix(session.submitted)) : []
        )
      }
      send(
        .move(
          Move(
            epoch: move.epoch,
            slots: states,
            exports: exports[name] ?? [],
            imports: (imports[name] ?? 0) * liveCount
          )
        ),
        to: worker.peer
      )
    }
  }

  /// The layers whose keys and values a stage keeps: its own, and those that its layers share.
  private func cacheLayers(_ place: PlannedWorker) -> Set<Int> {
    Set(place.layers.map { model.config.layers[$0].kvSource })
  }

  /// Handles a worker's report that it has sent its keys and values and has received what it needs.
  mutating func moved(_ moved: Moved, _ peer: PeerID) {
    guard let name = workers.name(ofControl: peer), let stage = move?.stage,
      move?.epoch == moved.epoch
    else { return }
    // The result is twice optional: there may be no move, and the worker may not be awaited.
    let wasLast = epoch.updateMove { $0.sent(name, bytes: moved.sentBytes) } ?? nil
    guard wasLast ?? false else { return }
    let now = now
    if stage == .copying {
      epoch.updateMove { $0.enter(.draining, at: now) }
    } else {
      commitMove()
    }
  }

  /// Commits the move: the new placement replaces the old one, and the next step carries its
  /// number.
  private mutating func commitMove() {
    let before = Set(plan.map(\.name))
    guard let first = move?.plan.first.flatMap({ workers[$0.name] }),
      let move = epoch.commitMove()
    else { return }
    // The slots that the old epoch still had to clear are empty in the new one.
    sessions.forgetFreeSlots()
    beginAccounts()
    for place in plan { workers.update(place.name) { $0.prepared(move.epoch) } }
    for name in before.union(plan.map(\.name)).sorted() {
      if let worker = workers[name] { send(.commit(Commit(epoch: epoch.number)), to: worker.peer) }
    }
    act(.connectFirstStage(endpoint: first.hello.dataEndpoint, key: first.hello.dataKey))
    let pause = now - move.since
    measurements.moved(pause: pause)
    counters.beganEpoch()
    counters.rebalanced(movedBytes: move.kvBytes)
    note(
      "serving a new placement",
      [
        "epoch": "\(epoch.number)", "layers": text(plan), "bytes": "\(move.kvBytes)",
        "pause": "\(pause)",
      ]
    )
    finishMove(
      move.request,
      drained: move.drained,
      layersMoved: move.layersMoved,
      kvBytes: move.kvBytes,
      pause: pause
    )
  }

  /// Reports a completed move to the client that asked for it, and releases the worker to be
  /// drained, if any.
  mutating func finishMove(
    _ request: MoveRequest?,
    drained: String?,
    layersMoved: Int,
    kvBytes: UInt64,
    pause: Duration
  ) {
    if let drained, let worker = workers.remove(drained) {
      act(.release(worker: drained))
      send(.shutdown(Shutdown(reason: "drained")), to: worker.peer)
      note("worker drained", ["worker": drained])
    }
    counters.paused(pause)
    guard let request else { return }
    send(
      .rebalanced(
        Rebalanced(
          request: request.request,
          epoch: epoch.number,
          layersMoved: layersMoved,
          kvBytesMoved: kvBytes,
          pauseMicroseconds: UInt64(max(0, pause / .microseconds(1)))
        )
      ),
      to: request.peer
    )
  }

  /// Aborts the move; the running epoch goes on.
  mutating func abandonMove(_ reason: String) {
    guard let move = epoch.dropMove() else { return }
    note(
      "placement given up, the old one goes on",
      ["epoch": "\(move.epoch)", "reason": reason],
      isWarning: true
    )
    for name in Set(move.plan.map(\.name)).union(plan.map(\.name)).sorted() {
      if let worker = workers[name] {
        send(.abandon(Abandon(epoch: move.epoch)), to: worker.peer)
      }
    }
    if move.request == nil { measurements.moveFailed(reason, at: now) }
    if let request = move.request {
      refuse(
        request.request,
        request.peer,
        .lost,
        "the layers stay where they are: \(reason)"
      )
    }
    // Caches that the two epochs share may have changed.
    if move.stage == .moving { startOver() }
  }
}
