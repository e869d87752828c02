// What Prometheus reads: the coordinator's counters in the text format 0.0.4. The front door keeps no numbers of
// its own, so any number of them tell the same.

internal import Client
internal import Wire

/// The metrics of a status.
struct Metrics {
  private var lines: [String] = []

  var text: String { lines.joined(separator: "\n") + "\n" }

  init(_ status: StatusReply, version: String) {
    let counters = status.counters
    add("requests_running", "gauge", "Requests being served.", Double(status.sessions))
    add("requests_waiting", "gauge", "Requests that wait.", Double(status.queued))
    add(
      "request_finished_total",
      "counter",
      "Requests by how they ended.",
      [
        (["reason": "stop"], Double(counters.stoppedRequests)),
        (["reason": "length"], Double(counters.lengthRequests)),
        (["reason": "cancelled"], Double(counters.cancelledRequests)),
        (["reason": "evaluated"], Double(counters.evaluatedRequests)),
        (["reason": "abandoned"], Double(counters.abandonedRequests)),
      ]
        + counters.failedRequests.map { failure in
          (["reason": "failed_\(failure.code)"], Double(failure.count))
        }
    )
    addTokens(counters)
    addLatency(
      "time_to_first_token_seconds",
      "From a request to its first token, last minute.",
      status.firstToken
    )
    addLatency(
      "inter_token_seconds",
      "From one token of a session to its next, last minute.",
      status.interToken
    )
    add("kv_positions", "gauge", "Positions that sessions hold.", Double(status.kvPositions))
    add("kv_capacity_positions", "gauge", "Positions that fit.", Double(status.kvCapacityPositions))
    add("context_tokens", "gauge", "Tokens that a session holds.", Double(status.contextTokens))
    add("epoch", "gauge", "The number of the placement.", Double(status.epoch))
    add("moves_total", "counter", "Moves of layers.", Double(counters.rebalances))
    add("moved_bytes_total", "counter", "Keys and values moved.", Double(counters.movedBytes))
    add("lost_workers_total", "counter", "Workers that were lost.", Double(counters.lostWorkers))
    add("protocol_errors_total", "counter", "Messages refused.", Double(status.protocolErrors))
    add(
      "uptime_seconds",
      "gauge",
      "Since the coordinator began.",
      Double(status.uptimeMilliseconds) / 1000
    )
    addWorkers(status.workers)
    add(
      "build_info",
      "gauge",
      "The version and the model.",
      [(["version": version, "model": status.model], 1)]
    )
  }

  private mutating func addTokens(_ counters: ServiceCounters) {
    add("prompt_tokens_total", "counter", "Tokens of prompts.", Double(counters.promptTokens))
    add(
      "cached_prompt_tokens_total",
      "counter",
      "Tokens of prompts that were not computed.",
      Double(counters.cachedTokens)
    )
    add("generated_tokens_total", "counter", "Tokens of answers.", Double(counters.generatedTokens))
    add(
      "evaluated_tokens_total",
      "counter",
      "Tokens of evaluations.",
      Double(counters.evaluatedTokens)
    )
    add("steps_total", "counter", "Steps of the pipeline.", Double(counters.steps))
  }

  private mutating func addLatency(_ name: String, _ help: String, _ summary: LatencySummary) {
    let values = [
      ("50", summary.p50Microseconds), ("90", summary.p90Microseconds),
      ("99", summary.p99Microseconds),
    ]
    add(name, "gauge", help, values.map { (["percentile": $0], Double($1) / 1e6) })
  }

  private mutating func addWorkers(_ workers: [WorkerStatus]) {
    func of(_ value: (WorkerStatus) -> Double?) -> [([String: String], Double)] {
      workers.compactMap { worker in
        value(worker).map { number in
          (
            [
              "worker": worker.name, "device": worker.device,
              "emulated": worker.isEmulated ? "true" : "false",
            ], number
          )
        }
      }
    }
    add("worker_up", "gauge", "1 if a worker is ready.", of { $0.state == .ready ? 1 : 0 })
    add("stage_layers", "gauge", "Layers of a worker.", of { Double($0.endLayer - $0.firstLayer) })
    add(
      "stage_busy_seconds_total",
      "counter",
      "Time spent computing in this epoch.",
      of {
        Double($0.busyMicroseconds) / 1e6
      }
    )
    add(
      "stage_busy_share",
      "gauge",
      "The share of the last seconds spent computing.",
      of { $0.busy }
    )
    add(
      "stage_bubble_share",
      "gauge",
      "The share spent waiting while there was work.",
      of { $0.bubble }
    )
    add("stage_queued", "gauge", "Micro-batches that waited.", of { $0.queued })
    add("worker_resident_bytes", "gauge", "Memory of a worker.", of { Double($0.residentBytes) })
    add(
      "worker_available_bytes",
      "gauge",
      "Memory its machine can give.",
      of { Double($0.availableBytes) }
    )
    add(
      "worker_temperature_celsius",
      "gauge",
      "Temperature of its device.",
      of { $0.temperature?.celsius }
    )
  }

  // MARK: Format

  private mutating func add(_ name: String, _ type: String, _ help: String, _ value: Double) {
    add(name, type, help, [([:], value)])
  }

  private mutating func add(
    _ name: String,
    _ type: String,
    _ help: String,
    _ values: [([String: String], Double)]
  ) {
    guard !values.isEmpty else { return }
    lines.append("# HELP trestle_\(name) \(help)")
    lines.append("# TYPE trestle_\(name) \(type)")
    for (labels, value) in values {
      let text = labels.sorted { $0.key < $1.key }
        .map { "\($0.key)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
      lines.append("trestle_\(name)\(text.isEmpty ? "" : "{\(text)}") \(Self.number(value))")
    }
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }
}
