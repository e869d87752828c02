// `trestle status`: what each worker holds and does.

import ArgumentParser
import Compute
import Gemma
import Wire

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what each worker holds and does."
  )

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let status = try coordinator.connect().status()
      if json {
        try printOut(try trestle.json(StatusDocument(status)))
        return
      }
      try printOut(
        "\(status.model.printable): \(status.state.name), epoch \(status.epoch), "
          + "\(status.sessions) sessions, \(status.queued) waiting, "
          + "\(decimal(status.tokensPerSecond, 1)) tokens/s"
      )
      for (name, latency) in [
        ("first token", status.firstToken), ("between tokens", status.interToken),
      ] where latency.count > 0 {
        try printOut("\(name): \(LatencyDocument(latency).description)")
      }
      if let decision = status.autoRebalance, !decision.decision.isEmpty {
        let seconds = decision.ageMilliseconds / 1000
        try printOut("auto-rebalance, \(seconds) s ago: \(decision.decision.printable)")
      }
      try printOut(
        table(
          [
            "worker", "device", "layers", "vocabulary", "state", "pid", "threads", "busy", "bubble",
            "queue",
            "step ms", "resident", "kv",
          ],
          status.workers.map { worker in
            [
              worker.name, worker.device + (worker.isEmulated ? " (emulated)" : ""),
              "\(worker.firstLayer)..<\(worker.endLayer)",
              "\(worker.firstVocabularyRow)..<\(worker.endVocabularyRow)", worker.state.name,
              "\(worker.pid)", "\(worker.threads)", "\(Int(worker.busy * 100)) %",
              "\(Int(worker.bubble * 100)) %", decimal(worker.queued, 1),
              decimal(worker.stepMilliseconds, 2), describe(bytes: worker.residentBytes),
              describe(bytes: worker.kvBytes),
            ]
          }
        )
      )
    }
  }
}

/// What `status --json` prints.
struct StatusDocument: Encodable {
  struct Worker: Encodable {
    var name: String
    var pid: Int
    var device: String
    var emulated: Bool
    var layers: [Int]
    /// Rows of the output matrix; equal ends where it computes no logits.
    var vocabulary: [Int]
    var state: String
    var threads: Int
    var residentBytes: UInt64
    var kvBytes: UInt64
    var busy: Double
    var bubble: Double
    var queued: Double
    var stepMs: Double
    var heartbeatAgeMs: Int
    var loadFraction: Double
    var detail: String
    var availableBytes: UInt64
    /// Absent where the machine does not tell.
    var temperatureCelsius: Double?
    /// Rows that passed a layer, summed over the layers, since the worker's start, and those that were
    /// spared it because nobody wants their output.
    var layerRows: UInt64
    var skippedLayerRows: UInt64
  }

  var model: String
  var epoch: UInt32
  var state: String
  var workers: [Worker]
  var sessions: Int
  var queued: Int
  var tokensPerSecond: Double
  var uptimeMs: UInt64
  /// Messages and peers that were refused.
  var protocolErrors: UInt64
  var ttft: LatencyDocument
  var interToken: LatencyDocument
  var kvPositions: UInt64
  var kvCapacityPositions: UInt64
  var autoRebalance: AutoRebalanceDocument

  init(_ status: StatusReply) {
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
    autoRebalance = AutoRebalanceDocument(status.autoRebalance)
    workers = status.workers.map { worker in
      Worker(
        name: worker.name,
        pid: worker.pid,
        device: worker.device,
        emulated: worker.isEmulated,
        layers: worker.slice.layers.ends,
        vocabulary: worker.slice.vocabulary.ends,
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

/// Whether layers move by themselves, and what was decided last.
struct AutoRebalanceDocument: Encodable {
  var enabled: Bool
  /// Absent before the first decision.
  var lastDecision: String?
  var decisionAgeMs: UInt64?

  init(_ status: AutoRebalance?) {
    enabled = status != nil
    guard let status, !status.decision.isEmpty else { return }
    lastDecision = status.decision
    decisionAgeMs = status.ageMilliseconds
  }
}

/// Latencies of the last minute, in milliseconds; without percentiles if there were none.
struct LatencyDocument: Encodable, CustomStringConvertible {
  var count: UInt64
  var p50Ms: Double?
  var p90Ms: Double?
  var p99Ms: Double?

  init(_ summary: LatencySummary) {
    count = summary.count
    guard count > 0 else { return }
    p50Ms = Double(summary.p50Microseconds) / 1000
    p90Ms = Double(summary.p90Microseconds) / 1000
    p99Ms = Double(summary.p99Microseconds) / 1000
  }

  var description: String {
    let values = [("p50", p50Ms), ("p90", p90Ms), ("p99", p99Ms)].compactMap { name, value in
      value.map { "\(name) \(decimal($0, 1)) ms" }
    }
    return values.joined(separator: ", ") + " of \(count) in the last minute"
  }
}

extension ServiceState {
  var name: String {
    switch self {
    case .waiting: "waiting"
    case .loading: "loading"
    case .ready: "ready"
    case .degraded: "degraded"
    case .stopping: "stopping"
    }
  }
}

extension HealthState {
  var name: String {
    switch self {
    case .ready: "ready"
    case .loading: "loading"
    case .degraded: "degraded"
    case .lost: "lost"
    }
  }
}
