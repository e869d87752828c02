// Flow control of weight pulls: which peer gets the next piece. It is a pure value, without files
// or sockets.
//
// libzmq queues two thousand messages for a peer that does not read, which are 512 MB of pieces. So a
// peer gets no more pieces until it acknowledges earlier ones, by the random number that each
// carries: only a peer that has read the piece can know it.

package import Wire

/// Requests for pieces of model files, which are served to the peers in turn.
///
/// Each peer may have a few requests waiting and a few pieces sent but not acknowledged, and there
/// is a limit for all peers together. So neither slow peers nor many peers make the coordinator
/// hold more.
package struct PullQueue: Sendable {
  /// The limit of pieces that were read but not yet sent: 2 MiB.
  static let readLimit = 8
  /// The limit of waiting peers: as many as there may be workers.
  static let peerLimit = Limits.workers
  /// The limit of pieces sent to all peers together and not acknowledged: 64 MiB.
  ///
  /// A peer without any may exceed it by one piece, which adds at most 64 MiB with 256 peers.
  static let sentLimit = 256
  /// How long a peer that owes receipts may be silent before it is probed.
  static let silence = Duration.seconds(30)

  private struct Peer: Sendable {
    var waiting: [Pull] = []
    /// The receipts of pieces that were sent to the peer and not yet acknowledged.
    var receipts: Set<UInt64> = []
    /// How many pieces are being read for the peer.
    var reading = 0
    /// When the peer last requested or acknowledged a piece, or was last probed.
    var lastHeard: ContinuousClock.Instant

    var owed: Int { receipts.count + reading }
    var isIdle: Bool { waiting.isEmpty && owed == 0 }
  }

  private var peers: [PeerID: Peer] = [:]
  /// The peers with waiting requests, the next one first.
  private var turns: [PeerID] = []
  private var reading = 0
  /// How many pieces are sent or being read, and not acknowledged.
  private var owed = 0

  package init() {}

  /// Adds a request; returns false if the peer, or all peers together, have too many already.
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

  /// Returns the request to serve next; nil if the limits allow none now.
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

  /// Notes the outcome of a request that `next` returned.
  ///
  /// - Parameters:
  ///   - id: The peer that the piece was for.
  ///   - receipt: The receipt of the piece that was sent; nil if none was.
  package mutating func finished(_ id: PeerID, receipt: UInt64?) {
    precondition(reading > 0, "nothing was being read")
    reading -= 1
    // If the peer was forgotten meanwhile, its debt was removed with it.
    guard var peer = peers[id], peer.reading > 0 else { return }
    peer.reading -= 1
    if let receipt, peer.receipts.insert(receipt).inserted {
      peers[id] = peer
    } else {
      owed -= 1
      peers[id] = peer.isIdle ? nil : peer
    }
  }

  /// Notes acknowledged pieces; numbers that were not sent to this peer are ignored.
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

  /// Forgets a peer that has disconnected.
  package mutating func forget(_ id: PeerID) {
    guard let peer = peers.removeValue(forKey: id) else { return }
    owed -= peer.owed
    turns.removeAll { $0 == id }
  }

  /// Returns a peer that owes receipts and has been silent: it has disconnected, or does not read.
  ///
  /// The same peer is returned again only after the same time has passed once more.
  package mutating func silentPeer(at now: ContinuousClock.Instant) -> PeerID? {
    let silent = peers.first { $0.value.owed > 0 && now - $0.value.lastHeard > Self.silence }
    if let silent { peers[silent.key]?.lastHeard = now }
    return silent?.key
  }
}
