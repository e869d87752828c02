// Which pieces of the weights to ask for, and when: a value, without socket and clock.

internal import Wire

/// The course of one pull: a few pieces under way at a time, each until it has come and is right.
struct PullSchedule {
  /// How long nothing may come before all that is under way is asked for again: it was lost with a
  /// connection.
  ///
  /// One piece in this time is 26 kB/s.
  static let silence = Duration.seconds(10)
  /// How many such times in a row are borne.
  ///
  /// A coordinator that is gone is noticed earlier, by its silence on the control socket.
  static let silences = 6
  /// How often a piece may come damaged.
  ///
  /// TCP and CURVE let hardly any pass: it is the coordinator's memory, or ours.
  static let attempts = 3

  /// The next one last.
  private var waiting: [ChunkID]
  private var underWay: Set<ChunkID> = []
  private var damaged: [ChunkID: Int] = [:]
  private var lastSign: ContinuousClock.Instant
  private var silencesInARow = 0
  /// How long to wait from one request to the next; zero for no limit.
  private let pause: Duration
  private var mayAsk: ContinuousClock.Instant

  /// - Parameters:
  ///   - chunks: What to pull, in this order.
  ///   - bytesPerSecond: How fast at most; nil for no limit.
  ///   - now: The time.
  init(_ chunks: [ChunkID], bytesPerSecond: Double?, now: ContinuousClock.Instant) {
    waiting = chunks.reversed()
    pause = bytesPerSecond.map { .seconds(Double(Limits.chunkBytes) / $0) } ?? .zero
    lastSign = now
    mayAsk = now
  }

  /// Whether all pieces are here.
  var isDone: Bool { waiting.isEmpty && underWay.isEmpty }

  /// Returns the piece to ask for now; nil if it is not yet time for one.
  mutating func next(at now: ContinuousClock.Instant) -> ChunkID? {
    guard underWay.count < Limits.pulls, now >= mayAsk, let id = waiting.popLast() else {
      return nil
    }
    underWay.insert(id)
    lastSign = now
    mayAsk = max(mayAsk, now - pause) + pause
    return id
  }

  /// Returns how long nothing will be to do unless something comes.
  func idleTime(at now: ContinuousClock.Instant) -> Duration {
    let most = Duration.milliseconds(100)
    guard underWay.count < Limits.pulls, !waiting.isEmpty else { return most }
    return min(most, max(.zero, mayAsk - now))
  }

  /// Notes that a piece has come.
  ///
  /// - Parameters:
  ///   - id: Which one.
  ///   - isWhole: Whether it has the right length and digest.
  ///   - now: The time.
  /// - Returns: Whether to keep it: nobody may have asked for it.
  /// - Throws: `WorkerError` if it came damaged too often.
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
        "piece \(id.chunk) of file \(id.file) came damaged \(Self.attempts) times: its bytes are not "
          + "those that the coordinator described; its model file may have changed since: start it "
          + "again"
      )
    }
    waiting.append(id)
    return false
  }

  /// Asks again for what nothing was heard of.
  ///
  /// - Throws: `WorkerError` if nothing has come for a long time.
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
