// Chooses the rows of the next micro-batch.
//
// Every session that can go on contributes: one row while it decodes, a chunk of its prompt before.
// Those that decode come first, since somebody reads along; prompts get the rows that are left, in one
// micro-batch at a time, so a long one costs the others the time of a chunk and no more. Among their
// kind the sessions are taken in turn, the one that waited longest first, and shared out over the
// micro-batches that shall be under way: as many as there are stages while prompts are read, since those
// fill any step; as many as measured best while all decode.

internal import Wire

/// The rows of one session in a micro-batch.
package struct ScheduledRows: Sendable, Hashable {
  package var session: UInt64
  package var positions: Range<Int>
}

/// What measurements say about the next micro-batches.
package struct Pace: Sendable, Hashable {
  /// How many shall be under way while all streams decode.
  package var decodeDepth: Int
  /// The most rows of prompts in a micro-batch while others decode.
  package var promptRows: Int

  package init(decodeDepth: Int, promptRows: Int) {
    self.decodeDepth = decodeDepth
    self.promptRows = promptRows
  }
}

/// Chooses micro-batches.
package struct Scheduler: Sendable {
  /// The most rows a micro-batch may have.
  package let maxRows: Int
  /// The most rows of a micro-batch that evaluations want logits of: they are large.
  ///
  /// Generating sessions want one row each, and there are only so many.
  package let maxLogitsRows: Int
  package let stageCount: Int

  package init(maxRows: Int, maxLogitsRows: Int, stageCount: Int) {
    self.maxRows = maxRows
    self.maxLogitsRows = maxLogitsRows
    self.stageCount = stageCount
  }

  /// Returns the next micro-batch, empty if nothing can go on.
  ///
  /// - Parameters:
  ///   - sessions: Those that hold a slot, in the order of their turns.
  ///   - inFlight: How many micro-batches are under way.
  ///   - readsPrompt: Whether one of them has rows of a prompt.
  ///   - pace: What measurements say.
  /// - Returns: Rows of different sessions, at most `maxRows` together.
  package func next(
    _ sessions: [Session],
    inFlight: Int,
    readsPrompt: Bool,
    pace: Pace
  ) -> [ScheduledRows] {
    // Somebody reads along, if not in this micro-batch then behind it: two chunks under way would cost
    // twice the time of one.
    let isWatched = sessions.contains { $0.isGenerating && $0.pendingCount <= 1 }
    let ready = sessions.filter {
      $0.pendingCount > 0 && ($0.isDecoding || !isWatched || !readsPrompt)
    }
    let decoding = ready.filter(\.isDecoding)
    let others = ready.filter { !$0.isDecoding }
    let depth = others.isEmpty && !readsPrompt ? pace.decodeDepth : stageCount
    guard inFlight < depth, !ready.isEmpty else { return [] }
    // What is ready now is shared with the micro-batches that may still be started.
    let groups = depth - inFlight
    let share = { (sessions: [Session]) in
      sessions.prefix((sessions.count + groups - 1) / groups)
    }
    var rows = maxRows
    var logitsRows = maxLogitsRows
    var scheduled: [ScheduledRows] = []
    for session in share(decoding) {
      let positions = chunk(of: session, rows: &rows, logitsRows: &logitsRows)
      guard !positions.isEmpty else { break }
      scheduled.append(ScheduledRows(session: session.id, positions: positions))
    }
    if isWatched { rows = min(rows, pace.promptRows) }
    for session in share(others) {
      let positions = chunk(of: session, rows: &rows, logitsRows: &logitsRows)
      guard !positions.isEmpty else { break }
      scheduled.append(ScheduledRows(session: session.id, positions: positions))
      // Logits of several sessions in one message would be told apart only by counting rows.
      if case .logits = session.goal { break }
    }
    return scheduled
  }

  /// Returns the session's next positions that fit what is left of a micro-batch.
  private func chunk(of session: Session, rows: inout Int, logitsRows: inout Int) -> Range<Int> {
    var end = session.submitted
    while end < session.tokens.count, rows > 0 {
      if session.goal.isEvaluation, session.output(at: end) != .none {
        guard logitsRows > 0 else { break }
        logitsRows -= 1
      }
      rows -= 1
      end += 1
    }
    return session.submitted..<end
  }
}
