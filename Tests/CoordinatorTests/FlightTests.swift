// The micro-batches under way, as a value of their own.

import TestSupport
import Testing

@testable import Coordinator

@Suite struct `The flight of micro-batches` {
  private let start = ContinuousClock.now

  private func batch(
    _ parts: [ScheduledRows],
    readsPrompt: Bool = false,
    logitsRows: Int = 0,
    after seconds: Int = 0
  ) -> MicroBatch {
    MicroBatch(
      parts: parts,
      cleared: [],
      forks: [],
      wanted: [],
      readsPrompt: readsPrompt,
      logitsRows: logitsRows,
      sent: start + .seconds(seconds)
    )
  }

  private func rows(_ session: UInt64, _ positions: Range<Int>) -> ScheduledRows {
    ScheduledRows(session: session, positions: positions)
  }

  @Test func `a result is taken once, in whatever order results come`() throws {
    var flight = Flight()
    let numbers = (0..<3).map { flight.start(batch([rows(1, $0..<($0 + 1))], after: $0)) }
    #expect(numbers == flight.sequences && flight.nextSequence == (numbers.last ?? 0) + 1)
    #expect(flight.finish(numbers[1])?.parts == [rows(1, 1..<2)])
    #expect(flight.finish(numbers[1]) == nil && flight[numbers[1]] == nil)
    #expect(flight.count == 2 && flight.oldestSent == start)
    _ = flight.finish(numbers[0])
    #expect(flight.oldestSent == start + .seconds(2))
    // A number is not given again, though nothing is under way.
    #expect(flight.abandonAll().count == 1 && flight.isEmpty && flight.oldestSent == nil)
    #expect(flight.start(batch([])) > numbers[2])
  }

  @Test func `a failure waits for every step that was sent before`() throws {
    var flight = Flight()
    let numbers = (0..<3).map { _ in flight.start(batch([])) }
    let failure = StepFailure(worker: "cpu-0", message: "why", notFiniteSlots: nil)
    flight.fail(numbers[2], failure)
    flight.fail(99, failure)
    #expect(flight.oldestFailure == nil)
    _ = flight.finish(numbers[0])
    #expect(flight.oldestFailure == nil)
    _ = flight.finish(numbers[1])
    let oldest = try #require(flight.oldestFailure)
    #expect(oldest.sequence == numbers[2] && oldest.failure.message == "why")
  }

  @Test func `it knows whose rows are under way, and from where on`() {
    var flight = Flight()
    #expect(flight.holdsNobody(but: 1) && flight.firstPositions.isEmpty)
    _ = flight.start(batch([rows(2, 4..<6)], readsPrompt: true, logitsRows: 2))
    _ = flight.start(batch([rows(2, 6..<7), rows(1, 9..<10)], logitsRows: 1))
    #expect(flight.firstPositions.map(\.session) == [1, 2])
    #expect(flight.firstPositions.map(\.position) == [9, 4])
    #expect(!flight.holdsNobody(but: 2) && flight.readsPrompt)
    #expect(flight.logitsRows { $0 == 2 } == 3 && flight.logitsRows { $0 == 1 } == 1)
    _ = flight.finish(flight.sequences[0])
    #expect(!flight.readsPrompt)
  }

  @Test(.seeded(default: 23)) func `whatever is sent, comes back or fails, the accounts agree`()
    throws
  {
    var random = SeededRandom(testSeed(default: 23))
    for _ in 0..<fuzzIterations(default: 100) {
      var flight = Flight()
      var ends: [UInt64: Int] = [:]
      for _ in 0..<40 {
        switch Int.random(in: 0..<5, using: &random) {
        case 0...1:
          let session = UInt64.random(in: 1...3, using: &random)
          let first = ends[session] ?? 0
          let end = first + Int.random(in: 1...4, using: &random)
          ends[session] = end
          let reads = Bool.random(using: &random)
          _ = flight.start(batch([rows(session, first..<end)], readsPrompt: reads))
        case 2:
          if let any = flight.sequences.randomElement(using: &random) { _ = flight.finish(any) }
        case 3:
          if let any = flight.sequences.randomElement(using: &random) {
            flight.fail(any, StepFailure(worker: "", message: "", notFiniteSlots: nil))
          }
        default:
          if Int.random(in: 0..<8, using: &random) == 0 {
            flight.abandonAll()
            ends = [:]
          }
        }
        try flight.checkInvariants()
        #expect(flight.readsPrompt == flight.sequences.contains { flight[$0]?.readsPrompt == true })
      }
    }
  }
}
