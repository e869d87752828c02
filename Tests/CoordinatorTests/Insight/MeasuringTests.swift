// Windows, percentiles and drift: values measured over time, with a clock that the test turns.

import Foundation
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Sliding window` {
  let start = ContinuousClock.now

  @Test func `what is older than the window falls off, slice by slice`() {
    var window = SlidingWindow(slice: .seconds(10), count: 3, empty: 0)
    #expect(window.values(at: start).isEmpty)
    window.change(at: start) { $0 += 1 }
    window.change(at: start + .seconds(9)) { $0 += 1 }
    window.change(at: start + .seconds(11)) { $0 += 4 }
    #expect(window.values(at: start + .seconds(29)) == [2, 4])
    #expect(window.values(at: start + .seconds(30)) == [4])
    #expect(window.values(at: start + .seconds(40)) == [])
    window.change(at: start + .seconds(1000)) { $0 += 7 }
    #expect(window.values(at: start + .seconds(1000)) == [7])
  }

  @Test func `a clock that goes back changes the newest slice`() {
    var window = SlidingWindow(slice: .seconds(1), count: 3, empty: 0)
    window.change(at: start) { $0 += 1 }
    window.change(at: start + .seconds(2)) { $0 += 1 }
    window.change(at: start + .seconds(1)) { $0 += 1 }
    #expect(window.values(at: start + .seconds(2)) == [1, 2])
  }
}

@Suite struct `Latency histogram` {
  @Test func `percentiles lie within the stated error, whatever is added`() {
    var random = SeededRandom(testSeed(default: 41))
    for _ in 0..<200 {
      var histogram = LatencyHistogram()
      var all: [Double] = []
      for _ in 0..<Int.random(in: 1...400, using: &random) {
        // From a microsecond to 100 s, as often short as long.
        let exponent = Double.random(in: 0...8, using: &random)
        let microseconds = pow(10, exponent)
        all.append(microseconds)
        histogram.add(.microseconds(microseconds))
      }
      all.sort()
      for share in [0, 0.5, 0.9, 0.99, 1] {
        let want = all[max(1, Int((share * Double(all.count)).rounded(.up))) - 1]
        let got = (histogram.percentile(share) ?? .zero) / .microseconds(1)
        #expect(abs(got - want) <= want * (LatencyHistogram.relativeError + 1e-6), "\(share)")
      }
    }
  }

  @Test func `nothing, too little and too much have an answer`() throws {
    var histogram = LatencyHistogram()
    #expect(histogram.percentile(0.5) == nil)
    histogram.add(.zero)
    histogram.add(.seconds(-5))
    #expect(try #require(histogram.percentile(1)) < .microseconds(2))
    histogram.add(.seconds(1_000_000))
    #expect(try #require(histogram.percentile(1)) > .seconds(900))
    #expect(histogram.count == 3)
  }

  @Test func `a summary covers the last minute and no more than ten seconds above it`() {
    let start = ContinuousClock.now
    var latencies = Latencies()
    #expect(latencies.summary(at: start) == LatencySummary())
    for index in 1...100 { latencies.add(.milliseconds(index), at: start) }
    let summary = latencies.summary(at: start + .seconds(60))
    #expect(summary.count == 100)
    let error = LatencyHistogram.relativeError
    for (got, want) in [
      (summary.p50Microseconds, 50_000.0), (summary.p90Microseconds, 90_000),
      (summary.p99Microseconds, 99_000),
    ] {
      #expect(abs(Double(got) - want) <= want * error + 1)
    }
    #expect(latencies.summary(at: start + .seconds(70)).count == 0)
  }
}

@Suite struct `Step drift` {
  let start = ContinuousClock.now
  let decode = StepClass(rowCount: 1, lastPosition: 100, isPrefill: false)

  /// Adds steps of one length at one time.
  private func add(
    _ milliseconds: Int,
    count: Int = 30,
    after: Duration,
    _ stepClass: StepClass? = nil,
    to drift: inout StepDrift
  ) {
    for _ in 0..<count {
      drift.add(.milliseconds(milliseconds), stepClass ?? decode, at: start + after)
    }
  }

  @Test func `steps of twice the time and more are found, with both times`() {
    var drift = StepDrift(began: start)
    add(10, after: .seconds(5), to: &drift)
    add(25, after: .seconds(90), to: &drift)
    let finding = drift.finding(at: start + .seconds(90))
    #expect(finding?.before == .milliseconds(10) && finding?.now == .milliseconds(25))
    #expect(finding?.factor == 2.5)
    #expect(
      finding?.description
        == "decode steps of 1 row take 25.0 ms, 2.5 times the 10.0 ms of the epoch's first minute"
    )
    // When it is over, it is forgotten.
    #expect(drift.finding(at: start + .seconds(121)) == nil)
  }

  @Test func `less than the limit, too few steps, and the first minute say nothing`() {
    var drift = StepDrift(began: start)
    add(10, after: .seconds(5), to: &drift)
    add(50, count: 5, after: .seconds(59), to: &drift)
    #expect(drift.finding(at: start + .seconds(59)) == nil)
    add(30, after: .seconds(90), to: &drift)
    #expect(drift.finding(at: start + .seconds(90)) == nil)
    var few = StepDrift(began: start)
    add(10, count: StepDrift.leastSteps - 1, after: .seconds(5), to: &few)
    add(90, after: .seconds(90), to: &few)
    #expect(few.finding(at: start + .seconds(90)) == nil)
    var late = StepDrift(began: start)
    add(10, after: .seconds(5), to: &late)
    add(90, count: StepDrift.leastSteps - 1, after: .seconds(90), to: &late)
    #expect(late.finding(at: start + .seconds(90)) == nil)
  }

  @Test func `steps are compared with their like only`() {
    var drift = StepDrift(began: start)
    add(10, after: .seconds(5), to: &drift)
    // More rows, a prompt, further into the session: longer for a reason.
    for other in [
      StepClass(rowCount: 2, lastPosition: 100, isPrefill: false),
      StepClass(rowCount: 1, lastPosition: 100, isPrefill: true),
      StepClass(rowCount: 1, lastPosition: 2000, isPrefill: false),
    ] {
      add(100, after: .seconds(90), other, to: &drift)
    }
    #expect(drift.finding(at: start + .seconds(90)) == nil)
    let like = StepClass(rowCount: 1, lastPosition: 120, isPrefill: false)
    #expect(like == decode)
    add(100, after: .seconds(90), like, to: &drift)
    #expect(drift.finding(at: start + .seconds(90))?.stepClass == decode)
  }
}

@Suite struct `Worker clock` {
  @Test func `the shortest way tells the clocks' difference`() {
    var clock = WorkerClock()
    #expect(clock.offset == nil)
    clock.hear(0, at: 5)
    #expect(clock.offset == nil)
    clock.hear(1000, at: 51_300)
    clock.hear(2000, at: 52_040)
    clock.hear(3000, at: 53_900)
    #expect(clock.offset == 50_040)
    // What was heard long ago is forgotten: clocks drift.
    for index in 0..<64 { clock.hear(4000 + UInt64(index), at: 54_100 + UInt64(index)) }
    #expect(clock.offset == 50_100)
    clock.hear(.max, at: 1)
    #expect(clock.offset == 1 - Int64.max)
  }
}
