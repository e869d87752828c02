// Who gets the next piece of the weights: a value, without files or sockets.
//
// libzmq queues a thousand messages for a peer that does not read, 256 MB of pieces. So a peer is sent
// no more until it shows that earlier pieces have come, by the number that each carries: a number that
// nobody can know who has not read it.

package import Wire

/// Requests for pieces of model files, in the order they are served: the peers in turn.
///
/// Each peer may have a few waiting and a few sent and not acknowledged, and all together no more than
/// a certain number, so that neither slow peers nor many of them make the coordinator hold more.
package struct PullQueue: Sendable {
  /// Pieces that may be read and not yet sent: 2 MiB.
  static let readLimit = 8
  /// Peers that may wait: as many as there may be workers.
  static let peerLimit = Limits.workers
  /// Pieces that all peers together may have been sent and not acknowledged, beside one for each that
  /// has none: 64 MiB, and 64 more with 256 peers.
  static let sentLimit = 256
  /// How long a peer that owes receipts may say nothing before it is asked whether it is still there.
  static let silence = Duration.seconds(30)

  private struct Peer: Sendable {
    var waiting: [Pull] = []
    /// Of pieces that were sent to it, and that it has not acknowledged.
    var receipts: Set<UInt64> = []
    /// Pieces that are being read for it.
    var reading = 0
    /// When it last asked or acknowledged, or was last probed.
    var lastHeard: ContinuousClock.Instant

    var owed: Int { receipts.count + reading }
    var isIdle: Bool { waiting.isEmpty && owed == 0 }
  }

  private var peers: [PeerID: Peer] = [:]
  /// The peers that wait, the next one first.
  private var turns: [PeerID] = []
  private var reading = 0
  /// Pieces sent or being read, and not acknowledged.
  private var owed = 0

  package init() {}

  /// Takes a request; false if the peer, or all together, have too many already.
  package mutating func add(
    _ pull: Pull,
    from id: PeerID,
    at now: ContinuousClock.Instant
  ) -> Bool {
    guard peers[id] != nil || peers.count < Self.peerLimit else { return false }
    var peer = peers[id] ?? Peer(lastHeard: now)
    peer.lastHeard = now
    defer { peers[id] = peer }
    guard peer.waiting.count < Limits.pulls else { return false }
    peer.waiting.append(pull)
    if peer.waiting.count == 1 { turns.append(id) }
    return true
  }

  /// Returns the request to serve next; nil if none may be served now.
  package mutating func next() -> (pull: Pull, peer: PeerID)? {
    guard reading < Self.readLimit,
      let turn = turns.firstIndex(where: { maySend(to: $0) })
    else { return nil }
    let id = turns.remove(at: turn)
    guard var peer = peers[id], !peer.waiting.isEmpty else { return nil }
    let pull = peer.waiting.removeFirst()
    if !peer.waiting.isEmpty { turns.append(id) }
    peer.reading += 1
    peers[id] = peer
    reading += 1
    owed += 1
    return (pull, id)
  }

  private func maySend(to id: PeerID) -> Bool {
    guard let peer = peers[id] else { return false }
    return peer.owed < Limits.pulls && (owed < Self.sentLimit || peer.owed == 0)
  }

  /// Notes what has become of what `next` gave.
  ///
  /// - Parameters:
  ///   - id: For whom it was.
  ///   - receipt: Of the piece, if one was sent; nil if none was.
  package mutating func finished(_ id: PeerID, receipt: UInt64?) {
    precondition(reading > 0, "nothing was being read")
    reading -= 1
    // Else it was forgotten meanwhile, with what it owed.
    guard var peer = peers[id], peer.reading > 0 else { return }
    peer.reading -= 1
    if let receipt, peer.receipts.insert(receipt).inserted {
      peers[id] = peer
    } else {
      owed -= 1
      peers[id] = peer.isIdle ? nil : peer
    }
  }

  /// Notes that pieces have come; numbers that were not sent to this peer count for nothing.
  package mutating func acknowledge(
    _ receipts: [UInt64],
    from id: PeerID,
    at now: ContinuousClock.Instant
  ) {
    guard var peer = peers[id] else { return }
    for receipt in receipts where peer.receipts.remove(receipt) != nil { owed -= 1 }
    peer.lastHeard = now
    peers[id] = peer.isIdle ? nil : peer
  }

  /// Forgets a peer that is gone.
  package mutating func forget(_ id: PeerID) {
    guard let peer = peers.removeValue(forKey: id) else { return }
    owed -= peer.owed
    turns.removeAll { $0 == id }
  }

  /// Returns a peer that owes receipts and has been silent: gone, or one that does not read.
  ///
  /// It is not returned again before as long has passed once more.
  package mutating func silentPeer(at now: ContinuousClock.Instant) -> PeerID? {
    let silent = peers.first { $0.value.owed > 0 && now - $0.value.lastHeard > Self.silence }
    if let silent { peers[silent.key]?.lastHeard = now }
    return silent?.key
  }
}
