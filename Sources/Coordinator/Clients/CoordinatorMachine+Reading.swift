// Flow control of answers: what clients have read. The sessions of clients that do not read pause
// (backpressure); those of clients that have disconnected end with an error.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Handles a client's receipt, and fails the awaited requests that are not being served.
  ///
  /// So no client waits forever whose request, or the end of its answer, was lost with a
  /// connection, or whose request was ended while it did not read.
  mutating func receipt(_ receipt: Receipt, _ peer: PeerID) {
    outflow.received(receipt, by: peer, at: now)
    for request in receipt.awaited where !requests.contains(request, of: peer) {
      refuse(
        request,
        peer,
        .lost,
        "request \(request) is not being served; it, or the end of its answer, was lost on the way"
      )
    }
  }

  /// Handles a message that did not fit into a client's queue, or could not be encoded.
  ///
  /// None of a session's messages may be missing, so the client's sessions end. The client learns
  /// of it when it reads again and asks what has become of them.
  mutating func notSent(_ message: Message, to peer: PeerID, _ reason: String) {
    note(
      "message not sent",
      ["peer": peer.description, "message": message.name, "reason": reason],
      isWarning: true
    )
    switch message {
    case .accepted, .delta, .evaluated, .finished, .requestFailed:
      outflow.notSent(to: peer)
      let numbers = requests.numbers(of: peer)
      counters.abandoned(numbers.count)
      for id in numbers { end(id) }
    default: break
    }
  }

  /// How often a waiting client is told that it waits.
  ///
  /// A message that cannot be delivered shows that it has disconnected.
  private static let waitingInterval = Duration.seconds(1)
  /// How long a client may leave everything unread while others wait for its slot.
  private static let readingPatience = Duration.seconds(30)
  /// The same timeout while nobody else waits for the slot, because a user may have stopped the
  /// terminal to read.
  private static let idlePatience = Duration.seconds(600)

  /// Checks the timeouts of clients that wait or do not read, and finds those that have
  /// disconnected.
  mutating func watchClients() {
    guard now - clientsWatched >= Self.waitingInterval else { return }
    clientsWatched = now
    for id in sessions.numbers {
      guard let peer = requests.peer(of: id), sessions[id]?.isGenerating == false else { continue }
      // A client that does not read has enough messages queued already.
      if outflow.unreadCount(peer) < limits.unread.messages / 4 { accept(id) }
    }
    for (_, prompt) in requests.beingEncoded {
      let waits = Accepted(request: prompt.generate.request, promptTokens: 0, queuePosition: 0)
      if outflow.unreadCount(prompt.peer) < limits.unread.messages / 4 {
        send(.accepted(waits), to: prompt.peer)
      }
    }
    let patience = sessions.queue.isEmpty ? Self.idlePatience : Self.readingPatience
    for peer in outflow.clients(unreadSince: now - patience) where outflow.isFull(peer) {
      for id in requests.numbers(of: peer) {
        note(
          "client does not read, request ended",
          ["session": "\(id)", "unread": "\(outflow.unreadCount(peer))"],
          isWarning: true
        )
        fail(
          id,
          .cancelled,
          "\(outflow.unreadCount(peer)) messages of the answer were not read for \(patience)"
        )
      }
    }
    // A client without a session that has disconnected with unread messages would never be noticed
    // otherwise.
    let served = requests.peers
    for peer in outflow.clients(unreadSince: now - Self.waitingInterval)
    where !served.contains(peer) {
      send(.healthReply(health(0)), to: peer)
    }
  }

  /// Whether a session must wait because its client has too much to read.
  func isHeldBack(_ session: Session) -> Bool {
    guard let peer = requests.peer(of: session.id) else { return false }
    guard case .logits = session.goal else { return outflow.isFull(peer) }
    let rows = flight.logitsRows { requests.peer(of: $0) == peer }
    let expected = rows * model.config.vocabularySize * MemoryLayout<Float>.size
    return outflow.isFull(peer, expecting: expected)
  }
}
