// Which pieces of the weights to request, and when: a pure value, without socket and clock.

internal import Wire

/// The state of one pull: a few pieces are in flight at a time, each until it has arrived
/// undamaged.
struct PullSchedule {
  /// The timeout after which all requests in flight are sent again, because they were lost with a
  /// connection.
  ///
  /// One piece in this time is 26 kB/s.
  static let silence = Duration.seconds(10)
  /// How many such timeouts in a row end the pull.
  ///
  /// A coordinator that has died is noticed earlier, by its silence on the control socket.
  static let silences = 6
  /// How often a piece may arrive damaged.
  ///
  /// TCP and CURVE hardly ever deliver a damaged piece, so the cause is the coordinator's memory or
  /// this machine's.
  static let attempts = 3

  /// Stored in reverse: the next piece is the last element.
  private var waiting: [ChunkID]
  private var underWay: Set<ChunkID> = []
  private var damaged: [ChunkID: Int] = [:]
  private var lastSign: ContinuousClock.Instant
  private var silencesInARow = 0
  /// The pause between two requests; zero for no limit.
  private let pause: Duration
  private var mayAsk: ContinuousClock.Instant

  /// - Parameters:
  ///   - chunks: The pieces to pull, in this order.
  ///   - bytesPerSecond: The rate limit; nil for no limit.
  ///   - now: The current time.
  init(_ chunks: [ChunkID], bytesPerSecond: Double?, now: ContinuousClock.Instant) {
    waiting = chunks.reversed()
    pause = bytesPerSecond.map { .seconds(Double(Limits.chunkBytes) / $0) } ?? .zero
    lastSign = now
    mayAsk = now
  }

  /// Whether all pieces have arrived.
  var isDone: Bool { waiting.isEmpty && underWay.isEmpty }

  /// Returns the piece to request now; nil if no request is due.
  mutating func next(at now: ContinuousClock.Instant) -> ChunkID? {
    guard underWay.count < Limits.pulls, now >= mayAsk, let id = waiting.popLast() else {
      return nil
    }
    underWay.insert(id)
    lastSign = now
    mayAsk = max(mayAsk, now - pause) + pause
    return id
  }

  /// Returns how long nothing is due unless a message arrives.
  func idleTime(at now: ContinuousClock.Instant) -> Duration {
    let most = Duration.milliseconds(100)
    guard underWay.count < Limits.pulls, !waiting.isEmpty else { return most }
    return min(most, max(.zero, mayAsk - now))
  }

  /// Notes that a piece has arrived.
  ///
  /// - Parameters:
  ///   - id: The piece.
  ///   - isWhole: Whether it has the right length and digest.
  ///   - now: The current time.
  /// - Returns: Whether to keep it; false if it is damaged, or was not requested.
  /// - Throws: `WorkerError` if it has arrived damaged too often.
  mutating func received(
    _ id: ChunkID,
    isWhole: Bool,
    at now: ContinuousClock.Instant
  ) throws(WorkerError) -> Bool {
    guard underWay.remove(id) != nil else { return false }
    lastSign = now
    silencesInARow = 0
    guard !isWhole else { return true }
    damaged[id, default: 0] += 1
    guard let count = damaged[id], count < Self.attempts else {
      throw WorkerError(
        .weights,
        "piece \(id.chunk) of file \(id.file) has arrived damaged \(Self.attempts) times: its bytes are not "
          + "those that the coordinator described; its model file may have changed since: restart the "
          + "coordinator"
      )
    }
    waiting.append(id)
    return false
  }

  /// Requests again the pieces in flight after a timeout.
  ///
  /// - Throws: `WorkerError` after too many timeouts in a row.
  mutating func tick(at now: ContinuousClock.Instant) throws(WorkerError) {
    guard !underWay.isEmpty, now - lastSign > Self.silence else { return }
    silencesInARow += 1
    guard silencesInARow < Self.silences else {
      throw WorkerError(
        .unreachable,
        "the coordinator has sent no weights for \(Self.silence * Self.silences)"
      )
    }
    waiting += underWay.sorted().reversed()
    underWay = []
    lastSign = now
  }
}
