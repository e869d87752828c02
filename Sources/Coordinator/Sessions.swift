// The sessions with their slots: who waits, who holds which slot and whose turn it is, and what the next
// step must clear and copy in the KV caches. It knows neither workers nor the clients' messages, so that
// the coordinator and the planner's simulation schedule with the same value. Sessions+Steps.swift has
// what steps do to them.

internal import Wire

/// The sessions that wait or are served.
///
/// Invariants:
/// * Each session either waits in the queue, or holds a slot and has one turn.
/// * Each slot of the KV caches is held by one session or free in the table, never both.
/// * What the next step clears and copies are slots that exist, and what it fills is held by a session.
/// * A session has submitted no more than it has tokens, and its rings have come at least as far.
struct Sessions: Sendable {
  private var table: [UInt64: Session] = [:]
  /// Sessions that hold a slot, the one that waited longest for its rows first.
  private(set) var turns: [UInt64] = []
  /// Sessions that wait for a slot, and how many slots each asker holds.
  private(set) var queue = SessionQueue()
  private var slots: SlotTable
  private let slotCount: Int
  private let sharing: PrefixSharing
  /// Prefixes that the next step takes over.
  private var pendingForks: [Fork] = []
  /// Slots that the next step clears.
  private var slotsToClear: [Int] = []
  private var lastNumber: UInt64 = 0

  init(slotCount: Int, rule: PrefixRule, sharing: PrefixSharing) {
    slots = SlotTable(count: slotCount, rule: rule)
    self.slotCount = slotCount
    self.sharing = sharing
  }

  // MARK: Who is here

  var count: Int { table.count }
  var isEmpty: Bool { table.isEmpty }

  /// The numbers of all sessions, in the order in which they came.
  var numbers: [UInt64] { table.keys.sorted() }

  /// The session with this number; nil if it is over.
  subscript(number: UInt64) -> Session? { table[number] }

  /// The sessions that hold a slot, in the order of their turns.
  var running: [Session] { turns.compactMap { table[$0] } }

  /// Slots that a session can have.
  var freeSlots: [Int] { slots.free }

  /// Whether no session can have a slot.
  var isFull: Bool { slots.isFull }

  // MARK: A session's life

  /// Returns the number of a session to come.
  mutating func takeNumber() -> UInt64 {
    lastNumber += 1
    return lastNumber
  }

  /// Lets a session wait for a slot.
  mutating func open(_ session: Session, of peer: PeerID) {
    table[session.id] = session
    queue.append(session.id, of: peer)
  }

  /// Gives a waiting session a slot, with the prefix that it shares with others.
  ///
  /// - Returns: False if it cannot have one now: those that are free are about to be copied from.
  mutating func admit(_ number: UInt64) -> Bool {
    guard let session = table[number], session.slot == nil else { return false }
    let live = running.compactMap {
      other -> (slot: Int, tokens: ArraySlice<Int32>, reached: Int)? in
      guard let slot = other.slot, other.prefixGroup == session.prefixGroup else { return nil }
      return (slot, other.tokens.prefix(other.submitted), other.reached)
    }
    // An evaluation wants every position's output, a generation its last token's.
    let sharesNothing = session.goal.isEvaluation || sharing == .none
    let taken = slots.take(
      for: session.tokens,
      of: session.prefixGroup,
      most: sharesNothing ? 0 : session.tokens.count - 1,
      live: live,
      reserved: Set(pendingForks.map(\.source))
    )
    guard let taken else { return false }
    if taken.mustClear { slotsToClear.append(taken.slot) }
    if let fork = taken.fork { pendingForks.append(fork) }
    queue.admit(number)
    turns.append(number)
    table[number]?.begin(in: taken.slot, prefix: taken.prefix, reached: taken.reached)
    return true
  }

  /// Counts rows of a session as under way; its next turn comes after everybody else's.
  mutating func submit(_ rows: ScheduledRows) {
    table[rows.session]?.submit(upTo: rows.positions.upperBound)
    turns.removeAll { $0 == rows.session }
    turns.append(rows.session)
  }

  /// Changes what has come of a session; its slot and turn are changed here alone.
  @discardableResult
  mutating func update<Answer>(
    _ number: UInt64,
    _ change: (inout Session) -> Answer
  ) -> Answer? {
    guard let index = table.index(forKey: number) else { return nil }
    // In place: a copy would copy the tokens, for each token that is added.
    return change(&table.values[index])
  }

  /// Forgets a session and gives its slot back, with what it holds for a request that begins alike.
  ///
  /// Steps under way that hold its rows still run; whoever gets the slot comes behind them, because
  /// steps arrive in order.
  mutating func end(_ number: UInt64, at now: ContinuousClock.Instant) {
    guard let session = table.removeValue(forKey: number) else { return }
    turns.removeAll { $0 == number }
    queue.remove(number)
    guard let slot = session.slot else { return }
    slots.giveBack(
      slot,
      holding: Array(session.tokens.prefix(dropFork(into: slot) ?? session.submitted)),
      of: session.prefixGroup,
      reached: session.reached,
      at: now
    )
  }

