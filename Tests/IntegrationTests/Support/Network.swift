// A pipeline over encrypted tcp. Each machine is a directory with keys of its own.

import Foundation
import Glibc
import TestSupport
import Testing

/// A coordinator and two workers on three machines, and a fourth machine for a client.
struct Network {
  let hub: Machine
  let east: Machine
  let west: Machine
  let asker: Machine
  let endpoint: String
  /// The workers' data endpoints, which accept steps.
  let data: [String]
  let coordinator: TrestleProcess
  private(set) var workers: [TrestleProcess] = []

  init(in directory: String) async throws {
    let model = Goldens.demoModel.path
    hub = try await Machine("hub", in: directory)
    east = try await Machine("east", in: directory)
    west = try await Machine("west", in: directory)
    asker = try await Machine("asker", in: directory)
    for (machine, name) in [(east, "east"), (west, "west"), (asker, "asker")] {
      try await hub.allow(machine, name: name)
    }
    endpoint = "tcp://127.0.0.1:\(try freePort())"
    data = try [freePort(), freePort()].map { "tcp://127.0.0.1:\($0)" }
    coordinator = try TrestleProcess(
      ["coordinate", "--model", model, "--endpoint", endpoint, "--devices", "cpu,cpu"]
        + ["--split", "12,18", "--keys", hub.directory]
    )
    for (machine, listen) in zip([east, west], data) {
      workers.append(
        try TrestleProcess(
          ["work", "--model", model, "--device", "cpu", "--threads", "1"]
            + ["--coordinator", endpoint, "--listen", listen] + machine.options(to: hub)
        )
      )
    }
    try await coordinator.waitForOutput { $0 == "ready\n" }
  }

  func start(_ prompt: String, tokens: Int) throws -> TrestleProcess {
    try TrestleProcess(
      ["run", "--endpoint", endpoint, "--raw", "--temperature", "0", "--json"]
        + ["--max-tokens", "\(tokens)"] + asker.options(to: hub) + [prompt]
    )
  }

  func status() async throws -> StatusDocument {
    let arguments = ["status", "--json", "--endpoint", endpoint] + asker.options(to: hub)
    return try await TrestleProcess.run(arguments).document()
  }

  func stop() async throws {
    coordinator.signal(SIGINT)
    for process in [coordinator] + workers {
      let outcome = try await process.wait(atMost: .seconds(8))
      #expect(outcome.status == 0, "\(outcome)")
    }
  }

  /// Returns how many messages each worker reports as refused.
  func refusedByWorkers() async throws -> [Int] {
    let arguments = ["health", "--json", "--endpoint", endpoint] + asker.options(to: hub)
    let health: HealthDocument = try await TrestleProcess.run(arguments).document()
    return health.workers.map { worker in
      worker.detail.hasSuffix("malformed messages refused")
        ? worker.detail.split(separator: " ").first.flatMap { Int($0) } ?? 0 : 0
    }
  }
}
