// The requests of all clients: those that sessions serve, and those whose texts are on their way to tokens.

internal import Wire

/// The requests that clients wait for.
///
/// Invariants:
/// * Each is served by a session of the same number, or its text is being tokenized, never both.
/// * No client waits for two of the same number of its own.
struct ClientRequests: Sendable {
  private var served: [UInt64: ClientRequest] = [:]
  /// By the number that their session would have.
  private var encoding: [UInt64: EncodingPrompt] = [:]

  // MARK: Served by a session

  /// The numbers of the sessions that serve them, in the order in which they came.
  var numbers: [UInt64] { served.keys.sorted() }

  /// The request that a session serves; nil if it has ended.
  subscript(number: UInt64) -> ClientRequest? { served[number] }

  /// Returns the client that waits for a session; nil if the request has ended.
  func peer(of number: UInt64) -> PeerID? { served[number]?.peer }

  /// Returns the sessions that serve a client, in the order in which they came.
  func numbers(of peer: PeerID) -> [UInt64] {
    served.filter { $0.value.peer == peer }.keys.sorted()
  }

  /// Returns the session that serves a client's request; nil if none does.
  func number(of request: UInt64, _ peer: PeerID) -> UInt64? {
    served.first { $0.value.peer == peer && $0.value.number == request }?.key
  }

  /// Adds a request that a session serves from now on.
  mutating func open(_ request: ClientRequest, as number: UInt64) { served[number] = request }

  /// Changes a request; returns nil if it has ended.
  @discardableResult
  mutating func update<Answer>(
    _ number: UInt64,
    _ change: (inout ClientRequest) -> Answer
  ) -> Answer? {
    guard let index = served.index(forKey: number) else { return nil }
    return change(&served.values[index])
  }

  /// Removes a request whose session has ended.
  mutating func close(_ number: UInt64) { served[number] = nil }

  // MARK: Being tokenized

  /// Requests whose texts are being tokenized, in the order in which they came.
  var beingEncoded: [(number: UInt64, prompt: EncodingPrompt)] {
    encoding.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  var encodingCount: Int { encoding.count }

  /// Adds a request whose text is being tokenized.
  mutating func beginEncoding(_ prompt: EncodingPrompt, as number: UInt64) {
    encoding[number] = prompt
  }

  /// Removes and returns a request whose tokens have come; nil if nobody waits for them any more.
  mutating func endEncoding(_ number: UInt64) -> EncodingPrompt? {
    encoding.removeValue(forKey: number)
  }

  // MARK: All of them

  /// Whether a client waits for a request of this number.
  func contains(_ request: UInt64, of peer: PeerID) -> Bool {
    number(of: request, peer) != nil
      || encoding.values.contains { $0.peer == peer && $0.generate.request == request }
  }

  /// The clients that wait for anything.
  var peers: Set<PeerID> {
    Set(served.values.map(\.peer)).union(encoding.values.map(\.peer))
  }
}

extension ClientRequests {
  /// - Throws: `BrokenInvariant` with the first promise of the type that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    try require(
      Set(served.keys).isDisjoint(with: encoding.keys),
      "\(Set(served.keys).intersection(encoding.keys).sorted()) are served and tokenized at once"
    )
    var seen: Set<[UInt64]> = []
    var peers: [PeerID: UInt64] = [:]
    let all =
      served.values.map { ($0.peer, $0.number) }
      + encoding.values.map { ($0.peer, $0.generate.request) }
    for (peer, request) in all {
      let place = peers[peer] ?? UInt64(peers.count)
      peers[peer] = place
      try require(
        seen.insert([place, request]).inserted,
        "client \(peer) waits for two requests \(request)"
      )
    }
  }
}
