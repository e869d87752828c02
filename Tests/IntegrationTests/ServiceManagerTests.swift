// What a service manager such as systemd hears of the programs that it starts. The datagrams themselves are checked in
// PlatformTests.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Service manager` {
    /// What a program has told so far.
    private final class Manager {
      let socket: NotificationSocket
      private(set) var told: [String] = []

      init(in directory: String) throws {
        socket = try #require(NotificationSocket("\(directory)/notify"))
      }

      /// The environment of a program that may be silent for 0.6 s.
      var environment: [String: String] {
        ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "600000"]
      }

      func count(_ text: String) -> Int {
        told += socket.takeAll()
        return told.count { $0 == text }
      }

      func waitFor(_ text: String, _ times: Int = 1, from process: TrestleProcess) async throws {
        let isTold = try await eventually(within: .seconds(25)) { self.count(text) >= times }
        try #require(isTold, "\(text) is not in \(told); \(process.errors)")
      }

      /// Expects signs of life while the program goes on, and none while it is stopped.
      func expectSigns(from process: TrestleProcess) async throws {
        try await waitFor("WATCHDOG=1", count("WATCHDOG=1") + 3, from: process)
        process.signal(SIGSTOP)
        try await Task.sleep(for: .milliseconds(100))
        let signs = count("WATCHDOG=1")
        try await Task.sleep(for: .milliseconds(800))
        #expect(count("WATCHDOG=1") == signs, "a stopped program is silent")
        process.signal(SIGCONT)
        try await waitFor("WATCHDOG=1", signs + 1, from: process)
      }

      /// Ends the program as a manager does.
      func stop(_ process: TrestleProcess) async throws {
        process.signal(SIGTERM)
        let outcome = try await process.wait(atMost: .seconds(10))
        #expect(outcome.status == 0, "\(outcome)")
        #expect(count("STOPPING=1") == 1)
      }
    }

    @Test func `up tells that it is ready, serves, lives and ends`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let manager = try Manager(in: directory)
        let up = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path, "--endpoint", "ipc://\(directory)/front"]
            + Cluster.threeWorkers,
          environment: manager.environment
        )
        try await manager.waitFor("READY=1", from: up)
        try await manager.waitFor("STATUS=serving, 30 layers on 3 workers", from: up)
        try await manager.expectSigns(from: up)
        try await manager.stop(up)
        // Its workers, which tell it of themselves where they are services, have not been given the socket.
        #expect(manager.count("READY=1") == 1)
      }
    }

    @Test func `a worker tells that it is ready once its coordinator listens`() async throws {
      try await withTemporaryDirectory { directory in
        let managers = try ["of-coordinator", "of-worker"].map { name in
          try FileManager.default.createDirectory(
            atPath: "\(directory)/\(name)",
            withIntermediateDirectories: false
          )
          return try Manager(in: "\(directory)/\(name)")
        }
        let endpoint = "ipc://\(directory)/front"
        let model = ["--model", Goldens.demoModel.path]
        let worker = try TrestleProcess(
          ["work", "--device", "cpu", "--threads", "1", "--coordinator", endpoint] + model,
          environment: managers[1].environment
        )
        let waiting = "STATUS=waiting for the coordinator at \(endpoint)"
        try await managers[1].waitFor(waiting, from: worker)
        #expect(managers[1].count("READY=1") == 0)
        let coordinator = try TrestleProcess(
          ["coordinate", "--devices", "cpu", "--endpoint", endpoint] + model,
          environment: managers[0].environment
        )
        try await managers[1].waitFor("READY=1", from: worker)
        try await managers[0].waitFor("READY=1", from: coordinator)
        try await managers[1].expectSigns(from: worker)
        try await managers[1].stop(worker)
        try await managers[0].waitFor("STATUS=waiting for 1 of 1 workers: cpu-0", from: coordinator)
        try await managers[0].stop(coordinator)
      }
    }

    @Test func `a front door tells that it listens and that its loops turn`()
      async throws
    {
      try await withCluster { cluster in
        let manager = try Manager(in: cluster.directory)
        // It asks its loops once a second, whatever the manager wants.
        let environment = manager.environment.merging(["WATCHDOG_USEC": "6000000"]) { $1 }
        let door = try TrestleProcess(
          [
            "serve", "--model", Goldens.demoModel.path, "--endpoint", cluster.endpoint, "--http",
            "127.0.0.1:0",
          ],
          environment: environment
        )
        try await manager.waitFor("READY=1", from: door)
        try await door.waitForErrors("serving ")
        try await manager.waitFor("WATCHDOG=1", 2, from: door)
        try await manager.stop(door)
      }
    }
  }
}
