// Which rows go into the next micro-batch.

import Coordinator
import TestSupport
import Testing
import Wire

@Suite struct `Micro-batch scheduling` {
  private func session(
    _ id: UInt64,
    pending: Int,
    done: Int = 0,
    _ goal: SessionGoal? = nil
  )
    -> Session
  {
    var session = Session(
      id: id,
      peer: PeerID([1]),
      request: id,
      goal: goal ?? Self.generating,
      tokens: Array(repeating: 5, count: done + pending),
      detokenizer: nil,
      stops: [],
      now: .now
    )
    session.submitted = done
    session.slot = Int(id)
    return session
  }

  private static let generating = SessionGoal.generate(
    sampling: Harness.sampling(),
    maxTokens: 9,
    ignoresEndOfTurn: false
  )

  private func scheduler(
    maxRows: Int = 8,
    maxLogitsRows: Int = 2,
    stages: Int = 2
  ) -> Scheduler {
    Scheduler(maxRows: maxRows, maxLogitsRows: maxLogitsRows, stageCount: stages)
  }

  private func rows(_ scheduled: [ScheduledRows]) -> [UInt64: Range<Int>] {
    Dictionary(scheduled.map { ($0.session, $0.positions) }) { _, last in last }
  }

  @Test func `with nothing ready, or every stage busy, nothing is scheduled`() {
    #expect(scheduler().next([], inFlight: 0).isEmpty)
    #expect(scheduler().next([session(1, pending: 0, done: 4)], inFlight: 0).isEmpty)
    #expect(scheduler().next([session(1, pending: 3)], inFlight: 2).isEmpty)
    #expect(!scheduler().next([session(1, pending: 3)], inFlight: 1).isEmpty)
  }

  @Test func `a prompt goes in chunks that fit, from where it is`() {
    let scheduled = scheduler().next([session(1, pending: 20, done: 5)], inFlight: 0)
    #expect(rows(scheduled) == [1: 5..<13])
    #expect(rows(scheduler().next([session(1, pending: 3)], inFlight: 0)) == [1: 0..<3])
  }

  @Test func `what is ready is shared out over the micro-batches that may still start`() {
    let ready = (1...5).map { session(UInt64($0), pending: 1, done: 9) }
    let three = scheduler(stages: 3)
    #expect(three.next(ready, inFlight: 0).map(\.session) == [1, 2])
    #expect(three.next(Array(ready[2...]), inFlight: 1).map(\.session) == [3, 4])
    #expect(three.next(Array(ready[4...]), inFlight: 2).map(\.session) == [5])
    // The last one that may start takes all.
    #expect(three.next(ready, inFlight: 2).map(\.session) == [1, 2, 3, 4, 5])
    #expect(scheduler(stages: 1).next(ready, inFlight: 0).count == 5)
  }

  @Test func `a micro-batch never has more rows than fit`() {
    let sessions = [
      session(1, pending: 5), session(2, pending: 1, done: 3), session(3, pending: 9),
      session(4, pending: 1, done: 3),
    ]
    let scheduled = scheduler(stages: 1).next(sessions, inFlight: 0)
    #expect(rows(scheduled) == [1: 0..<5, 2: 3..<4, 3: 0..<1, 4: 3..<4])
  }

  @Test func `a long prompt does not keep those that decode waiting`() {
    let decoding = (2...5).map { session(UInt64($0), pending: 1, done: 9) }
    let prompt = session(1, pending: 100)
    let first = scheduler().next([prompt] + decoding, inFlight: 0)
    #expect(rows(first) == [2: 9..<10, 3: 9..<10, 1: 0..<6])
  }

  @Test func `logits and scores come in small pieces, logits of one session at a time`() {
    let logits = session(1, pending: 6, .logits)
    #expect(rows(scheduler(stages: 1).next([logits], inFlight: 0)) == [1: 0..<2])
    let scores = session(2, pending: 6, .scores(first: 1))
    #expect(rows(scheduler(stages: 1).next([scores], inFlight: 0)) == [2: 0..<2])
    let decoding = session(3, pending: 1, done: 4)
    let other = session(4, pending: 6, .logits)
    let mixed = scheduler(stages: 1).next([decoding, logits, other, scores], inFlight: 0)
    #expect(rows(mixed) == [3: 4..<5, 1: 0..<2])
  }

  @Test(.seeded(default: 63)) func `whatever is ready, a batch is legal and takes turns in order`()
  {
    var random = SeededRandom(testSeed(default: 63))
    for _ in 0..<fuzzIterations(default: 2000) {
      let stages = Int.random(in: 1...4, using: &random)
      let inFlight = Int.random(in: 0...stages, using: &random)
      let maxRows = Int.random(in: 1...12, using: &random)
      let scheduler = Scheduler(
        maxRows: maxRows,
        maxLogitsRows: Int.random(in: 1...maxRows, using: &random),
        stageCount: stages
      )
      let goals = [Self.generating, Self.generating, .logits, .scores(first: 0)]
      let sessions = (0..<Int.random(in: 0...9, using: &random)).map {
        session(
          UInt64($0),
          pending: Int.random(in: 0...20, using: &random),
          done: Int.random(in: 0...5, using: &random),
          goals.randomElement(using: &random)
        )
      }
      let ready = sessions.filter { $0.pendingCount > 0 }
      let scheduled = scheduler.next(sessions, inFlight: inFlight)
      #expect(scheduled.isEmpty == (ready.isEmpty || inFlight == stages))
      #expect(scheduled.reduce(0) { $0 + $1.positions.count } <= maxRows)
      // Those that decode come first; in each kind the first in line, and nobody is passed over.
      let kinds = [ready.filter(\.isDecoding), ready.filter { !$0.isDecoding }]
      let parts = kinds.map { kind in
        scheduled.filter { part in kind.contains { $0.id == part.session } }
      }
      #expect(scheduled == parts[0] + parts[1])
      for (part, session) in zip(parts, kinds).flatMap({ zip($0, $1) }) {
        #expect(part.session == session.id)
        #expect(part.positions.lowerBound == session.submitted)
        #expect(!part.positions.isEmpty && part.positions.upperBound <= session.tokens.count)
      }
    }
  }
}
