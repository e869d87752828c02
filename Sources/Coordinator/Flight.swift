// The micro-batches under way: what each holds, in the order in which they were sent, and which of them a
// stage could not run. It knows neither workers nor clients, so that the coordinator and the planner's
// simulation keep their accounts with the same value.

internal import Wire

/// A row whose result is awaited.
struct WantedRow: Sendable, Hashable {
  var slot: Int
  var position: Int
  /// How many of the likeliest tokens the result names beside the drawn one's log probability; nil if it
  /// tells neither.
  var likeliestCount: Int?
  /// The tokens that may be its result; nil if all may.
  var mask: TokenMask?
  /// Whether its result are numbers, not a token drawn.
  var isEvaluated = false

  init(slot: Int, position: Int, likeliestCount: Int? = nil) {
    self.slot = slot
    self.position = position
    self.likeliestCount = likeliestCount
  }

  init(_ row: StepRow) {
    self.init(slot: row.slot, position: row.position)
    mask = row.mask
    guard case .sample(let sampling) = row.output else {
      isEvaluated = true
      return
    }
    if sampling.returnsLogProbabilities { likeliestCount = sampling.likeliest }
  }

  /// Whether a result is that of this row.
  func isAnswered(by result: RowResult) -> Bool {
    result.slot == slot && result.position == position
  }
}

/// A stage's report that a step has failed there.
struct StepFailure: Sendable {
  /// The worker that reports it.
  var worker: String
  var message: String
  /// The slots whose results are infinite or NaN; nil if the step failed for another reason.
  var notFiniteSlots: [Int]?
}

/// What a step under way holds.
struct MicroBatch: Sendable {
  var parts: [ScheduledRows]
  /// The slots that it clears before its rows run.
  var cleared: [Int]
  var forks: [Fork]
  /// The rows whose results are wanted, in order.
  var wanted: [WantedRow]
  /// Whether it has rows of sessions that do not decode yet.
  var readsPrompt: Bool
  /// How many of the wanted rows want their logits.
  var logitsRows = 0
  /// Whether one of them wants the sums of what products were given.
  var observesInputs = false
  var sent: ContinuousClock.Instant
  /// Set once a stage has said that it could not run it, while earlier steps are still awaited.
  var failure: StepFailure?
}

/// The micro-batches under way.
///
/// Invariants:
/// * Sequence numbers ascend in the order of sending, and each is below `nextSequence`: no number is ever
///   given twice, so a result that comes late or again finds nothing here.
/// * A session's rows are under way in the order of their positions.
/// * `promptBatchCount` is how many have rows of a prompt.
///
/// There are at most twice as many as stages, so a search through all of them is cheaper than a table.
struct Flight: Sendable {
  private struct Entry: Sendable {
    let sequence: UInt64
    var batch: MicroBatch
  }

  private var entries: [Entry] = []
  private var promptBatchCount = 0
  /// The number that the next step gets.
  private(set) var nextSequence: UInt64 = 1

  var count: Int { entries.count }
  var isEmpty: Bool { entries.isEmpty }

  /// Whether one of them has rows of a prompt.
  var readsPrompt: Bool { promptBatchCount > 0 }

  /// When the oldest was sent; nil if none is under way.
  var oldestSent: ContinuousClock.Instant? { entries.first?.batch.sent }

  /// The numbers of the steps under way, the oldest first.
  var sequences: [UInt64] { entries.map(\.sequence) }

  /// The micro-batch with this number; nil if it is not under way.
  subscript(sequence: UInt64) -> MicroBatch? { index(of: sequence).map { entries[$0].batch } }

  func contains(_ sequence: UInt64) -> Bool { index(of: sequence) != nil }

  private func index(of sequence: UInt64) -> Int? {
    entries.firstIndex { $0.sequence == sequence }
  }

  // MARK: What happens to steps

