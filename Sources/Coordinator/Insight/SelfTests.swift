// Health requests that wait for the workers to test their devices.

internal import Wire

/// The self-tests under way.
struct SelfTests: Sendable {
  /// A client that waits.
  struct Round: Sendable {
    var request: UInt64
    var peer: PeerID
    var run: UInt32
    /// Workers that have not answered.
    var awaited: Set<String>
    var deadline: ContinuousClock.Instant
  }

  /// A step may take seconds, and a test waits for its end.
  static let patience = Duration.seconds(10)
  /// Clients that may wait at once: each makes every worker test its device.
  static let mostRounds = 16

  private(set) var rounds: [Round] = []
  private var lastRun: UInt32 = 0

  /// Begins a round; returns its number, or nil if too many are under way.
  mutating func begin(
    _ request: UInt64,
    _ peer: PeerID,
    workers: Set<String>,
    at now: ContinuousClock.Instant
  ) -> UInt32? {
    guard rounds.count < Self.mostRounds else { return nil }
    lastRun += 1
    rounds.append(
      Round(
        request: request,
        peer: peer,
        run: lastRun,
        awaited: workers,
        deadline: now + Self.patience
      )
    )
    return lastRun
  }

  /// Takes a worker's word: each of its tests up to this number is done.
  mutating func done(_ worker: String, run: UInt32) {
    for index in rounds.indices where rounds[index].run <= run {
      rounds[index].awaited.remove(worker)
    }
  }

  /// Removes and returns the rounds that wait for no live worker, or have waited long enough.
  mutating func takeEnded(
    live: Set<String>,
    at now: ContinuousClock.Instant
  ) -> [Round] {
    for index in rounds.indices { rounds[index].awaited.formIntersection(live) }
    let isOver = { (round: Round) in round.awaited.isEmpty || now >= round.deadline }
    defer { rounds.removeAll(where: isOver) }
    return rounds.filter(isOver)
  }
}
