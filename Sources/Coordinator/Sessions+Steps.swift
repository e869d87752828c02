// How rows of sessions get into a micro-batch: the scheduler chooses them, the step takes them along, and
// the flight remembers what it awaits. The planner's simulation starts its steps here, too.

internal import Wire

extension Sessions {
  /// Starts the next micro-batch, if the pipeline has room for one and a session can go on.
  ///
  /// - Parameters:
  ///   - scheduler: What chooses the rows.
  ///   - runnable: The sessions that may have some, in the order of their turns.
  ///   - flight: What is under way, and then the new micro-batch too.
  ///   - pace: What measurements say.
  ///   - epoch: The number of the placement that runs.
  ///   - now: The time.
  /// - Returns: The step to send; nil if there is none.
  mutating func startNext(
    _ scheduler: Scheduler,
    _ runnable: [Session],
    in flight: inout Flight,
    pace: Pace,
    epoch: UInt32,
    at now: ContinuousClock.Instant
  ) -> Step? {
    let scheduled = scheduler.next(
      runnable,
      inFlight: flight.count,
      readsPrompt: flight.readsPrompt,
      pace: pace
    )
    return scheduled.isEmpty ? nil : start(scheduled, in: &flight, epoch: epoch, at: now)
  }

  /// Starts a micro-batch of these rows, which may be none: then it only clears and copies slots.
  mutating func start(
    _ scheduled: [ScheduledRows],
    in flight: inout Flight,
    epoch: UInt32,
    at now: ContinuousClock.Instant
  ) -> Step {
    var rows: [StepRow] = []
    var readsPrompt = false
    for part in scheduled {
      guard let session = self[part.session], let slot = session.slot else { continue }
      if !session.isDecoding { readsPrompt = true }
      for position in part.positions {
        rows.append(
          StepRow(
            slot: slot,
            position: position,
            token: session.tokens[position],
            output: session.output(at: position),
            mask: session.mask(at: position)
          )
        )
      }
      submit(part)
    }
    let (cleared, forks) = takeSlotChanges()
    let wanted = rows.filter { $0.output != .none }
    let sequence = flight.start(
      MicroBatch(
        parts: scheduled,
        cleared: cleared,
        forks: forks,
        wanted: wanted.map { WantedRow($0) },
        readsPrompt: readsPrompt,
        logitsRows: wanted.count { $0.output == .logits },
        observesInputs: wanted.contains { $0.output == .inputs },
        sent: now
      )
    )
    return Step(
      epoch: epoch,
      sequence: sequence,
      cleared: cleared,
      forks: forks,
      rows: rows,
      stageMicroseconds: []
    )
  }
}
