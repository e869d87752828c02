// The accounts of an epoch: all of them are of the same stages.

import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `The accounts of an epoch` {
  private let now = ContinuousClock.now

  private func trace(stages: Int, prefill: Int, decode: Int) -> StepTrace {
    StepTrace(
      epoch: 1,
      sequence: 1,
      prefillRows: prefill,
      decodeRows: decode,
      lastPosition: 9,
      slices: (0..<stages).map { stage in
        StageSlice(
          stage: stage,
          worker: "cpu-\(stage)",
          layers: 0..<1,
          vocabulary: 0..<0,
          began: now,
          duration: .milliseconds(10),
          wait: .zero,
          isExact: true
        )
      }
    )
  }

  @Test func `another placement begins them anew, for its own stages`() throws {
    var limits = CoordinatorLimits(contextTokens: 64, slots: 4)
    limits.promptPause = .milliseconds(200)
    var measurements = Measurements(stageCount: 1, advisor: nil, at: now)
    let unmeasured = measurements.pace(streams: 4, limits)
    #expect(unmeasured.decodeDepth == 1)
    // Twenty rows in ten milliseconds: four hundred in two hundred, or as many as fit.
    measurements.finished(trace(stages: 1, prefill: 20, decode: 0), streams: nil, at: now)
    #expect(measurements.pace(streams: 4, limits).promptRows == limits.maxRows)
    #expect(measurements.metrics.meter(of: 0)?.total == .milliseconds(10))
    measurements.begin(Harness.plan(2), at: now)
    try measurements.checkInvariants(stageCount: 2)
    #expect(throws: BrokenInvariant.self) { try measurements.checkInvariants(stageCount: 1) }
    #expect(measurements.metrics.meter(of: 0)?.total == .zero)
    #expect(measurements.pace(streams: 4, limits).promptRows == unmeasured.promptRows)
    #expect(measurements.pace(streams: 4, limits).decodeDepth == 2)
    // No more micro-batches than streams to fill them.
    #expect(measurements.pace(streams: 1, limits).decodeDepth == 1)
  }

  @Test func `without an advisor nothing is advised`() {
    var measurements = Measurements(stageCount: 1, advisor: nil, at: now)
    measurements.finished(trace(stages: 1, prefill: 0, decode: 1), streams: 1, at: now)
    measurements.moveFailed("why", at: now)
    #expect(!measurements.advises && measurements.lastAdvice == nil)
    #expect(measurements.advise(at: now + .seconds(60)) { _ in nil }.isEmpty)
  }

  @Test func `with one, a move that failed is remembered`() {
    let cost = Harness.served().cost
    var measurements = Measurements(stageCount: 2, advisor: RebalanceAdvisor(cost: cost), at: now)
    measurements.begin(Harness.plan(2), at: now)
    measurements.moveFailed("a worker was lost", at: now)
    #expect(measurements.advises && measurements.lastAdvice?.decision.kind == .failed)
  }
}
