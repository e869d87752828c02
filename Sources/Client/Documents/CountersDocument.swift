// The counts of a coordinator's life, in `trestle status --json` and wherever else they are shown.

package import Wire

/// What has happened since the coordinator began; no count ever falls.
package struct CountersDocument: Codable, Sendable, Hashable {
  /// Requests that failed with one code.
  package struct Failure: Codable, Sendable, Hashable {
    package var code: String
    package var count: UInt64
  }

  /// Generations and evaluations by how they ended.
  package struct Requests: Codable, Sendable, Hashable {
    package var stop: UInt64
    package var length: UInt64
    package var cancelled: UInt64
    package var evaluated: UInt64
    /// Their client has gone.
    package var abandoned: UInt64
    package var failed: [Failure]
  }

  package var requests: Requests
  package var promptTokens: UInt64
  package var cachedTokens: UInt64
  package var generatedTokens: UInt64
  package var evaluatedTokens: UInt64
  package var steps: UInt64
  package var epochs: UInt64
  package var lostWorkers: UInt64
  package var rebalances: UInt64
  package var movedBytes: UInt64

  package init(_ counters: ServiceCounters) {
    requests = Requests(
      stop: counters.stoppedRequests,
      length: counters.lengthRequests,
      cancelled: counters.cancelledRequests,
      evaluated: counters.evaluatedRequests,
      abandoned: counters.abandonedRequests,
      failed: counters.failedRequests.map { Failure(code: $0.code.name, count: $0.count) }
    )
    promptTokens = counters.promptTokens
    cachedTokens = counters.cachedTokens
    generatedTokens = counters.generatedTokens
    evaluatedTokens = counters.evaluatedTokens
    steps = counters.steps
    epochs = counters.epochs
    lostWorkers = counters.lostWorkers
    rebalances = counters.rebalances
    movedBytes = counters.movedBytes
  }
}
