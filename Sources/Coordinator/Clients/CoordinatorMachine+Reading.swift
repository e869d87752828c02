// What clients read, and what is done about those that do not, or are gone: their sessions stand still,
// and end in words.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Takes a client's word of what has arrived, and answers for requests that nobody serves.
  ///
  /// So no client waits for ever: not one whose connection was lost with its request or the last word
  /// about it, and not one that was ended while it did not read.
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

  /// A message found no room in a client's queue, or could not be put together.
  ///
  /// Of a session's messages none may be missing, so its sessions end. It hears of it when it reads
  /// again, and asks what has become of them.
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

  /// How often a client that waits is told so; the first word that cannot be delivered shows that it
  /// has gone.
  private static let waitingInterval = Duration.seconds(1)
  /// How long a client may leave everything unread while others wait for its slot.
  private static let readingPatience = Duration.seconds(30)
  /// The same while nobody else wants the slot: somebody may have stopped a terminal to read.
  private static let idlePatience = Duration.seconds(600)

  /// Looks after clients that wait, do not read, or are gone.
  mutating func watchClients() {
    guard now - clientsWatched >= Self.waitingInterval else { return }
    clientsWatched = now
    for id in sessions.numbers {
      guard let peer = requests.peer(of: id), sessions[id]?.isGenerating == false else { continue }
      // Enough are under way for one that does not read.
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
    // Without a session nobody learns of a client that has gone with something unread.
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
