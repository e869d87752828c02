// Handles steps whose results contain an infinity or a NaN. The cause is the model, or a cache
// whose type is too narrow for it, so the same would happen again. Therefore no worker is blamed,
// and the sessions concerned are not replayed.

internal import Wire

extension CoordinatorMachine {
  /// Ends the sessions whose results are infinite or NaN, and replays the others.
  mutating func endNotFinite(
    _ slots: [Int],
    _ sequence: UInt64,
    _ batch: MicroBatch,
    _ failure: StepFailure
  ) {
    let ended = batch.parts.filter { part in
      sessions[part.session]?.slot.map(slots.contains) ?? false
    }
    // Slots of a session that has ended since belong to nobody.
    let areAllHere = batch.parts.allSatisfy { sessions[$0.session] != nil }
    guard !ended.isEmpty || !areAllHere else {
      evict(
        failure.worker,
        "step \(sequence) has no row in any of the slots \(slots) that it says failed"
      )
      return
    }
    _ = flight.finish(sequence)
    let reason =
      "the model's numbers are infinite or NaN: worker \(failure.worker), \(failure.message)"
    for part in ended { fail(part.session, .internal, reason) }
    // The contents of the slots are forgotten, too, so that no later session resumes from them.
    sessions.rewind(flight.abandonAll() + [batch])
  }
}
