// What `trestle status --json` prints, and any other program that shows a status.

package import Wire

/// What each worker holds and does.
package struct StatusDocument: Codable, Sendable, Hashable {
  package struct Worker: Codable, Sendable, Hashable {
    package var name: String
    package var pid: Int
    package var device: String
    package var emulated: Bool
    package var layers: [Int]
    /// The range of rows of the output matrix; both ends are equal if the worker computes no
    /// logits.
    package var vocabulary: [Int]
    package var state: String
    package var threads: Int
    package var residentBytes: UInt64
    package var kvBytes: UInt64
    package var busy: Double
    package var bubble: Double
    package var queued: Double
    package var stepMs: Double
    package var heartbeatAgeMs: Int
    package var loadFraction: Double
    package var detail: String
    package var availableBytes: UInt64
    /// Absent if the machine does not report one.
    package var temperatureCelsius: Double?
    /// Rows that a layer has computed since the worker's start, summed over the layers.
    package var layerRows: UInt64
    /// Rows that a layer has skipped because their output is not wanted, summed likewise.
    package var skippedLayerRows: UInt64
  }

  package var model: String
  package var epoch: UInt32
  package var state: String
  package var workers: [Worker]
  /// Those that were lost and have not come back, so that others hold their layers.
  package var replacedWorkers: [ReplacedWorkerDocument]
  package var sessions: Int
  package var queued: Int
  package var tokensPerSecond: Double
  package var uptimeMs: UInt64
  /// The number of messages and peers that were refused.
  package var protocolErrors: UInt64
  package var ttft: LatencyDocument
  package var interToken: LatencyDocument
  package var kvPositions: UInt64
  package var kvCapacityPositions: UInt64
  /// How many tokens a session holds, prompt and answer.
  package var contextTokens: Int
  package var autoRebalance: AutoRebalanceDocument
  package var counters: CountersDocument

  package init(_ status: StatusReply) {
    model = status.model
    epoch = status.epoch
    state = status.state.name
    sessions = status.sessions
    queued = status.queued
    tokensPerSecond = status.tokensPerSecond
    uptimeMs = status.uptimeMilliseconds
    protocolErrors = status.protocolErrors
    ttft = LatencyDocument(status.firstToken)
    interToken = LatencyDocument(status.interToken)
    kvPositions = status.kvPositions
    kvCapacityPositions = status.kvCapacityPositions
    contextTokens = status.contextTokens
    autoRebalance = AutoRebalanceDocument(status.autoRebalance)
    counters = CountersDocument(status.counters)
    replacedWorkers = status.replacedWorkers.map { ReplacedWorkerDocument($0) }
    workers = status.workers.map { worker in
      Worker(
        name: worker.name,
        pid: worker.pid,
        device: worker.device,
        emulated: worker.isEmulated,
        layers: ends(worker.firstLayer, worker.endLayer),
        vocabulary: ends(worker.firstVocabularyRow, worker.endVocabularyRow),
        state: worker.state.name,
        threads: worker.threads,
        residentBytes: worker.residentBytes,
        kvBytes: worker.kvBytes,
        busy: worker.busy,
        bubble: worker.bubble,
        queued: worker.queued,
        stepMs: worker.stepMilliseconds,
        heartbeatAgeMs: worker.heartbeatAgeMilliseconds,
        loadFraction: worker.loadFraction,
        detail: worker.detail,
        availableBytes: worker.availableBytes,
        temperatureCelsius: worker.temperature?.celsius,
        layerRows: worker.layerRows,
        skippedLayerRows: worker.skippedLayerRows
      )
    }
  }
}

/// A worker that was lost, and others hold its layers.
package struct ReplacedWorkerDocument: Codable, Sendable, Hashable {
  package var name: String
  package var device: String
  package var emulated: Bool
  /// How it was lost.
  package var reason: String
  package var ageMs: UInt64

  package init(_ worker: ReplacedWorker) {
    (name, device, reason) = (worker.name, worker.device, worker.reason)
    (emulated, ageMs) = (worker.isEmulated, worker.ageMilliseconds)
  }
}

/// Whether automatic rebalancing is on, and its last decision.
package struct AutoRebalanceDocument: Codable, Sendable, Hashable {
  package var enabled: Bool
  /// Absent before the first decision.
  package var lastDecision: String?
  package var decisionAgeMs: UInt64?

  package init(_ status: AutoRebalance?) {
    enabled = status != nil
    guard let status, !status.decision.isEmpty else { return }
    lastDecision = status.decision
    decisionAgeMs = status.ageMilliseconds
  }
}

/// Latencies of the last minute in milliseconds; without percentiles if the count is 0.
package struct LatencyDocument: Codable, Sendable, Hashable {
  package var count: UInt64
  package var p50Ms: Double?
  package var p90Ms: Double?
  package var p99Ms: Double?

  package init(_ summary: LatencySummary) {
    count = summary.count
    guard count > 0 else { return }
    p50Ms = Double(summary.p50Microseconds) / 1000
    p90Ms = Double(summary.p90Microseconds) / 1000
    p99Ms = Double(summary.p99Microseconds) / 1000
  }
}
