// Keys with only some roles, and keys that are removed while they are in use.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Roles between machines` {
    private func keys(_ arguments: [String], of machine: Machine) async throws {
      let outcome = try await TrestleProcess.run(
        ["keys"] + arguments + ["--keys", machine.directory]
      )
      try #require(outcome.status == 0, "\(outcome)")
    }

    private func allow(_ machine: Machine, to roles: String, on hub: Machine) async throws {
      try await keys(["allow", machine.publicKey, "--may", roles], of: hub)
    }

    @Test func `a key that may only ask is served, and moves and joins nothing`() async throws {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        try await allow(network.asker, to: "ask", on: network.hub)
        let run = try await network.start("KING:", tokens: 8).wait()
        #expect(run.status == 0, "\(run)")
        #expect(try await network.status().workers.count == 2)
        let there = ["--endpoint", network.endpoint] + network.asker.options(to: network.hub)
        for (command, role) in [
          (["rebalance", "--split", "15,15"], "operate"), (["drain", "cpu-0"], "operate"),
          (["health", "--self-test"], "operate"),
        ] {
          let outcome = try await TrestleProcess.run(command + there)
          #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
          #expect(outcome.errors.contains("may not \(role) here"), "\(outcome)")
        }
        for model in [["--model", Goldens.demoModel.path], ["--cache", "\(directory)/cache"]] {
          let work = try await TrestleProcess.run(
            ["work", "--device", "cpu", "--threads", "1", "--coordinator", network.endpoint]
              + ["--listen", "tcp://127.0.0.1:*"] + network.asker.options(to: network.hub) + model
          )
          #expect(work.status == 1 && work.errors.contains("may not work here"), "\(work)")
        }
        #expect(try await network.status().workers.count == 2)
        try await network.stop()
      }
    }

    @Test func `a key that may only work asks nothing, and one that operates moves layers`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        try await allow(network.east, to: "work", on: network.hub)
        try await allow(network.asker, to: "operate", on: network.hub)
        let east = network.east.options(to: network.hub)
        let run = try await TrestleProcess.run(
          ["run", "--endpoint", network.endpoint, "KING:"] + east
        )
        #expect(run.status == 1 && run.errors.contains("may not ask here"), "\(run)")
        let move = try await TrestleProcess.run(
          ["rebalance", "--split", "15,15", "--endpoint", network.endpoint]
            + network.asker.options(to: network.hub)
        )
        #expect(move.status == 0, "\(move)")
        try await network.stop()
      }
    }

    @Test func `a forgotten key's stream ends within seconds, in words`() async throws {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        let stream = try network.start("KING:", tokens: 3900)
        let top = try TrestleProcess(
          ["top", "--json", "--endpoint", network.endpoint]
            + network.asker.options(to: network.hub)
        )
        let hub = ["status", "--json", "--endpoint", network.endpoint, "--keys"]
        let isRunning = try await eventually(within: .seconds(5)) {
          let status = try await TrestleProcess.run(hub + [network.hub.directory])
          return try status.document(StatusDocument.self).sessions == 1
        }
        try #require(isRunning && stream.isRunning)
        try await keys(["forget", "asker"], of: network.hub)
        for process in [stream, top] {
          let outcome = try await process.wait(atMost: .seconds(6))
          #expect(outcome.status == 1, "\(outcome)")
          #expect(outcome.errors.contains("is not allowed here any more"), "\(outcome)")
        }
        let after = try await TrestleProcess.run(hub + [network.hub.directory])
        #expect(try after.document(StatusDocument.self).sessions == 0)
        try await network.stop()
      }
    }

    @Test func `a forgotten key's worker is let go, and another takes its layers`() async throws {
      try await withTemporaryDirectory { directory in
        let network = try await Network(in: directory)
        let undisturbed = try await network.start("KING:", tokens: 200).wait()
        let stream = try network.start("KING:", tokens: 200)
        try await keys(["forget", "west"], of: network.hub)
        let worker = try await network.workers[1].wait(atMost: .seconds(6))
        #expect(worker.status == 1, "\(worker)")
        #expect(worker.errors.contains("is not allowed here any more"), "\(worker)")
        let standby = try TrestleProcess(
          ["work", "--model", Goldens.demoModel.path, "--device", "cpu", "--threads", "1"]
            + ["--coordinator", network.endpoint, "--listen", "tcp://127.0.0.1:*"]
            + network.east.options(to: network.hub)
        )
        let outcome = try await stream.wait(atMost: .seconds(60))
        #expect(
          try outcome.document(RunDocument.self).tokens
            == undisturbed.document(RunDocument.self).tokens
        )
        network.coordinator.signal(SIGINT)
        for process in [network.coordinator, network.workers[0], standby] {
          #expect(try await process.wait(atMost: .seconds(8)).status == 0)
        }
      }
    }
  }
}
