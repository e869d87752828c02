// Metrics in Prometheus's format, and the dashboard and the alerts that speak of them.

import Content
import Foundation
import TestSupport
import Testing
import Wire

@testable import Server

@Suite struct `Metrics for Prometheus` {
  private func status() -> StatusReply {
    var counts = LatencyCounts()
    for duration in [.microseconds(900), .milliseconds(2), .seconds(0.0021), Duration.seconds(900)]
    {
      counts.add(duration)
    }
    return StatusReply(
      request: 1,
      model: "a \"model\"",
      epoch: 3,
      fingerprint: Digest(of: [7]),
      state: .ready,
      sessions: 2,
      queued: 1,
      tokensPerSecond: 5,
      uptimeMilliseconds: 1500,
      protocolErrors: 0,
      workers: [worker()],
      interTokenCounts: counts,
      replacedWorkers: [
        ReplacedWorker(
          name: "npu-0",
          device: "npu",
          reason: "it was removed",
          ageMilliseconds: 1,
          isEmulated: false
        )
      ]
    )
  }

  private func worker() -> WorkerStatus {
    WorkerStatus(
      name: "cpu-0",
      pid: 1,
      device: "cpu",
      isEmulated: false,
      firstLayer: 0,
      endLayer: 4,
      firstVocabularyRow: 0,
      endVocabularyRow: 0,
      state: .ready,
      residentBytes: 1,
      kvBytes: 1,
      busy: 0.5,
      busyMicroseconds: 1,
      stepMilliseconds: 1,
      heartbeatAgeMilliseconds: 1,
      threads: 1,
      loadFraction: 1,
      detail: "",
      temperature: Temperature(sensor: "t", celsius: 50),
      energyMicrojoules: 2_500_000
    )
  }

  private func text() -> String {
    let counters = HTTPCounters()
    counters.opened()
    counters.answered(.init(route: "/v1/models", status: 200))
    counters.answered(.init(route: "/v1/models", status: 200))
    return Metrics(status(), version: "1", counters).text
  }

  @Test func `buckets count what is within their bound, and everything before`() {
    let lines = text().split(separator: "\n")
    for line in [
      #"trestle_inter_token_seconds_bucket{le="0.001"} 1"#,
      #"trestle_inter_token_seconds_bucket{le="0.002"} 2"#,
      #"trestle_inter_token_seconds_bucket{le="0.005"} 3"#,
      #"trestle_inter_token_seconds_bucket{le="500"} 3"#,
      #"trestle_inter_token_seconds_bucket{le="+Inf"} 4"#,
      "trestle_inter_token_seconds_count 4", "trestle_inter_token_seconds_sum 900.005",
      "trestle_queue_seconds_count 0",
      #"trestle_http_requests_total{code="200",route="/v1/models"} 2"#,
      #"trestle_build_info{model="a \"model\"",version="1"} 1"#,
      #"trestle_worker_up{device="cpu",emulated="false",worker="cpu-0"} 1"#,
      #"trestle_worker_up{device="npu",emulated="false",worker="npu-0"} 0"#,
      #"trestle_worker_machine_energy_joules_total{device="cpu",emulated="false",worker="cpu-0"} 2.5"#,
    ] {
      #expect(lines.contains(Substring(line)), "\(line)")
    }
  }

  @Test(arguments: ["grafana/trestle.json", "prometheus/trestle.rules.yml"])
  func `what operators look at exists`(_ file: String) throws {
    let path = Goldens.checkout.appending(path: "deploy/\(file)")
    let document = try String(contentsOf: path, encoding: .utf8)
    let known = Set(
      text().split(separator: "\n").filter { !$0.hasPrefix("#") }
        .map { String($0.prefix { $0 != "{" && $0 != " " }) }
    )
    let used = Set(document.matches(of: /trestle_[a-z_]+/).map { String($0.output) })
    #expect(used.count > 4)
    for name in used { #expect(known.contains(name), "\(name) is told by nobody") }
  }

  @Test func `paths that anybody may invent are counted together`() {
    #expect(Route.label("/v1/models/x%20y") == "/v1/models/{model}")
    #expect(Route.label("/v1/chat/completions") == "/v1/chat/completions")
    #expect(Route.label("/") == "/" && Route.label("/etc/passwd") == "other")
  }
}
