// Chooses the rows of the next micro-batch.
//
// Every session that can go on contributes rows: one while it decodes, before that a chunk of its
// prompt. Decoding sessions come first, because their users read along. Prompts get the remaining
// rows, a quarter of them at least, in one micro-batch at a time, so a long prompt delays the others
// by the time of one chunk at most. Within each kind the sessions take turns, the one that has waited longest first, and are
// divided evenly among the micro-batches that should be in flight: while prompts are read as many as there
// are stages, since prompts fill any step; while all sessions decode, the number that was measured
// as fastest.

internal import Gemma
internal import Wire

/// The rows of one session in a micro-batch.
package struct ScheduledRows: Sendable, Hashable {
  package var session: UInt64
  package var positions: Range<Int>
}

/// What measurements say about the size and number of micro-batches.
package struct Pace: Sendable, Hashable {
  /// How many micro-batches should be in flight while all streams decode.
  package var decodeDepth: Int
  /// The most rows of prompts in a micro-batch while other sessions decode.
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
  /// The most rows of a micro-batch whose logits evaluations want; the limit exists because logits
  /// are large.
  ///
  /// A generating session wants the logits of one row, and the number of sessions is limited.
  package let maxLogitsRows: Int
  package let stageCount: Int

  /// Bytes of biases and masks that a micro-batch may carry: with its rows they stay far below the limit of a
  /// header.
  ///
  /// A mask takes 32 KiB where the vocabulary has 262,144 tokens, so it is a hundred draws of such a model.
  package static let maxDrawBytes = 4 << 20

  /// One in so many rows of a micro-batch is kept for prompts, if there are any.
  private static let promptShare = 4

  package init(maxRows: Int, maxLogitsRows: Int, stageCount: Int) {
    self.maxRows = maxRows
    self.maxLogitsRows = maxLogitsRows
    self.stageCount = stageCount
  }

  /// Returns the next micro-batch; empty if no session can go on.
  ///
  /// - Parameters:
  ///   - sessions: The sessions that hold a slot, in the order of their turns.
  ///   - inFlight: How many micro-batches are in flight.
  ///   - readsPrompt: Whether one of those has rows of a prompt.
  ///   - pace: The current measurements.
  /// - Returns: Rows of different sessions, at most `maxRows` together.
  package func next(
    _ sessions: [Session],
    inFlight: Int,
    readsPrompt: Bool,
    pace: Pace
  ) -> [ScheduledRows] {
    // A user reads along with a session that decodes, now or with a row in flight: two chunks of
    // prompts in flight would delay it by twice the time of one.
    let isWatched = sessions.contains { $0.isGenerating && $0.pendingCount <= 1 }
    let ready = sessions.filter {
      $0.pendingCount > 0 && ($0.isDecoding || !isWatched || !readsPrompt)
    }
    let decoding = ready.filter(\.isDecoding)
    let others = ready.filter { !$0.isDecoding }
    let depth = others.isEmpty && !readsPrompt ? pace.decodeDepth : stageCount
    guard inFlight < depth, !ready.isEmpty else { return [] }
    // The ready sessions are divided among the micro-batches that may still be started.
    let groups = depth - inFlight
    let share = { (sessions: [Session]) in sessions.prefix(Self.part(sessions.count, of: groups)) }
    // Those whose prompts were read together would stay together, while other micro-batches have next to nothing. So
    // none takes more than its part of all that decode; who stays behind is first in line for the next.
    let decodingCount = decoding.count + sessions.count { $0.isGenerating && $0.pendingCount == 0 }
    let fair = Self.part(decodingCount, of: max(1, depth - (readsPrompt ? 1 : 0)))
    var room = Room(rows: maxRows, logitsRows: maxLogitsRows, drawBytes: Self.maxDrawBytes)
    var scheduled: [ScheduledRows] = []
    // Where more sessions decode than a micro-batch has rows, none would be left for prompts.
    let kept = others.isEmpty ? 0 : min(pace.promptRows, maxRows / Self.promptShare)
    room.rows -= kept
    for session in share(decoding).prefix(fair) {
      let positions = chunk(of: session, in: &room)
      guard !positions.isEmpty else { break }
      scheduled.append(ScheduledRows(session: session.id, positions: positions))
    }
    room.rows += kept
    if isWatched { room.rows = min(room.rows, pace.promptRows) }
    for session in share(others) {
      // Sums of several sessions could not be told apart.
      if session.goal.isObserved, !scheduled.isEmpty { break }
      let positions = chunk(of: session, in: &room)
      guard !positions.isEmpty else { break }
      scheduled.append(ScheduledRows(session: session.id, positions: positions))
      // If one message carried logits of several sessions, only counting rows could tell them
      // apart.
      if case .logits = session.goal { break }
      if session.goal.isObserved { break }
    }
    return scheduled
  }

  /// Returns the largest of so many even parts of a number.
  private static func part(_ count: Int, of partCount: Int) -> Int {
    (count + partCount - 1) / partCount
  }

  /// What a micro-batch still has room for.
  private struct Room {
    var rows: Int
    var logitsRows: Int
    var drawBytes: Int
  }

  /// Returns the session's next positions that fit into the rest of a micro-batch.
  private func chunk(of session: Session, in room: inout Room) -> Range<Int> {
    var end = session.submitted
    while end < session.tokens.count, room.rows > 0 {
      if session.goal.isEvaluation {
        if session.output(at: end) != .none, !session.goal.isObserved {
          guard room.logitsRows > 0 else { break }
          room.logitsRows -= 1
        }
      } else if end == session.tokens.count - 1 {
        guard room.drawBytes >= session.drawBytes else { break }
        room.drawBytes -= session.drawBytes
      }
      room.rows -= 1
      end += 1
    }
    return session.submitted..<end
  }
}

extension Scheduler {
  /// Returns the scheduler of a placement with so many stages, whose devices take so many rows.
  init(_ config: ModelConfig, _ limits: CoordinatorLimits, stepRows: Int, stageCount: Int) {
    self.init(
      maxRows: stepRows,
      maxLogitsRows: min(stepRows, max(1, limits.maxLogits / config.vocabularySize)),
      stageCount: stageCount
    )
  }
}
