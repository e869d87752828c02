// The axis of time without standstills.

import TestSupport
import Testing

@testable import Platform

@Suite struct `Awake clock` {
  private let start = ContinuousClock.Instant.now

  @Test func `short pauses count, long ones do not`() {
    var clock = AwakeClock(longestPause: .seconds(1), now: start)
    #expect(clock.read(start + .seconds(1)) == start + .seconds(1))
    #expect(clock.leftOut == .zero)
    // An hour asleep.
    #expect(clock.read(start + .seconds(3601)) == start + .seconds(1))
    #expect(clock.leftOut == .seconds(3600))
    #expect(clock.read(start + .seconds(3602)) == start + .seconds(2))
  }

  @Test func `instants are placed by the standstills before them`() {
    var clock = AwakeClock(longestPause: .seconds(1), now: start)
    _ = clock.read(start + .milliseconds(500))
    _ = clock.read(start + .milliseconds(10_500))
    _ = clock.read(start + .milliseconds(11_000))
    _ = clock.read(start + .milliseconds(111_000))
    #expect(clock.place(start) == start)
    #expect(clock.place(start + .milliseconds(500)) == start + .milliseconds(500))
    // Within a standstill: when it began, as far as the readings tell.
    #expect(clock.place(start + .seconds(5)) == start + .milliseconds(500))
    #expect(clock.place(start + .milliseconds(10_700)) == start + .milliseconds(700))
    #expect(clock.place(start + .milliseconds(111_250)) == start + .milliseconds(1250))
  }

  @Test func `a stop is told for a while after its end`() {
    var clock = AwakeClock(longestPause: .seconds(1), now: start)
    _ = clock.read(start + .seconds(1))
    #expect(!clock.hasStoodStill(within: .seconds(2)))
    _ = clock.read(start + .seconds(9))
    #expect(clock.hasStoodStill(within: .seconds(2)))
    _ = clock.read(start + .seconds(10))
    _ = clock.read(start + .seconds(11))
    #expect(!clock.hasStoodStill(within: .seconds(2)))
  }

  @Test func `the axis never goes back, and keeps the order of instants`() {
    var random = SeededRandom(testSeed(default: 7))
    for _ in 0..<200 {
      var clock = AwakeClock(longestPause: .seconds(1), now: start)
      var system = start
      var axis = start
      var instants: [ContinuousClock.Instant] = []
      // More standstills than the clock remembers.
      for _ in 0..<60 {
        let pause = Int64.random(in: -50...3000, using: &random)
        system += .milliseconds(pause)
        let now = clock.read(system)
        #expect(now >= axis)
        axis = now
        instants.append(system)
      }
      let recent = instants.suffix(12).sorted().map { clock.place($0) }
      #expect(recent == recent.sorted())
      #expect(recent.allSatisfy { $0 <= axis })
    }
  }
}
