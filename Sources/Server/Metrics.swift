// What Prometheus reads: the coordinator's counters, which any front door tells alike, and what this one counts of
// its own requests.

internal import Client
internal import Wire

/// The metrics of a status.
struct Metrics {
  private var page = MetricsText()

  var text: String { page.text }

  init(_ status: StatusReply, version: String, _ http: HTTPCounters) {
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
    addHistogram(
      "time_to_first_token_seconds",
      "From a request's arrival to its first token.",
      status.firstTokenCounts
    )
    addHistogram(
      "inter_token_seconds",
      "From one token of a session to its next.",
      status.interTokenCounts
    )
    addHistogram(
      "request_seconds",
      "From the arrival of a generation to its end.",
      status.requestCounts
    )
    addHistogram(
      "queue_seconds",
      "From the arrival of a generation until its prompt is read.",
      status.queueCounts
    )
    add("kv_positions", "gauge", "Positions that sessions hold.", Double(status.kvPositions))
    add("kv_capacity_positions", "gauge", "Positions that fit.", Double(status.kvCapacityPositions))
    add("context_tokens", "gauge", "Tokens that a session holds.", Double(status.contextTokens))
    add("epoch", "gauge", "The number of the placement.", Double(status.epoch))
    add("moves_total", "counter", "Moves of layers.", Double(counters.rebalances))
    add("moved_bytes_total", "counter", "Keys and values moved.", Double(counters.movedBytes))
    add(
      "move_pause_seconds_total",
      "counter",
      "For how long no step ran because layers moved.",
      Double(counters.movePauseMicroseconds) / 1e6
    )
    add("lost_workers_total", "counter", "Workers that were lost.", Double(counters.lostWorkers))
    add("protocol_errors_total", "counter", "Messages refused.", Double(status.protocolErrors))
    add(
      "uptime_seconds",
      "gauge",
      "Since the coordinator began.",
      Double(status.uptimeMilliseconds) / 1000
    )
    addWorkers(status.workers, replaced: status.replacedWorkers)
    add(
      "build_info",
      "gauge",
      "The version and the model.",
      [(["version": version, "model": status.model], 1)]
    )
    addHTTP(http)
    addProcess()
  }

  /// What this front door counts of its own.
  private mutating func addHTTP(_ http: HTTPCounters) {
    add("http_connections", "gauge", "Open connections of this front door.", http.connections)
    add(
      "http_requests_total",
      "counter",
      "Requests to this front door, by route and status.",
      http.requests.map { request, count in
        (["route": request.route, "code": "\(request.status)"], count)
      }
    )
  }

  /// How this front door's process is, under the names that Prometheus has for any.
  private mutating func addProcess() {
    let process = ProcessFacts()
    page.add("process_cpu_seconds_total", "counter", "Time on CPUs.", process.cpuSeconds)
    page.add(
      "process_resident_memory_bytes",
      "gauge",
      "Memory in use.",
      process.residentBytes
    )
    page.add("process_open_fds", "gauge", "Open file descriptors.", process.openFiles)
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

  private mutating func addHistogram(_ name: String, _ help: String, _ counts: LatencyCounts) {
    let bounds = LatencyCounts.bounds.map { Double($0) / 1e6 }
    page.addHistogram(
      "trestle_\(name)",
      help,
      bounds: bounds,
      counts: counts.counts,
      sum: Double(counts.sumMicroseconds) / 1e6
    )
  }

  private mutating func addWorkers(_ workers: [WorkerStatus], replaced: [ReplacedWorker]) {
    func labels(_ worker: String, _ device: String, _ isEmulated: Bool) -> [String: String] {
      ["worker": worker, "device": device, "emulated": isEmulated ? "true" : "false"]
    }
    func of(_ value: (WorkerStatus) -> Double?) -> [([String: String], Double)] {
      workers.compactMap { worker in
        value(worker).map { (labels(worker.name, worker.device, worker.isEmulated), $0) }
      }
    }
    // One that others have replaced is still down: an alert must not end because its layers have found a place.
    add(
      "worker_up",
      "gauge",
      "1 if a worker is ready.",
      of { $0.state == .ready ? 1 : 0 }
        + replaced.map { (labels($0.name, $0.device, $0.isEmulated), 0) }
    )
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
    add(
      "worker_machine_energy_joules_total",
      "counter",
      "What the processors of a worker's machine have used since its start.",
      of { $0.energyMicrojoules > 0 ? Double($0.energyMicrojoules) / 1e6 : nil }
    )
  }

  // MARK: Names

  private mutating func add(_ name: String, _ type: String, _ help: String, _ value: Double) {
    page.add("trestle_\(name)", type, help, value)
  }

  private mutating func add(
    _ name: String,
    _ type: String,
    _ help: String,
    _ values: [([String: String], Double)]
  ) {
    page.add("trestle_\(name)", type, help, values)
  }
}
