// What is done about a step whose numbers are none any more: an infinity or a NaN comes from the model, or
// from a cache that is too narrow for it, and would come again. So no worker is blamed, and nothing of it
// is replayed.

internal import Wire

extension CoordinatorMachine {
  /// Ends the sessions whose results are no finite numbers, and replays the others.
  mutating func endNotFinite(
    _ slots: [Int],
    _ sequence: UInt64,
    _ batch: MicroBatch,
    _ failure: StepFailure
  ) {
    let ended = batch.parts.filter { part in
      sessions[part.session]?.slot.map(slots.contains) ?? false
    }
    // Those of a session that has ended since are nobody's.
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
    // What the slots hold is forgotten with all else, so that nobody goes on from it.
    sessions.rewind(flight.abandonAll() + [batch])
  }
}
