// The requests that wait for a slot, which are distributed fairly among clients: the client that
// holds the fewest slots comes next, and when the queue is full, requests of the client that fills
// it are refused.

internal import Wire

/// The unit of fairness: a key, however many connections it opens, or one connection without a key.
enum Asker: Hashable, Sendable {
  case key(PublicKey)
  case connection(PeerID)

  init(_ peer: PeerID) { self = peer.key.map { .key($0) } ?? .connection(peer) }
}

/// Sessions that wait, in the order in which they came, and who holds how many slots.
struct SessionQueue: Sendable {
  private struct Entry: Sendable {
    var session: UInt64
    var peer: PeerID
    var asker: Asker { Asker(peer) }
  }

  private var entries: [Entry] = []
  /// The askers of the sessions that hold a slot.
  private var holders: [UInt64: Asker] = [:]

  var count: Int { entries.count }
  var isEmpty: Bool { entries.isEmpty }

  mutating func append(_ session: UInt64, of peer: PeerID) {
    entries.append(Entry(session: session, peer: peer))
  }

  /// Notes that a session has got a slot and waits no longer.
  mutating func admit(_ session: UInt64) {
    guard let index = entries.firstIndex(where: { $0.session == session }) else { return }
    holders[session] = entries.remove(at: index).asker
  }

  /// Forgets a session that is over, whether it waited or held a slot.
  mutating func remove(_ session: UInt64) {
    entries.removeAll { $0.session == session }
    holders[session] = nil
  }

  /// Returns how many requests came before a session, itself included; 0 if it does not wait.
  func place(of session: UInt64) -> Int {
    entries.firstIndex { $0.session == session }.map { $0 + 1 } ?? 0
  }

  /// Returns the session that gets the next slot.
  ///
  /// - Parameter mayRun: Whether a connection's sessions may go on at all.
  /// - Returns: The session; nil if none may run.
  func next(mayRun: (PeerID) -> Bool) -> UInt64? {
    guard !entries.isEmpty else { return nil }
    var held: [Asker: Int] = [:]
    for asker in holders.values { held[asker, default: 0] += 1 }
    var best: (held: Int, session: UInt64)?
    for entry in entries where mayRun(entry.peer) {
      let count = held[entry.asker] ?? 0
      if best.map({ count < $0.held }) ?? true { best = (count, entry.session) }
    }
    return best?.session
  }

  /// Returns the waiting session that gives way to a client's when the queue is full; nil if none does.
  ///
  /// It is the last of the client that has most waiting, if that has at least two more: after the
  /// exchange it still has as many as the newcomer.
  func surplus(for peer: PeerID) -> UInt64? {
    var waiting: [Asker: Int] = [:]
    for entry in entries { waiting[entry.asker, default: 0] += 1 }
    let own = waiting[Asker(peer)] ?? 0
    guard let most = waiting.values.max(), most >= own + 2 else { return nil }
    return entries.last { waiting[$0.asker] == most }?.session
  }
}

extension SessionQueue {
  /// - Parameter turns: The sessions that hold a slot.
  /// - Throws: `BrokenInvariant` if others count as holding one, or one that does waits.
  func checkInvariants(holding turns: [UInt64]) throws(BrokenInvariant) {
    try require(
      Set(turns) == Set(holders.keys),
      "\(turns) hold slots, \(holders.keys.sorted()) count as holding one"
    )
    try require(
      !entries.contains { holders[$0.session] != nil },
      "of \(entries.map(\.session)), who wait, some hold a slot"
    )
  }
}
