// `trestle health`: whether each worker is well.

import ArgumentParser
import Wire

struct HealthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "health",
    abstract: "Ask every worker whether it is well; exits 1 if any is not."
  )

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Have every worker test its device first: a small program against the reference.")
  var selfTest = false

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let health = try coordinator.connect().health(selfTest: selfTest)
      if json {
        try printOut(try trestle.json(HealthDocument(health)))
      } else {
        try printOut(
          table(
            [
              "worker", "state", "pid", "heartbeat ms", "memory", "left", "temperature",
              "self-test", "detail",
            ],
            health.workers.map { worker in
              [
                worker.name, worker.state.name, "\(worker.pid)",
                "\(worker.heartbeatAgeMilliseconds)", describe(bytes: worker.residentBytes),
                worker.availableBytes > 0 ? describe(bytes: worker.availableBytes) : "",
                worker.temperature.map { "\(decimal($0.celsius, 0)) °C" } ?? "",
                worker.selfTest.map { $0.failure.isEmpty ? "passed" : "failed" } ?? "",
                worker.detail,
              ]
            }
          )
        )
      }
      if !health.isHealthy { throw ExitCode.failure }
    }
  }
}

/// What `health --json` prints.
struct HealthDocument: Encodable {
  struct Worker: Encodable {
    var name: String
    var pid: Int
    var state: String
    var heartbeatAgeMs: Int
    var detail: String
    var residentBytes: UInt64
    var availableBytes: UInt64
    /// Absent where the machine does not tell.
    var temperatureCelsius: Double?
    var temperatureSensor: String?
    var selfTest: SelfTest?
  }

  struct SelfTest: Encodable {
    var run: UInt32
    var passed: Bool
    /// Absent if it is no number: JSON has none for that.
    var maxError: Double?
    var tolerance: Double

    init(_ report: SelfTestReport) {
      run = report.run
      passed = report.failure.isEmpty
      maxError = report.maxError.isFinite ? report.maxError : nil
      tolerance = report.tolerance
    }
  }

  var healthy: Bool
  var workers: [Worker]

  init(_ health: HealthReply) {
    healthy = health.isHealthy
    workers = health.workers.map { worker in
      Worker(
        name: worker.name,
        pid: worker.pid,
        state: worker.state.name,
        heartbeatAgeMs: worker.heartbeatAgeMilliseconds,
        detail: worker.detail,
        residentBytes: worker.residentBytes,
        availableBytes: worker.availableBytes,
        temperatureCelsius: worker.temperature?.celsius,
        temperatureSensor: worker.temperature?.sensor,
        selfTest: worker.selfTest.map { SelfTest($0) }
      )
    }
  }
}
