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
      goal: goal ?? Self.generating,
      tokens: Array(repeating: 5, count: done + pending)
    )
    session.begin(in: Int(id), prefix: done, reached: done)
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

  /// As many micro-batches under way as there are stages, whatever fits of prompts.
  private func pace(_ scheduler: Scheduler, promptRows: Int? = nil) -> Pace {
    Pace(
      decodeDepth: scheduler.stageCount,
      promptRows: promptRows ?? scheduler.maxRows
    )
  }

  private func next(
    _ scheduler: Scheduler,
    _ sessions: [Session],
    inFlight: Int
  ) -> [ScheduledRows] {
    scheduler.next(sessions, inFlight: inFlight, readsPrompt: false, pace: pace(scheduler))
  }

  private func rows(_ scheduled: [ScheduledRows]) -> [UInt64: Range<Int>] {
    Dictionary(scheduled.map { ($0.session, $0.positions) }) { _, last in last }
  }

  @Test func `masks are divided among micro-batches, so that a header holds them`() {
    struct Everything: TokenConstraint {
      let byteCount: Int
      var allowed: TokenMask? {
        TokenMask(allowed: .bits(Array(repeating: 255, count: byteCount)))
      }
      mutating func accept(_ token: Int32) {}
    }
    let third = Everything(byteCount: Scheduler.maxDrawBytes / 3)
    var masked = (0..<5).map { id in
      Session(
        id: id,
        goal: Self.generating,
        tokens: [5, 5, 5],
        constraint: third
      )
    }
    for index in masked.indices { masked[index].begin(in: index, prefix: 2, reached: 2) }
    let scheduler = scheduler(stages: 1)
    #expect(next(scheduler, masked, inFlight: 0).map(\.session) == [0, 1, 2])
    // A prompt goes as far as where the token is drawn.
    masked[3].rewind()
    let mixed = next(scheduler, Array(masked[0...3]), inFlight: 0)
    #expect(rows(mixed) == [0: 2..<3, 1: 2..<3, 2: 2..<3, 3: 0..<2])
  }

  @Test func `with nothing ready, or every stage busy, nothing is scheduled`() {
    #expect(next(scheduler(), [], inFlight: 0).isEmpty)
    #expect(next(scheduler(), [session(1, pending: 0, done: 4)], inFlight: 0).isEmpty)
    #expect(next(scheduler(), [session(1, pending: 3)], inFlight: 2).isEmpty)
    #expect(!next(scheduler(), [session(1, pending: 3)], inFlight: 1).isEmpty)
  }

  @Test func `a prompt goes in chunks that fit, from where it is`() {
    let scheduled = next(scheduler(), [session(1, pending: 20, done: 5)], inFlight: 0)
    #expect(rows(scheduled) == [1: 5..<13])
    #expect(rows(next(scheduler(), [session(1, pending: 3)], inFlight: 0)) == [1: 0..<3])
  }

  @Test func `what is ready is shared out over the micro-batches that may still start`() {
    let ready = (1...5).map { session(UInt64($0), pending: 1, done: 9) }
    let three = scheduler(stages: 3)
    #expect(next(three, ready, inFlight: 0).map(\.session) == [1, 2])
    #expect(next(three, underWay(2) + ready[2...], inFlight: 1).map(\.session) == [3, 4])
    #expect(next(three, underWay(4) + ready[4...], inFlight: 2).map(\.session) == [5])
    // The last one that may start takes all that are to be read.
    let prompts = (1...4).map { session(UInt64($0), pending: 2) }
    #expect(next(three, prompts, inFlight: 2).map(\.session) == [1, 2, 3, 4])
    #expect(next(scheduler(stages: 1), ready, inFlight: 0).count == 5)
  }

  @Test(arguments: [false, true])
  func `streams whose prompts were read together do not stay together`(readsPrompt: Bool) throws {
    // One micro-batch has all streams but two; each time the oldest comes back and the next begins.
    let scheduler = scheduler(maxRows: 64, stages: 3)
    var flight: [[UInt64]] = [[1], [2], Array(3...30)]
    var waiting: [UInt64] = []
    var sizes: [Int] = []
    for _ in 0..<12 {
      waiting += flight.removeFirst()
      let sessions =
        waiting.map { session($0, pending: 1, done: 9) } + underWay(flight.joined().count)
      let scheduled = scheduler.next(
        sessions,
        inFlight: 2,
        readsPrompt: readsPrompt,
        pace: pace(scheduler)
      )
      flight.append(scheduled.map(\.session))
      waiting.removeAll(where: flight[2].contains)
      sizes.append(scheduled.count)
    }
    // While a micro-batch has a prompt, which it may have alone, the others may have all streams.
    #expect(try #require(sizes.max()) == (readsPrompt ? 15 : 10))
    if !readsPrompt { #expect(sizes.suffix(6).allSatisfy { $0 == 10 }) }
    #expect(flight.joined().count + waiting.count == 30)
  }

  /// Streams that have got tokens, the last of which is under way.
  private func underWay(_ count: Int) -> [Session] {
    (0..<count).map { index in
      var session = session(UInt64(1000 + index), pending: 1)
      session.append(5)
      session.submit(upTo: 2)
      return session
    }
  }

  @Test func `a micro-batch never has more rows than fit`() {
    let sessions = [
      session(1, pending: 5), session(2, pending: 1, done: 3), session(3, pending: 9),
      session(4, pending: 1, done: 3),
    ]
    let scheduled = next(scheduler(stages: 1), sessions, inFlight: 0)
    #expect(rows(scheduled) == [1: 0..<5, 2: 3..<4, 3: 0..<1, 4: 3..<4])
  }

  @Test func `a long prompt does not keep those that decode waiting`() {
    let decoding = (2...5).map { session(UInt64($0), pending: 1, done: 9) }
    let prompt = session(1, pending: 100)
    let first = next(scheduler(), [prompt] + decoding, inFlight: 0)
    #expect(rows(first) == [2: 9..<10, 3: 9..<10, 1: 0..<6])
  }

  @Test func `more streams than a micro-batch has rows leave a quarter of them to prompts`() {
    let scheduler = scheduler(maxRows: 8, stages: 1)
    let streams = (1...20).map { session($0, pending: 1, done: 4) }
    let beside = next(scheduler, streams + [session(21, pending: 9)], inFlight: 0)
    #expect(beside.count == 7)
    #expect(rows(beside)[21] == 0..<2)
    // Alone they have all.
    #expect(next(scheduler, streams, inFlight: 0).count == 8)
  }

  @Test func `decoding streams are shared out over as many micro-batches as measured best`() {
    let ready = (1...6).map { session(UInt64($0), pending: 1, done: 9) }
    for (depth, sizes) in [(1, [6]), (2, [3, 3]), (3, [2, 2, 2]), (4, [2, 2, 1, 1])] {
      var left = ready
      var found: [Int] = []
      while true {
        let pace = Pace(decodeDepth: depth, promptRows: 8)
        let scheduled = scheduler().next(
          underWay(ready.count - left.count) + left,
          inFlight: found.count,
          readsPrompt: false,
          pace: pace
        )
        if scheduled.isEmpty { break }
        found.append(scheduled.count)
        left.removeFirst(scheduled.count)
      }
      #expect(found == sizes)
    }
    // A prompt fills any step: then every stage gets one.
    let pace = Pace(decodeDepth: 1, promptRows: 8)
    let prompt = session(9, pending: 30)
    #expect(scheduler().next([prompt], inFlight: 0, readsPrompt: false, pace: pace).count == 1)
    #expect(scheduler().next([prompt], inFlight: 1, readsPrompt: false, pace: pace).count == 1)
    #expect(scheduler().next([prompt], inFlight: 2, readsPrompt: false, pace: pace).isEmpty)
  }

  @Test func `beside streams that decode, a prompt goes in chunks as small as measured`() {
    let pace = pace(scheduler(), promptRows: 3)
    var generating = session(2, pending: 1, done: 9)
    let prompt = session(1, pending: 100)
    #expect(
      rows(scheduler().next([prompt], inFlight: 0, readsPrompt: false, pace: pace)) == [1: 0..<8]
    )
    // Its promptCount is all it has: it reads its own prompt, and nobody waits.
    #expect(
      rows(scheduler().next([prompt, generating], inFlight: 0, readsPrompt: false, pace: pace))[1]
        == 0..<7
    )
    generating.append(7)
    generating.submit(upTo: generating.submitted + 1)
    let both = scheduler().next([prompt, generating], inFlight: 0, readsPrompt: false, pace: pace)
    #expect(rows(both) == [2: 10..<11, 1: 0..<3])
    // Also when the stream's own row is in another micro-batch.
    generating.submit(upTo: generating.submitted + 1)
    #expect(
      rows(scheduler().next([prompt, generating], inFlight: 0, readsPrompt: false, pace: pace)) == [
        1: 0..<3
      ]
    )
    // One chunk at a time; those that decode go on beside it.
    let behind = scheduler().next([prompt, generating], inFlight: 1, readsPrompt: true, pace: pace)
    #expect(behind.isEmpty)
    let other = session(3, pending: 1, done: 4)
    let beside = scheduler().next(
      [prompt, generating, other],
      inFlight: 1,
      readsPrompt: true,
      pace: pace
    )
    #expect(rows(beside) == [3: 4..<5])
    // A session that is replayed is a prompt itself.
    generating.rewind()
    #expect(
      rows(scheduler().next([prompt, generating], inFlight: 0, readsPrompt: false, pace: pace))[1]
        == 0..<8
    )
  }

  @Test func `logits and scores come in small pieces, logits of one session at a time`() {
    let logits = session(1, pending: 6, .logits)
    #expect(rows(next(scheduler(stages: 1), [logits], inFlight: 0)) == [1: 0..<2])
    let scores = session(2, pending: 6, .scores(first: 1))
    #expect(rows(next(scheduler(stages: 1), [scores], inFlight: 0)) == [2: 0..<2])
    let decoding = session(3, pending: 1, done: 4)
    let other = session(4, pending: 6, .logits)
    let mixed = next(scheduler(stages: 1), [decoding, logits, other, scores], inFlight: 0)
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
      let scheduled = next(scheduler, sessions, inFlight: inFlight)
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