  /// Puts a micro-batch under way and returns its number.
  mutating func start(_ batch: MicroBatch) -> UInt64 {
    defer { nextSequence += 1 }
    entries.append(Entry(sequence: nextSequence, batch: batch))
    if batch.readsPrompt { promptBatchCount += 1 }
    return nextSequence
  }

  /// Removes a micro-batch whose results have come, or that nobody waits for any more.
  mutating func finish(_ sequence: UInt64) -> MicroBatch? {
    guard let index = index(of: sequence) else { return nil }
    let batch = entries.remove(at: index).batch
    if batch.readsPrompt { promptBatchCount -= 1 }
    return batch
  }

  /// Notes that a stage could not run a micro-batch.
  mutating func fail(_ sequence: UInt64, _ failure: StepFailure) {
    guard let index = index(of: sequence) else { return }
    entries[index].batch.failure = failure
  }

  /// Returns an earlier step under way that has rows of the same session; nil if there is none.
  ///
  /// Steps pass the stages in order, so that one was lost, or its failure is still on the way. A stage
  /// without keys and values does not notice the gap.
  func stepOvertaken(by sequence: UInt64) -> UInt64? {
    guard let parts = self[sequence]?.parts else { return nil }
    // Most results are those of the oldest step, and this is asked of every one.
    return entries.prefix { $0.sequence < sequence }.first { earlier in
      earlier.batch.parts.contains { part in parts.contains { $0.session == part.session } }
    }?.sequence
  }

  /// The oldest micro-batch, if it has failed.
  ///
  /// A failed micro-batch waits for the earlier ones. Each worker has a connection of its own, so
  /// the report of an earlier failure may come later. And after a lost step, the next ones fail
  /// because of the gap, and not through a fault of their own.
  var oldestFailure: (sequence: UInt64, batch: MicroBatch, failure: StepFailure)? {
    guard let oldest = entries.first, let failure = oldest.batch.failure else { return nil }
    return (oldest.sequence, oldest.batch, failure)
  }

  /// Gives up all that is under way and returns it, the oldest first.
  @discardableResult
  mutating func abandonAll() -> [MicroBatch] {
    defer {
      entries = []
      promptBatchCount = 0
    }
    return entries.map(\.batch)
  }

  // MARK: Whose rows are under way

  /// The sessions that have rows under way, each with the first position of them, by number.
  var firstPositions: [(session: UInt64, position: Int)] {
    var first: [UInt64: Int] = [:]
    for entry in entries {
      for part in entry.batch.parts where !part.positions.isEmpty {
        let position = part.positions.lowerBound
        first[part.session] = min(first[part.session] ?? position, position)
      }
    }
    return first.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// Whether no other session has rows under way.
  func holdsNobody(but session: UInt64) -> Bool {
    entries.allSatisfy { $0.batch.parts.allSatisfy { $0.session == session } }
  }

  /// How many rows of logits the micro-batches will bring in which any of these sessions has rows.
  func logitsRows(of isIncluded: (UInt64) -> Bool) -> Int {
    entries.reduce(0) { sum, entry in
      entry.batch.parts.contains { isIncluded($0.session) } ? sum + entry.batch.logitsRows : sum
    }
  }
}

extension Flight {
  /// - Throws: `BrokenInvariant` with the first promise of the type that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    let sequences = sequences
    try require(
      zip(sequences, sequences.dropFirst()).allSatisfy { $0 < $1 }
        && sequences.last ?? 0 < nextSequence,
      "steps \(sequences) are under way, the next is \(nextSequence)"
    )
    let prompts = entries.count { $0.batch.readsPrompt }
    try require(
      prompts == promptBatchCount,
      "\(promptBatchCount) micro-batches count as reading prompts, \(prompts) do"
    )
    var ends: [UInt64: Int] = [:]
    for part in entries.flatMap(\.batch.parts) {
      try require(
        ends[part.session] ?? 0 <= part.positions.lowerBound,
        "session \(part.session) goes back to \(part.positions.lowerBound) in a later step, "
          + "from \(ends[part.session] ?? 0)"
      )
      ends[part.session] = part.positions.upperBound
    }
  }
}
