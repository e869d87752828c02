// Exhausted resources: callers that fill a process's table of descriptors, and messages that would
// fill its memory. Other clients are served as before, and no worker is blamed.

import Foundation
import Glibc
import Platform
import Testing
import TestSupport
import Wire

extension Integration {
  @Suite struct `Scarce descriptors and memory` {
    private let item: Golden.Case

    init() throws {
      item = try Goldens.load("demo-model").cases[0]
      // The tests themselves hold many connections.
      Scarcity.raiseDescriptorLimit()
    }

    private func expectAnswer(
      _ cluster: Cluster,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let got = try await cluster.run(item.text ?? "", item.runOptions(tokens: 20))
      #expect(got.tokens == Array(item.greedy.prefix(20)), sourceLocation: sourceLocation)
    }

    /// Kills the second worker and expects it to be restarted, and the others to be unchanged.
    private func killOne(_ cluster: Cluster) async throws {
      let before = try await cluster.workerPids()
      kill(pid_t(before[1]), SIGKILL)
      try await expectAnswer(cluster)
      try await cluster.waitUntilHealthy()
      let after = try await cluster.workerPids()
      #expect(after[0] == before[0] && after[1] != before[1] && after[2] == before[2])
    }

    @Test(arguments: [256, 1024])
    func `callers that say nothing or little do not fill the table of descriptors`(
      limit: Int
    ) async throws {
      try await withCluster(descriptors: limit) { cluster in
        let path = "\(cluster.directory)/front"
        var callers: [RawSocket] = []
        for number in 0..<(limit + 100) {
          // A normal client waits when the socket's queue is full; here such a caller is skipped.
          guard let caller = try? RawSocket(path: path) else { continue }
          if number.isMultiple(of: 2) { caller.send(ZMTP.greeting + ZMTP.ready) }
          callers.append(caller)
        }
        try await expectAnswer(cluster)
        try await killOne(cluster)
        #expect(ProcessTable.descriptorCount(Int(cluster.process.pid)) < limit * 7 / 8 + 1)
        try await cluster.process.waitForErrors("connections turned away", atMost: .seconds(15))
        withExtendedLifetime(callers) {}
      }
    }

    @Test func `mute strangers keep no worker from its place, and none is distrusted`() async throws
    {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let port = try freePort()
        let endpoint = "tcp://127.0.0.1:\(port)"
        let keys = ["--keys", hub.directory]
        let up = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path, "--endpoint", endpoint] + keys
            + Cluster.threeWorkers,
          descriptors: 256
        )
        try await up.waitForOutput { $0 == "ready\n" }
        let status = ["status", "--json", "--endpoint", endpoint] + keys
        let before: StatusDocument = try await TrestleProcess.run(status).document()
        var strangers = try (0..<400).map { _ in try RawSocket(port: port) }
        for round in 0..<3 {
          let workers: StatusDocument = try await TrestleProcess.run(status).document()
          kill(pid_t(workers.workers[round].pid), SIGKILL)
          strangers += try (0..<200).map { _ in try RawSocket(port: port) }
          let run = try await TrestleProcess.run(
            ["run", "--json", "--endpoint", endpoint] + keys + item.runOptions(tokens: 20)
              + ["--", item.text ?? ""]
          )
          let answer: RunDocument = try run.document()
          #expect(answer.tokens == Array(item.greedy.prefix(20)))
        }
        let after: StatusDocument = try await TrestleProcess.run(status).document()
        #expect(after.workers.count == 3)
        // Each worker was lost once, because the test killed it: three new epochs and no more.
        #expect(after.epoch == before.epoch + 3, "\(up.errors)")
        withExtendedLifetime(strangers) {}
        up.signal(SIGTERM)
        #expect(try await up.wait(atMost: .seconds(10)).status == 0)
      }
    }

    @Test func `a coordinator without any descriptor left goes on when there are some again`()
      async throws
    {
      try await withCluster(Cluster.threeWorkers, descriptors: 256) { cluster in
        let pid = Int(cluster.process.pid)
        let workers = try await cluster.workerPids()
        try ProcessTable.setDescriptorLimit(pid, ProcessTable.descriptorCount(pid))
        // Each caller is turned away, and the socket's queue does not stay full.
        for _ in 0..<300 { _ = try? RawSocket(path: "\(cluster.directory)/front") }
        kill(pid_t(workers[0]), SIGKILL)
        try await Task.sleep(for: .seconds(1))
        #expect(cluster.process.isRunning)
        try ProcessTable.setDescriptorLimit(pid, 256)
        try await expectAnswer(cluster)
        try await cluster.waitUntilHealthy()
        #expect(Array(try await cluster.workerPids().dropFirst()) == Array(workers.dropFirst()))
      }
    }

    @Test func `a message without end is cut off and its memory given back`() async throws {
      try await withCluster { cluster in
        let pid = Int(cluster.process.pid)
        try await expectAnswer(cluster)
        let before = ProcessTable.residentBytes(pid)
        let large = ZMTP.frame([UInt8](repeating: 1, count: 4 << 20), more: true)
        let attacker = try RawSocket(path: "\(cluster.directory)/front")
        attacker.open()
        var sent = 0
        var most = 0
        while sent < 2 << 30, attacker.send(large) == large.count {
          sent += large.count
          most = max(most, ProcessTable.residentBytes(pid))
        }
        #expect(sent < 600 << 20, "\(sent) bytes were taken")
        #expect(most - before < 700 << 20, "\(most) bytes were held")
        try await expectAnswer(cluster)
        let isBack = try await eventually(within: .seconds(10), every: .milliseconds(100)) {
          ProcessTable.residentBytes(pid) - before < 64 << 20
        }
        #expect(isBack, "\(ProcessTable.residentBytes(pid)) bytes are held, \(before) before")
      }
    }

    @Test(arguments: ["front", "worker"])
    func `empty frames without end take no memory`(door: String) async throws {
      try await withCluster { cluster in
        let worker = try await cluster.workerPids()[0]
        let pid = door == "front" ? Int(cluster.process.pid) : worker
        let path = door == "front" ? "front" : "front.workers/\(worker)"
        let before = ProcessTable.residentBytes(pid)
        let flood = (0..<100_000).flatMap { _ in [UInt8](arrayLiteral: 1, 0) }
        for _ in 0..<50 {
          let attacker = try RawSocket(path: "\(cluster.directory)/\(path)")
          attacker.open()
          for _ in 0..<10 where attacker.send(flood) < flood.count { break }
        }
        #expect(ProcessTable.residentBytes(pid) - before < 64 << 20)
        try await expectAnswer(cluster)
      }
    }

    @Test(arguments: [12, 16, 24, 32])
    func `too few descriptors to begin with are refused in words`(limit: Int) async throws {
      try await withTemporaryDirectory { directory in
        let model = ["--model", Goldens.demoModel.path, "--devices", "cpu"]
        for command in [
          ["up", "--endpoint", "ipc://\(directory)/front"] + model, ["run", "hello"] + model,
        ] {
          let outcome = try await TrestleProcess(command, descriptors: limit).wait()
          #expect(outcome.status == 1, "\(outcome)")
          let says = ["descriptors", "Too many open files"]
          #expect(says.contains { outcome.errors.contains($0) }, "\(outcome)")
        }
      }
    }
  }
}
