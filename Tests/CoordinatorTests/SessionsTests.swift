// The sessions with their slots, as a value of their own: no worker, no client, no clock.

import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Sessions and their slots` {
  private let now = ContinuousClock.now
  private let scheduler = Scheduler(maxRows: 4, maxLogitsRows: 4, stageCount: 2)
  private let pace = Pace(decodeDepth: 2, promptRows: 4)

  private func sessions(
    slots: Int = 2,
    sharing: PrefixSharing = .all
  ) -> Sessions {
    Sessions(slotCount: slots, rule: PrefixRule(rings: []), sharing: sharing)
  }

  @discardableResult
  private func open(
    _ sessions: inout Sessions,
    _ tokens: [Int32],
    _ goal: SessionGoal? = nil,
    client: UInt8 = 1
  ) -> UInt64 {
    let number = sessions.takeNumber()
    let generation = SessionGoal.generate(
      sampling: Harness.sampling(),
      maxTokens: 9,
      ignoresEndOfTurn: false
    )
    let session = Session(
      id: number,
      goal: goal ?? generation,
      tokens: tokens
    )
    sessions.open(session, of: PeerID([client]))
    return number
  }

  private func admit(_ sessions: inout Sessions, _ number: UInt64) -> Bool {
    sessions.admit(number)
  }

  private func startNext(_ sessions: inout Sessions, _ flight: inout Flight) -> Step? {
    sessions.startNext(scheduler, sessions.running, in: &flight, pace: pace, epoch: 7, at: now)
  }

  @Test func `a session waits, holds a slot in turn, and leaves it to the next`() throws {
    var (sessions, flight) = (sessions(slots: 1), Flight())
    let first = open(&sessions, [1, 2, 3])
    let second = open(&sessions, [4])
    #expect(sessions.numbers == [first, second] && sessions.turns.isEmpty)
    #expect(sessions.queue.place(of: second) == 2)
    #expect(admit(&sessions, first))
    #expect(sessions.isFull)
    // It has a slot already, and nobody else can have one.
    for number in [first, second] { #expect(!admit(&sessions, number)) }
    let step = try #require(startNext(&sessions, &flight))
    #expect(step.epoch == 7 && step.rows.map(\.position) == [0, 1, 2] && step.cleared.isEmpty)
    #expect(flight[step.sequence]?.wanted == [WantedRow(slot: 0, position: 2)])
    #expect(startNext(&sessions, &flight) == nil)
    sessions.end(first, at: now)
    #expect(sessions[first] == nil && sessions.freeSlots == [0])
    #expect(admit(&sessions, second))
    // What the slot held is of no use to the second, and cleared before its rows.
    let next = try #require(startNext(&sessions, &flight))
    #expect(next.cleared == [0])
    try sessions.checkInvariants()
  }

  @Test func `turns go round, so that nobody is passed over`() throws {
    var (sessions, flight) = (sessions(slots: 3), Flight())
    for token in Int32(1)...3 {
      let number = open(&sessions, [token])
      #expect(admit(&sessions, number))
    }
    let order = sessions.turns
    let step = try #require(startNext(&sessions, &flight))
    // Half of them, since two micro-batches may be under way.
    #expect(step.rows.map(\.token) == [1, 2])
    #expect(sessions.turns == [order[2], order[0], order[1]])
  }

  @Test func `a prefix is taken over by the next step, or not at all if it is not shared`() throws {
    for sharing in PrefixSharing.allCases {
      var (sessions, flight) = (sessions(sharing: sharing), Flight())
      let first = open(&sessions, [1, 2, 3])
      #expect(admit(&sessions, first))
      _ = startNext(&sessions, &flight)
      let second = open(&sessions, [1, 2, 9])
      let third = open(&sessions, [1, 2, 9], .logits)
      #expect(admit(&sessions, second))
      #expect(!admit(&sessions, third))
      #expect(sessions.hasPendingForks == (sharing != .none))
      let step = try #require(startNext(&sessions, &flight))
      let fork = Fork(source: 0, target: 1, positionCount: 2)
      #expect(step.forks == (sharing == .none ? [] : [fork]) && !sessions.hasPendingForks)
      #expect(step.rows.first?.position == (sharing == .none ? 0 : 2))
    }
  }

  /// Opens sessions and lets them have rows and end, so that their slots are warm.
  private func warm(_ sessions: inout Sessions, _ flight: inout Flight, _ prompts: [[Int32]]) {
    for prompt in prompts { #expect(admit(&sessions, open(&sessions, prompt))) }
    while let step = startNext(&sessions, &flight) { _ = flight.finish(step.sequence) }
    for number in sessions.turns { sessions.end(number, at: now) }
  }

  @Test func `who ends before the next step keeps no slot for it`() throws {
    var (sessions, flight) = (sessions(slots: 2), Flight())
    warm(&sessions, &flight, [[1, 2, 3, 4], [5, 6, 7]])
    // Both would go on in their warm slots, and end before they do.
    for prompt: [Int32] in [[1, 2, 3, 9], [5, 6, 9]] {
      let number = open(&sessions, prompt)
      #expect(admit(&sessions, number) && sessions.hasPendingForks)
      sessions.end(number, at: now)
    }
    try sessions.checkInvariants()
    #expect(!sessions.hasPendingForks)
    // What they would have taken over is still there, and no more than that.
    let next = open(&sessions, [1, 2, 3, 4, 8])
    #expect(admit(&sessions, next))
    #expect(sessions[next]?.submitted == 3)
    let other = open(&sessions, [8, 8])
    #expect(admit(&sessions, other))
    let step = try #require(startNext(&sessions, &flight))
    #expect(step.forks.map(\.positionCount) == [3])
    #expect(step.cleared == [try #require(sessions[other]?.slot)])
  }

  @Test func `a prefix comes from where it was, if the slot between is not filled`() throws {
    var (sessions, flight) = (sessions(slots: 3), Flight())
    let first = open(&sessions, [1, 2, 3, 4])
    #expect(admit(&sessions, first))
    _ = try #require(startNext(&sessions, &flight))
    let second = open(&sessions, [1, 2, 3, 5])
    #expect(admit(&sessions, second))
    let third = open(&sessions, [1, 2, 3, 6])
    #expect(admit(&sessions, third))
    let source = try #require(sessions[first]?.slot)
    let between = try #require(sessions[second]?.slot)
    sessions.end(second, at: now)
    try sessions.checkInvariants()
    let step = try #require(startNext(&sessions, &flight))
    #expect(step.forks.map(\.source) == [source])
    #expect(step.forks.map(\.target) == [try #require(sessions[third]?.slot)])
    // The slot between holds nothing, so nobody takes anything over from it.
    let last = open(&sessions, [7, 8])
    #expect(admit(&sessions, last) && sessions[last]?.slot == between)
    #expect(!sessions.hasPendingForks && !sessions.hasSlotsToClear)
  }

  @Test func `what a failed step leaves behind is computed again`() throws {
    var (sessions, flight) = (sessions(slots: 3), Flight())
    let numbers = [[1, 2], [3, 4]].map { open(&sessions, $0) }
    for number in numbers { #expect(admit(&sessions, number)) }
    let step = try #require(startNext(&sessions, &flight))
    #expect(step.rows.map(\.token) == [1, 2])
    // The step that is given up has rows of the first alone: the second goes on where it is.
    let failed = try #require(flight[step.sequence])
    _ = flight.finish(step.sequence)
    _ = startNext(&sessions, &flight)
    let other = try #require(flight.sequences.first.flatMap { flight[$0] })
    sessions.rewind([failed])
    #expect(sessions[numbers[0]]?.submitted == 0 && sessions[numbers[1]]?.submitted == 2)
    #expect(sessions.takeSlotChanges().cleared == [0])
    // A prefix may have been copied from any slot: then all begin anew.
    var forked = other
    forked.forks = [Fork(source: 2, target: 1, positionCount: 1)]
    sessions.rewind([forked])
    #expect(sessions[numbers[1]]?.submitted == 0)
    #expect(sessions.takeSlotChanges().cleared == [0, 1, 2])
    sessions.rewindAll()
    #expect(!sessions.hasSlotsToClear)
  }

  @Test(.seeded(default: 29)) func `whatever happens, slots and turns agree`() throws {
    var random = SeededRandom(testSeed(default: 29))
    for _ in 0..<fuzzIterations(default: 60) {
      let slots = Int.random(in: 1...4, using: &random)
      var (sessions, flight) = (sessions(slots: slots), Flight())
      for second in 0..<60 {
        let time = now + .seconds(second)
        switch Int.random(in: 0..<9, using: &random) {
        case 0...1:
          let tokens = (0..<Int.random(in: 1...5, using: &random)).map { _ in
            Int32.random(in: 0...1, using: &random)
          }
          open(&sessions, tokens, client: UInt8.random(in: 1...2, using: &random))
        case 2...3:
          if let next = sessions.queue.next(mayRun: { _ in true }) { _ = sessions.admit(next) }
        case 4...5: _ = startNext(&sessions, &flight)
        case 6:
          if let sequence = flight.sequences.first, let batch = flight.finish(sequence) {
            for part in batch.parts { advance(&sessions, part) }
          }
        case 7:
          if let any = sessions.numbers.randomElement(using: &random) {
            sessions.end(any, at: time)
          }
        default:
          if Bool.random(using: &random) {
            sessions.rewind(flight.abandonAll())
          } else {
            flight.abandonAll()
            sessions.rewindAll()
          }
        }
        try sessions.checkInvariants()
        try flight.checkInvariants()
      }
    }
  }

  /// What a result does to a session that generates.
  private func advance(_ sessions: inout Sessions, _ part: ScheduledRows) {
    sessions.update(part.session) { session in
      guard part.positions.upperBound == session.tokens.count else { return }
      session.complete(upTo: session.tokens.count)
      session.append(1)
    }
  }
}
