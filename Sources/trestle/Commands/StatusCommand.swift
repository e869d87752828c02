// `trestle status`: what each worker holds and does.

import ArgumentParser
import Client
import Compute
import Gemma
import Platform
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
      let client = try coordinator.connect()
      defer { client.close() }
      let status = try Waiter().wait { try await client.status() }
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
      for worker in status.replacedWorkers {
        try printOut(worker.text)
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

extension ReplacedWorker {
  /// What people are told of it.
  var text: String {
    "\(name.printable) (\(device.printable)\(isEmulated ? ", emulated" : "")) was lost \(ageMilliseconds / 1000) s ago, and its layers "
      + "were given to others: \(reason.printable)"
  }
}

extension LatencyDocument {
  /// The percentiles for people.
  var description: String {
    let values = [("p50", p50Ms), ("p90", p90Ms), ("p99", p99Ms)].compactMap { name, value in
      value.map { "\(name) \(decimal($0, 1)) ms" }
    }
    return values.joined(separator: ", ") + " of \(count) in the last minute"
  }
}
