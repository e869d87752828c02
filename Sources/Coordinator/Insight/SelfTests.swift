// Health requests that wait while the workers test their devices.

internal import Wire

/// The self-tests in progress.
struct SelfTests: Sendable {
  /// The request of one waiting client.
  struct Round: Sendable {
    var request: UInt64
    var peer: PeerID
    var run: UInt32
    /// Workers that have not reported yet.
    var awaited: Set<String>
    var deadline: ContinuousClock.Instant
  }

  /// The timeout of a round: a step may take seconds, and a test waits until it has ended.
  static let patience = Duration.seconds(10)
  /// The limit of waiting clients: each makes every worker test its device.
  static let mostRounds = 16

  private(set) var rounds: [Round] = []
  private var lastRun: UInt32 = 0

  /// Begins a round and returns its number; nil if too many are in progress.
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

  /// Notes a worker's report: all of its tests up to number `run` are done.
  mutating func done(_ worker: String, run: UInt32) {
    for index in rounds.indices where rounds[index].run <= run {
      rounds[index].awaited.remove(worker)
    }
  }

  /// Removes and returns the rounds that wait for no live worker, or whose deadline has passed.
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
