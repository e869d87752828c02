// Files and sockets that another user of the machine has prepared: clients and servers refuse them
// with a message. Also what a process hides from other users.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Another user` {
    /// Calls the body with a directory in which every user may make files, like the system's /tmp.
    private func withSharedDirectory(_ body: (String) async throws -> Void) async throws {
      try await withTemporaryDirectory { directory in
        try #require(unsafe chmod(directory, 0o1777) == 0)
        try await body(directory)
      }
    }

    /// Returns every command that connects or serves.
    private func commands(_ endpoint: String) -> [[String]] {
      let model = ["--model", Goldens.demoModel.path]
      return [
        ["status"], ["health"], ["top", "--once"], ["rebalance", "--auto"], ["drain", "cpu-0"],
        ["run", "what nobody else shall read"], ["up"] + model, ["coordinate"] + model,
      ].map { $0 + ["--endpoint", endpoint] }
        + [["work", "--device", "cpu", "--coordinator", endpoint] + model]
    }

    @Test func `a directory that somebody else made is refused by every command`() async throws {
      try await OtherUser.mallory.require()
      try await withSharedDirectory { shared in
        let endpoint = "ipc://\(shared)/trestle/front"
        let server = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path, "--devices", "cpu", "--threads", "1"]
            + ["--endpoint", endpoint],
          launcher: OtherUser.mallory.launcher
        )
        try await server.waitForOutput { $0 == "ready\n" }
        for command in commands(endpoint) {
          let outcome = try await TrestleProcess.run(command)
          #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
          let reason = "\(shared)/trestle belongs to user \(OtherUser.mallory.id)"
          #expect(outcome.errors.contains(reason), "\(outcome)")
          #expect(outcome.errors.contains("choose an --endpoint"), "\(outcome)")
        }
        // A user without root's rights is refused, too; the owner of the endpoint is still served.
        let victim = try await OtherUser.victim.run(["status", "--endpoint", endpoint])
        #expect(victim.status == 1 && victim.errors.contains("belongs to user"), "\(victim)")
        let own = try await OtherUser.mallory.run(["status", "--json", "--endpoint", endpoint])
        #expect(try own.document(StatusDocument.self).protocolErrors == 0)
        server.signal(SIGTERM)
        #expect(try await server.wait().status == 0)
      }
    }

    @Test func `a server of somebody else's is refused, whosever its socket seems to be`()
      async throws
    {
      try await OtherUser.mallory.require()
      try await withSharedDirectory { shared in
        let endpoint = "ipc://\(shared)/front"
        let server = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path, "--devices", "cpu", "--threads", "1"]
            + ["--endpoint", endpoint],
          launcher: OtherUser.mallory.launcher
        )
        try await server.waitForOutput { $0 == "ready\n" }
        for isDisguised in [false, true] {
          if isDisguised { try #require(unsafe chown("\(shared)/front", 0, 0) == 0) }
          let outcome = try await TrestleProcess.run(["run", "secret", "--endpoint", endpoint])
          #expect(outcome.status == 1, "\(outcome)")
          #expect(
            outcome.errors.contains("is served by user \(OtherUser.mallory.id)"),
            "\(outcome)"
          )
          #expect(outcome.errors.contains("process \(server.pid)") == isDisguised, "\(outcome)")
        }
        server.signal(SIGKILL)
        _ = try await server.wait()
      }
    }

    @Test func `a pipeline's memory goes into no core file, and to no debugger`() async throws {
      try await withCluster(["--devices", "cpu"]) { cluster in
        for pid in try await cluster.workerPids() + [Int(cluster.process.pid)] {
          let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
          let core = try #require(limits.split(separator: "\n").first { $0.contains("core file") })
          let words = core.split(separator: " ")
          #expect(words[4] == "0" && words[5] == "0", "\(core)")
        }
      }
    }

    @Test func `a process's memory is root's alone, unless its user says otherwise`() async throws {
      try await OtherUser.mallory.require()
      try await withSharedDirectory { shared in
        for isAllowed in [false, true] {
          let directory = "\(shared)/\(isAllowed)"
          let process = try TrestleProcess(
            ["up", "--model", Goldens.demoModel.path, "--devices", "cpu", "--threads", "1"]
              + ["--endpoint", "ipc://\(directory)/front"],
            environment: isAllowed ? ["TRESTLE_ALLOW_DUMPS": "1"] : [:],
            launcher: OtherUser.mallory.launcher
          )
          try await process.waitForOutput { $0 == "ready\n" }
          for pid in [Int(process.pid)] + ProcessTable.children(of: Int(process.pid)) {
            var status = stat()
            try #require(unsafe stat("/proc/\(pid)/mem", &status) == 0)
            #expect((status.st_uid == 0) == !isAllowed, "owner \(status.st_uid)")
          }
          process.signal(SIGTERM)
          #expect(try await process.wait().status == 0)
        }
      }
    }
  }
}
