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

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let health = try coordinator.connect().health()
      if json {
        printOut(try trestle.json(HealthDocument(health)))
      } else {
        printOut(
          table(
            ["worker", "state", "pid", "heartbeat ms", "detail"],
            health.workers.map { worker in
              [
                worker.name, worker.state.name, "\(worker.pid)",
                "\(worker.heartbeatAgeMilliseconds)", worker.detail,
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
        detail: worker.detail
      )
    }
  }
}
