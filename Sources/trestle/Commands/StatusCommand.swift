// `trestle status`: what each worker holds and does.

import ArgumentParser
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
        printOut(try trestle.json(StatusDocument(status)))
        return
      }
      printOut(
        "\(status.model): \(status.state.name), epoch \(status.epoch), "
          + "\(status.sessions) sessions, \(status.queued) waiting, "
          + "\(decimal(status.tokensPerSecond, 1)) tokens/s"
      )
      printOut(
        table(
          [
            "worker", "device", "layers", "state", "pid", "threads", "busy", "step ms",
            "resident", "kv",
          ],
          status.workers.map { worker in
            [
              worker.name, worker.device + (worker.isEmulated ? " (emulated)" : ""),
              "\(worker.firstLayer)..<\(worker.endLayer)", worker.state.name, "\(worker.pid)",
              "\(worker.threads)", "\(Int(worker.busy * 100)) %",
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
    var state: String
    var threads: Int
    var residentBytes: UInt64
    var kvBytes: UInt64
    var busy: Double
    var stepMs: Double
  }

  var model: String
  var epoch: UInt32
  var state: String
  var workers: [Worker]
  var sessions: Int
  var queued: Int
  var tokensPerSecond: Double
  /// Messages and peers that were refused.
  var protocolErrors: UInt64

  init(_ status: StatusReply) {
    model = status.model
    epoch = status.epoch
    state = status.state.name
    sessions = status.sessions
    queued = status.queued
    tokensPerSecond = status.tokensPerSecond
    protocolErrors = status.protocolErrors
    workers = status.workers.map { worker in
      Worker(
        name: worker.name,
        pid: worker.pid,
        device: worker.device,
        emulated: worker.isEmulated,
        layers: [worker.firstLayer, worker.endLayer],
        state: worker.state.name,
        threads: worker.threads,
        residentBytes: worker.residentBytes,
        kvBytes: worker.kvBytes,
        busy: worker.busy,
        stepMs: worker.stepMilliseconds
      )
    }
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
