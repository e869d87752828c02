// Authorisation: checks the role of a peer's key before each message is served. When the list of
// keys changes, sessions and workers that are no longer allowed end.

package import Wire

extension CoordinatorMachine {
  /// Returns why a peer may not send a message; nil if it may.
  package func objection(to message: Message, from peer: PeerID) -> String? {
    permissions.objection(to: message.role, by: peer)
  }

  /// Counts and answers a message that is not allowed; logs it once for each key.
  mutating func refuse(_ message: Message, _ peer: PeerID, _ objection: String) {
    protocolErrors += 1
    if permissions.countRefusal(of: peer) {
      note(
        "message refused",
        ["peer": peer.description, "message": message.name, "reason": objection],
        isWarning: true
      )
    }
    switch message {
    case .generate(let request): turnAway(request.request, peer, .notAllowed, objection)
    case .evaluate(let request): turnAway(request.request, peer, .notAllowed, objection)
    case .rebalance(let request): refuse(request.request, peer, .notAllowed, objection)
    case .drain(let request): refuse(request.request, peer, .notAllowed, objection)
    case .statusRequest(let request): refuse(request.request, peer, .notAllowed, objection)
    case .healthRequest(let request): refuse(request.request, peer, .notAllowed, objection)
    case .hello, .heartbeat:
      send(.refused(Refused(code: .notAllowed, message: objection)), to: peer)
    case .describeModel, .pull:
      send(.pullFailed(PullFailed(code: .internal, message: objection)), to: peer)
    default: break  // Nobody waits for an answer.
    }
  }

  /// Uses a new list of keys, and ends what it no longer allows.
  mutating func accessChanged(to access: Access) {
    permissions.change(to: access)
    for id in requests.numbers {
      guard let peer = requests.peer(of: id),
        let objection = permissions.objection(to: .ask, by: peer)
      else { continue }
      note("request ended, its key is not allowed to ask any more", ["session": "\(id)"])
      fail(id, .notAllowed, objection)
    }
    for (id, prompt) in requests.beingEncoded {
      guard let objection = permissions.objection(to: .ask, by: prompt.peer) else { continue }
      _ = requests.endEncoding(id)
      act(.forgetEncoding(id))
      turnAway(prompt.generate.request, prompt.peer, .notAllowed, objection)
    }
    var hasRevoked = false
    for name in workers.names {
      guard let worker = workers[name],
        let objection = permissions.objection(to: .work, by: worker.peer)
      else { continue }
      hasRevoked = true
      send(.refused(Refused(code: .notAllowed, message: objection)), to: worker.peer)
      lose(name, "its key is not allowed to work any more")
    }
    // The other workers have been told to accept steps from these keys; a new epoch gives them a
    // new list.
    if hasRevoked, epoch.isPreparing || epoch.isServing {
      abandonMove("a worker's key is not allowed any more")
      startOver()
    }
  }
}
