// Which pieces are asked for, when, and when it is given up.

import TestSupport
import Testing
import Wire

@testable import Worker

@Suite struct `Pull schedule` {
  private let start = ContinuousClock.now

  private func ids(_ count: Int) -> [ChunkID] { (0..<count).map { ChunkID(file: 0, chunk: $0) } }

  /// Asks for all that may be asked for now.
  private func ask(_ schedule: inout PullSchedule, at now: ContinuousClock.Instant) -> [Int] {
    var asked: [Int] = []
    while let id = schedule.next(at: now) { asked.append(id.chunk) }
    return asked
  }

  @Test func `a few pieces are under way at a time, and each that comes makes room for one`() throws
  {
    var schedule = PullSchedule(ids(20), bytesPerSecond: nil, now: start)
    #expect(ask(&schedule, at: start) == Array(0..<Limits.pulls))
    #expect(try schedule.received(ChunkID(file: 0, chunk: 3), isWhole: true, at: start))
    #expect(ask(&schedule, at: start) == [Limits.pulls])
    #expect(!schedule.isDone)
    // The same once more, and one that nobody asked for, are not kept.
    #expect(try !schedule.received(ChunkID(file: 0, chunk: 3), isWhole: true, at: start))
    #expect(try !schedule.received(ChunkID(file: 0, chunk: 19), isWhole: true, at: start))
  }

  @Test func `a damaged piece is asked for again, three times in all`() throws {
    var schedule = PullSchedule(ids(1), bytesPerSecond: nil, now: start)
    let id = ChunkID(file: 0, chunk: 0)
    for _ in 0..<2 {
      #expect(ask(&schedule, at: start) == [0])
      #expect(try !schedule.received(id, isWhole: false, at: start))
      #expect(!schedule.isDone)
    }
    #expect(ask(&schedule, at: start) == [0])
    let error = #expect(throws: WorkerError.self) {
      try schedule.received(id, isWhole: false, at: start)
    }
    #expect(error?.code == .weights)
    #expect(error?.message.contains("piece 0 of file 0 has arrived damaged 3 times") == true)
  }

  @Test func `what was lost is asked for again after a silence, and in the end given up`() throws {
    var schedule = PullSchedule(ids(2), bytesPerSecond: nil, now: start)
    #expect(ask(&schedule, at: start) == [0, 1])
    var now = start + PullSchedule.silence
    try schedule.tick(at: now)
    #expect(ask(&schedule, at: now) == [])
    now += .milliseconds(1)
    try schedule.tick(at: now)
    #expect(ask(&schedule, at: now) == [0, 1])
    #expect(try schedule.received(ChunkID(file: 0, chunk: 1), isWhole: true, at: now))
    // The patience begins anew with each sign.
    for _ in 0..<(PullSchedule.silences - 1) {
      now += PullSchedule.silence + .milliseconds(1)
      try schedule.tick(at: now)
      #expect(ask(&schedule, at: now) == [0])
    }
    now += PullSchedule.silence + .milliseconds(1)
    let error = #expect(throws: WorkerError.self) { try schedule.tick(at: now) }
    #expect(error?.code == .unreachable)
  }

  @Test func `a limited pull is no faster than its limit, and not much slower`() throws {
    // Four pieces a second.
    var schedule = PullSchedule(
      ids(40),
      bytesPerSecond: 4 * Double(Limits.chunkBytes),
      now: start
    )
    var now = start
    var count = 0
    while !schedule.isDone {
      for chunk in ask(&schedule, at: now) {
        count += 1
        let seconds = (now - start) / .seconds(1)
        #expect(Double(count - 1) <= 4 * seconds + 1, "piece \(count) after \(seconds) s")
        #expect(try schedule.received(ChunkID(file: 0, chunk: chunk), isWhole: true, at: now))
      }
      now += max(.milliseconds(1), schedule.idleTime(at: now))
      try schedule.tick(at: now)
    }
    #expect(now - start < .seconds(10.5))
  }

  @Test(.seeded(default: 31)) func `every piece comes once, whatever is lost or damaged`() throws {
    var random = SeededRandom(testSeed(default: 31))
    for _ in 0..<50 {
      let wanted = ids(Int.random(in: 0...40, using: &random))
      var schedule = PullSchedule(wanted, bytesPerSecond: nil, now: start)
      var now = start
      var kept: [ChunkID] = []
      var harm: [ChunkID: Int] = [:]
      var underWay: [ChunkID] = []
      while !schedule.isDone {
        while let id = schedule.next(at: now) {
          if Int.random(in: 0..<10, using: &random) > 0 { underWay.append(id) }
        }
        #expect(underWay.count <= 2 * Limits.pulls)
        if let index = underWay.indices.randomElement(using: &random) {
          let id = underWay.remove(at: index)
          let isWhole = harm[id, default: 0] == 2 || Bool.random(using: &random)
          if !isWhole { harm[id, default: 0] += 1 }
          if try schedule.received(id, isWhole: isWhole, at: now) { kept.append(id) }
        } else {
          now += PullSchedule.silence + .milliseconds(1)
        }
        try schedule.tick(at: now)
      }
      #expect(kept.sorted() == wanted)
    }
  }
}
