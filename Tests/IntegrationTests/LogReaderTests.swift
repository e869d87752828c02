// A reader of stderr that is stopped or has gone: it costs lines of the log, never a stream.

import Foundation
import Glibc
import TestSupport
import Testing
import Wire

extension Integration {
  @Suite struct `Log readers` {
    private static let prompt = ["--raw", "--temperature", "0", "--max-tokens", "40"]

    /// Runs a prompt on a pipeline whose stderr is `errors`, while workers die and each death is
    /// logged.
    private func serve(
      in directory: String,
      errorsTo redirection: String
    ) async throws {
      let endpoint = "ipc://\(directory)/front"
      let process = try TrestleProcess(
        ["up", "--model", Goldens.demoModel.path, "--endpoint", endpoint, "--log-level", "trace"]
          + ["--devices", "cpu,cpu", "--split", "15,15", "--threads", "1,1"],
        environment: ["PIPE": "\(directory)/errors"],
        shell: #"exec "$0" "$@" "# + redirection
      )
      try await process.waitForOutput { $0 == "ready\n" }
      let ask = ["run", "--endpoint", endpoint, "--json"] + Self.prompt + ["ROMEO:"]
      let before: RunDocument = try await TrestleProcess.run(ask).document()
      for _ in 0..<2 {
        let status: StatusDocument = try await TrestleProcess.run(
          ["status", "--json", "--endpoint", endpoint]
        ).document()
        kill(pid_t(try #require(status.workers.last).pid), SIGKILL)
        let answer: RunDocument = try await TrestleProcess.run(ask).document()
        #expect(answer.text == before.text)
      }
      process.signal(SIGTERM)
      let outcome = try await process.wait(atMost: .seconds(8))
      #expect(outcome.status == 0, "\(outcome)")
    }

    @Test func `one that sleeps on a full pipe`() async throws {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/errors"
        try #require(unsafe mkfifo(path, 0o600) == 0)
        let reader = unsafe open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        // The pipe is filled to the last byte before the pipeline starts.
        let filler = unsafe open(path, O_WRONLY | O_NONBLOCK)
        let page = [UInt8](repeating: 46, count: 4096)
        while unsafe write(filler, page, page.count) > 0 {}
        try await serve(in: directory, errorsTo: #"2>"$PIPE""#)
        close(filler)
      }
    }

    @Test func `one that has gone`() async throws {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/errors"
        try #require(unsafe mkfifo(path, 0o600) == 0)
        let reader = unsafe open(path, O_RDONLY | O_NONBLOCK)
        // The pipeline's only reader closes its end as soon as it has opened it.
        let watch = Task {
          try await Task.sleep(for: .milliseconds(300))
          close(reader)
        }
        try await serve(in: directory, errorsTo: #"2>"$PIPE""#)
        try await watch.value
      }
    }

    @Test func `a disk that is full`() async throws {
      try await withTemporaryDirectory { try await serve(in: $0, errorsTo: "2>/dev/full") }
    }

    @Test func `a flood of bad messages fills no disk, and is counted`() async throws {
      try await withCluster { cluster in
        let before = cluster.process.errors.utf8.count
        let context = try ZeroMQContext()
        let socket = try Socket(context, role: .dealer)
        try socket.connect(Endpoint(cluster.endpoint))
        // 20,000 frames, as fast as the queue accepts them.
        for _ in 0..<200 {
          for _ in 0..<100 { try socket.send(frames: [[0xFF, 0xFF, 0xFF]]) }
          try await Task.sleep(for: .milliseconds(5))
        }
        socket.close()
        context.close()
        try await cluster.process.waitForErrors("lines dropped")
        let written = cluster.process.errors.utf8.count - before
        #expect(written < 64 << 10, "\(written) bytes")
        #expect(try await cluster.health().healthy)
      }
    }

    @Test func `a name of a worker reaches neither the terminal nor a second line`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try TrestleProcess(
          ["coordinate", "--model", Goldens.demoModel.path, "--devices", "cpu"]
            + ["--endpoint", endpoint]
        )
        let worker = try TrestleProcess(
          ["work", "--model", Goldens.demoModel.path, "--device", "cpu", "--threads", "1"]
            + ["--coordinator", endpoint, "--name", "\u{1B}]0;owned\u{7}\nforged"]
        )
        try await coordinator.waitForErrors("forged", atMost: .seconds(20))
        #expect(!coordinator.errors.contains("\u{1B}") && !coordinator.errors.contains("\nforged"))
        let status = try await TrestleProcess.run(["status", "--endpoint", endpoint])
        #expect(!status.output.contains("\u{1B}"), "\(status)")
        for process in [coordinator, worker] { process.signal(SIGTERM) }
        _ = try await coordinator.wait(atMost: .seconds(8))
      }
    }
  }
}
