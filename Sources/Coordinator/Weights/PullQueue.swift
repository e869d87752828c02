// Who gets the next piece of the weights: a value, without files or sockets.

package import Wire

/// Requests for pieces of model files, in the order they are served: the peers in turn.
///
/// Each peer may have a few waiting, and a few in all are read at once, so that neither a slow peer
/// nor many of them make the coordinator hold more than that.
package struct PullQueue: Sendable {
  /// Pieces that may be read and not yet sent: 2 MiB.
  static let readLimit = 8
  /// Peers that may wait: as many as there may be workers.
  static let peerLimit = Limits.workers

  private var waiting: [PeerID: [Pull]] = [:]
  /// The peers that wait, the next one first.
  private var turns: [PeerID] = []
  private var reading = 0

  package init() {}

  /// Takes a request; false if the peer, or all together, have too many already.
  package mutating func add(_ pull: Pull, from peer: PeerID) -> Bool {
    let count = waiting[peer]?.count ?? 0
    guard count < Limits.pulls, count > 0 || turns.count < Self.peerLimit else { return false }
    waiting[peer, default: []].append(pull)
    if count == 0 { turns.append(peer) }
    return true
  }

  /// Returns the request to serve next; nil if none waits, or enough are being read.
  package mutating func next() -> (pull: Pull, peer: PeerID)? {
    guard reading < Self.readLimit, let peer = turns.first else { return nil }
    turns.removeFirst()
    guard var pulls = waiting.removeValue(forKey: peer), !pulls.isEmpty else { return nil }
    let pull = pulls.removeFirst()
    if !pulls.isEmpty {
      waiting[peer] = pulls
      turns.append(peer)
    }
    reading += 1
    return (pull, peer)
  }

  /// Notes that what `next` gave is sent or given up.
  package mutating func finished() {
    precondition(reading > 0, "nothing was being read")
    reading -= 1
  }
}
