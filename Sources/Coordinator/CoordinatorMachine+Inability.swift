// What is done about a worker that could not prepare its layers: the reason that it gives decides.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Takes a worker's word that it cannot prepare its layers.
  mutating func prepareFailed(_ failure: PrepareFailed, _ peer: PeerID) {
    guard let name = workers.name(ofControl: peer) else { return }
    if let move, failure.epoch == move.epoch {
      if failure.code == .unsupported, let place = move.plan.first(where: { $0.name == name }) {
        cannotRun(
          name,
          layers: failure.layers,
          lacksLogits: failure.lacksLogits,
          of: place.slice,
          failure.message
        )
      }
      abandonMove("worker \(name): \(failure.message)")
      if failure.code == .device { evict(name, "lost its device: \(failure.message)") }
    }
    guard failure.epoch == epoch.number, epoch.isPreparing else { return }
    // The user's own split is the user's to change; any other is made anew.
    guard !epoch.hasServed && (failure.code != .unsupported || isPlanBinding) else {
      cannotPrepare(name, failure)
      return
    }
    act(
      .fail(
        CoordinatorError(
          .worker,
          "worker \(name) cannot prepare its layers: \(failure.message)"
        )
      )
    )
  }

  /// Does about a worker that could not prepare its layers what the reason asks for.
  mutating func cannotPrepare(_ name: String, _ failure: PrepareFailed) {
    let reason = failure.message
    switch failure.code {
    case .device: evict(name, "lost its device: \(reason)")
    // A fault of the program may be over with the next attempt, or with the worker's next life.
    case .internal, .notFinite:
      note(
        "worker has failed to prepare its layers, it is tried again",
        ["worker": name, "reason": reason],
        isWarning: true
      )
      restartEpoch(blaming: [name], "cannot prepare its layers: \(reason)")
    case .unsupported:
      guard let slice = plan.first(where: { $0.name == name })?.slice else { return }
      cannotRun(
        name,
        layers: failure.layers,
        lacksLogits: failure.lacksLogits,
        of: slice,
        reason
      )
      pause()
      placeAnew(isLate: false)
      if settleFirstPlacement() { assignIfComplete() }
    case .memory, .model, .step, .handOff: cannotHold(name, reason)
    }
  }

  /// A worker cannot hold the layers that it shall: others get them.
  mutating func cannotHold(_ name: String, _ reason: String) {
    guard let slice = plan.first(where: { $0.name == name })?.slice else { return }
    let layers = model.config.line.text(slice)
    note(
      "worker cannot prepare its layers",
      ["worker": name, "layers": layers, "reason": reason],
      isWarning: true
    )
    let bytes = Double(held(slice, by: name).total)
    let words = "\(name) cannot prepare layers \(layers): \(reason)"
    workers.update(name) { $0.failedToHold(bytes: bytes, words) }
    pause()
    placeAnew(isLate: false)
  }
}