  /// Forgets the prefix that a slot was to take over: its session is over before a step could do so.
  ///
  /// Else the slot it comes from would be kept for a step that nobody needs, and what is cleared meanwhile
  /// would be filled again. Who was to take over from this slot does so from where its prefix comes from.
  ///
  /// - Returns: How many positions the slot holds without it; nil if it was to take over none.
  private mutating func dropFork(into slot: Int) -> Int? {
    guard let index = pendingForks.firstIndex(where: { $0.target == slot }) else { return nil }
    let fork = pendingForks.remove(at: index)
    for later in pendingForks.indices where pendingForks[later].source == slot {
      pendingForks[later].source = fork.source
    }
    return fork.source == slot ? fork.positionCount : 0
  }
}

// MARK: - What the stages hold

extension Sessions {
  /// Whether the next step has slots to clear.
  var hasSlotsToClear: Bool { !slotsToClear.isEmpty }

  /// Whether the next step has prefixes to take over.
  var hasPendingForks: Bool { !pendingForks.isEmpty }

  /// Returns what the next step must clear and copy, and counts on its doing so.
  mutating func takeSlotChanges() -> (cleared: [Int], forks: [Fork]) {
    defer {
      slotsToClear = []
      pendingForks = []
    }
    return (slotsToClear, pendingForks)
  }

  /// Has the next step clear the slots of sessions that are long over.
  mutating func forgetPrefixes(unusedSince limit: ContinuousClock.Instant) {
    slotsToClear += slots.forget(unusedSince: limit)
  }

  /// Notes that the stages hold nothing of free slots any more, and owe no clearing and copying: their
  /// caches are new ones, into which only live sessions were moved.
  mutating func forgetFreeSlots() {
    slotsToClear = []
    pendingForks = []
    _ = slots.forget()
  }

  /// Notes that the stages hold nothing at all any more: the live sessions are replayed from their tokens.
  mutating func rewindAll() {
    forgetFreeSlots()
    for number in turns { update(number) { $0.rewind() } }
  }

  /// Replays the sessions of micro-batches that were given up.
  ///
  /// The stages behind the one that failed have not seen the failed step: not its rows, which later
  /// steps may continue, nor the slots it cleared. So later steps may fail as well, through no fault
  /// of theirs.
  mutating func rewind(_ batches: [MicroBatch]) {
    var lost = Set(slotsToClear + slots.forget())
    for batch in batches {
      lost.formUnion(batch.cleared)
      lost.formUnion(batch.parts.compactMap { table[$0.session]?.slot })
    }
    // A prefix may have been taken from any of them.
    if !pendingForks.isEmpty || batches.contains(where: { !$0.forks.isEmpty }) {
      lost.formUnion(0..<slotCount)
    }
    pendingForks = []
    slotsToClear = lost.sorted()
    for number in turns {
      if let slot = table[number]?.slot, lost.contains(slot) { update(number) { $0.rewind() } }
    }
  }
}

extension Sessions {
  /// - Throws: `BrokenInvariant` with the first promise of the type that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    try require(
      Set(turns).count == turns.count && turns.count + queue.count == table.count,
      "\(table.count) sessions have the turns \(turns), \(queue.count) wait"
    )
    try queue.checkInvariants(holding: turns)
    for session in table.values {
      let (number, slot) = (session.id, session.slot)
      try require(
        turns.contains(number) == (slot != nil) && (queue.place(of: number) > 0) == (slot == nil),
        "session \(number) has slot \(slot.map(String.init) ?? "none"), place "
          + "\(queue.place(of: number)) in the queue and the turns are \(turns)"
      )
      try require(
        (0...session.tokens.count).contains(session.submitted)
          && session.submitted <= session.reached && session.completed <= session.tokens.count
          && (slot != nil || session.reached == 0),
        "session \(number) has \(session.tokens.count) tokens, submitted \(session.submitted), "
          + "reached \(session.reached), completed \(session.completed)"
      )
    }
    let held = table.values.compactMap(\.slot)
    try require(
      (held + slots.free).sorted() == Array(0..<slotCount),
      "of \(slotCount) slots \(held.sorted()) are held and \(slots.free.sorted()) are free"
    )
    let named = slotsToClear + pendingForks.flatMap { [$0.source, $0.target] }
    try require(
      named.allSatisfy((0..<slotCount).contains),
      "the next step clears or copies the slots \(named) of \(slotCount)"
    )
    try require(
      pendingForks.allSatisfy { held.contains($0.target) },
      "the next step fills \(pendingForks.map(\.target)), of which sessions hold \(held.sorted())"
    )
  }
}
