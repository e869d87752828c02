// Pulls the model from the coordinator, on a connection of its own, so that heartbeats and steps do
// not queue behind weights.

internal import Logging
internal import Platform
internal import Wire

/// What a pull has transferred.
struct PullTally: Sendable {
  var byteCount = 0
  var chunkCount = 0
}

/// Pulls weights from a coordinator.
struct WeightsPuller: Sendable {
  let coordinator: Endpoint
  let security: Security
  let bytesPerSecond: Double?
  let logger: Logger

  /// The timeout for a coordinator's description of its model.
  private static let patience = Duration.seconds(30)
  /// How often the request is repeated, because the coordinator may have restarted.
  private static let askAgain = Duration.seconds(2)
  /// How often a long pull logs its progress.
  private static let reportInterval = Duration.seconds(5)
  /// How much the coordinator's progress must grow before it is logged again.
  private static let reportShare = 0.1
  /// How long the last receipts may take to be sent.
  private static let farewell = Duration.milliseconds(500)

  /// Returns the description of the model that the coordinator serves.
  ///
  /// - Parameter check: Called several times a second; may throw to stop.
  /// - Returns: The model's name, fingerprint and files.
  /// - Throws: What `check` throws; `WorkerError` after a timeout or a refusal.
  func describe(check: () throws -> Void) throws -> ModelDescription {
    try withSocket { socket in
      var clock = AwakeClock(now: .now)
      var heard = clock.read(.now)
      var asked: ContinuousClock.Instant?
      var told = -Self.reportShare
      while true {
        let now = clock.read(.now)
        guard now - heard < Self.patience else {
          throw WorkerError(
            .unreachable,
            "no answer from the coordinator in \(Self.patience); is one running at this endpoint?"
          )
        }
        if asked.map({ now - $0 > Self.askAgain }) ?? true {
          _ = try socket.send(.describeModel(DescribeModel()))
          asked = now
        }
        _ = try poll(sockets: [socket], timeout: .milliseconds(100))
        try check()
        while let received = try socket.receive() {
          switch try received.content.get().message {
          case .modelDescription(let description): return description
          case .modelPending(let pending):
            heard = now
            guard pending.fraction - told >= Self.reportShare else { break }
            told = pending.fraction
            logger.info(
              "the coordinator reads its model to describe it",
              metadata: ["percent": "\(Int(min(1, max(0, told)) * 100))"]
            )
          case .pullFailed(let failure): throw Self.refused(failure)
          default: break
          }
        }
      }
    }
  }

  /// Pulls pieces into the cache.
  ///
  /// - Parameters:
  ///   - chunks: The pieces, in this order.
  ///   - cache: Where they are stored.
  ///   - check: Called several times a second; may throw to stop.
  ///   - progress: Called with each piece.
  /// - Returns: What was transferred.
  /// - Throws: What `check` throws; `WorkerError` if the coordinator does not send the pieces, or
  ///   they cannot be stored. What has arrived by then stays in the cache.
  func pull(
    _ chunks: [ChunkID],
    into cache: ModelCache,
    check: () throws -> Void,
    progress: () -> Void
  ) throws -> PullTally {
    var tally = PullTally()
    let total = chunks.reduce(0) { $0 + cache.byteCount($1) }
    try cache.reserve(total)
    try withSocket { socket in
      let began = ContinuousClock.now
      var reported = began
      var schedule = PullSchedule(chunks, bytesPerSecond: bytesPerSecond, now: began)
      while !schedule.isDone {
        while let id = schedule.next(at: .now) {
          // If the queue is full, the request counts as lost and is repeated after the timeout.
          _ = try socket.send(.pull(Pull(model: cache.description.model, id: id)))
        }
        _ = try poll(sockets: [socket], timeout: schedule.idleTime(at: .now))
        try check()
        // The limit is the number of pieces that the coordinator sends before it waits for
        // receipts.
        var receipts: [UInt64] = []
        while receipts.count < Limits.pulls, let received = try socket.receive() {
          if case .success((.chunk(let chunk), _)) = received.content {
            receipts.append(chunk.receipt)
          }
          guard try take(received, &schedule, cache, &tally) else { continue }
          progress()
        }
        if !receipts.isEmpty {
          _ = try socket.send(.pullReceipt(PullReceipt(receipts: receipts)))
        }
        try schedule.tick(at: .now)
        if ContinuousClock.now - reported > Self.reportInterval {
          reported = .now
          report("pulling weights", tally, of: total, since: began)
        }
      }
    }
    return tally
  }

  /// Handles a received message; returns true if it is a piece that was requested and is undamaged.
  private func take(
    _ received: Received,
    _ schedule: inout PullSchedule,
    _ cache: ModelCache,
    _ tally: inout PullTally
  ) throws -> Bool {
    switch received.content {
    case .success((.chunk(let chunk), _)):
      let files = cache.description.files
      guard chunk.id.file < files.count, files[chunk.id.file].holds(chunk.id) else {
        logger.warning("dropped weights that were not requested")
        return false
      }
      let isWhole = cache.isRight(chunk.data, chunk.id)
      if !isWhole {
        logger.warning(
          "dropped damaged weights",
          metadata: ["file": "\(files[chunk.id.file].name)", "piece": "\(chunk.id.chunk)"]
        )
      }
      guard try schedule.received(chunk.id, isWhole: isWhole, at: .now) else { return false }
      try cache.store(chunk)
      tally.byteCount += chunk.data.count
      tally.chunkCount += 1
      return true
    case .success((.pullFailed(let failure), _)): throw Self.refused(failure)
    case .success((let message, _)):
      logger.warning("dropped an unexpected message", metadata: ["message": "\(message.name)"])
    case .failure(let error):
      logger.warning("malformed message dropped", metadata: ["reason": "\(error)"])
    }
    return false
  }

  /// Logs how far a pull is, and how fast.
  func report(
    _ phrase: Logger.Message,
    _ tally: PullTally,
    of total: Int,
    since began: ContinuousClock.Instant
  ) {
    let seconds = max(1e-3, (ContinuousClock.now - began) / .seconds(1))
    logger.info(
      phrase,
      metadata: [
        "bytes": "\(tally.byteCount)", "of": "\(total)",
        "bytes_per_second": "\(Int(Double(tally.byteCount) / seconds))",
      ]
    )
  }

  private static func refused(_ failure: PullFailed) -> WorkerError {
    WorkerError(.weights, "the coordinator refuses to send weights: \(failure.message)")
  }

  /// Runs the body with a connection that is closed afterwards.
  private func withSocket<Result>(_ body: (Socket) throws -> Result) throws -> Result {
    let context = try ZeroMQContext()
    defer { context.close() }
    var options = try security.options(.control, connectingToCoordinator: coordinator)
    options.linger = Self.farewell
    let socket = try Socket(context, role: .dealer, options: options)
    defer { socket.close() }
    try socket.connect(coordinator)
    return try body(socket)
  }
}
