// `trestle health`: whether each worker is healthy.

import ArgumentParser
import Client
import Platform
import Wire

struct HealthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "health",
    abstract: "Show whether every worker is healthy; exits 1 if any is not."
  )

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "Have every worker test its device first: a small program against the reference.")
  var selfTest = false

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let (client, selfTest) = (try coordinator.connect(), selfTest)
      defer { client.close() }
      let health = try Waiter().wait { try await client.health(selfTest: selfTest) }
      if json {
        try printOut(try trestle.json(HealthDocument(health)))
      } else {
        try printOut(
          table(
            [
              "worker", "device", "state", "pid", "heartbeat ms", "memory", "left", "temperature",
              "self-test", "detail",
            ],
            health.workers.map { worker in
              [
                worker.name, worker.device + (worker.isEmulated ? " (emulated)" : ""),
                worker.state.name, "\(worker.pid)",
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
